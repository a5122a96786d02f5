//! Robots, endpoints and their lifecycle.

use roverline_coordination::lifecycle::{
    Author, EntityId, EntityKind, Lifecycle, LifecycleError, Model, Selection,
};
use roverline_coordination::store::Revision;
use roverline_protocol::api::RobotList;
use roverline_protocol::api::lifecycle::{FailRequest, LifecycleDocument, LifecycleList, TransitionRequest};
use roverline_protocol::lifecycle::State;
use roverline_protocol::limits;
use roverline_source::clock::unix_ns;

use crate::access::Permission;
use crate::api::action::LifecycleAction as Action;
use crate::api::error::ApiError;
use crate::api::lifecycle_document::{document, to_document};
use crate::api::request::{ApiRequest, QueryParams};
use crate::api::response::{HttpResponse, json};
use crate::api::robots;
use crate::api::route::{Content, Parameter, ParameterKind, Route, get, named, ok, post, schema};

use crate::api::action::Action as Any;

const LAST: u64 = i64::MAX as u64;
const NAME: &str = "The robot's name, as configured.";

static SELECTION: [Parameter; 8] = [
    Parameter { name: "kind", what: "Only of this kind.", kind: ParameterKind::Word(&EntityKind::NAMES) },
    Parameter { name: "state", what: "Only in this state.", kind: ParameterKind::Word(&State::NAMES) },
    Parameter { name: "type", what: "Only of this type.", kind: ParameterKind::Text },
    Parameter { name: "address", what: "Only at this address.", kind: ParameterKind::Text },
    Parameter {
        name: "at",
        what: "As it was at this revision of the team's store.",
        kind: ParameterKind::Number(1, LAST),
    },
    Parameter {
        name: "time_ns",
        what: "As it was at this time, nanoseconds since the Unix epoch; without `at`.",
        kind: ParameterKind::Number(0, LAST),
    },
    Parameter {
        name: "limit",
        what: "How many entries at most.",
        kind: ParameterKind::Number(1, limits::API_PAGE_MAX_ENTRIES as u64),
    },
    Parameter {
        name: "after",
        what: "Only those after this one: `next` of the page before.",
        kind: ParameterKind::Text,
    },
];

/// The routes.
pub(crate) static ROUTES: [Route; 5] = [
    Route {
        parameters: &SELECTION,
        problems: &[404, 410],
        ..get(
            "/api/v2/lifecycle",
            Any::Lifecycle(Action::List),
            "Robots and endpoints of the team, and where each is in its life; also as it was",
            &[ok("By kind and name", Content::Json(schema::<LifecycleList>))],
        )
    },
    get(
        "/api/v2/robots/healthy",
        Any::Lifecycle(Action::Healthy),
        "Robots that can be used or are used, and with which nothing is wrong",
        &[ok("By name", Content::Json(schema::<RobotList>))],
    ),
    get(
        "/api/v2/robots/deployable",
        Any::Lifecycle(Action::Deployable),
        "Robots that can be given something to do: ready, and not failing",
        &[ok("By name", Content::Json(schema::<RobotList>))],
    ),
    named(
        post(
            "/api/v2/robots/{id}/fail",
            Any::Lifecycle(Action::Fail),
            "A robot failed once more; how often it may depends on its state",
            schema::<FailRequest>,
            &[ok("What became of it", Content::Json(schema::<LifecycleDocument>))],
        ),
        NAME,
        None,
    ),
    named(
        post(
            "/api/v2/robots/{id}/transition",
            Any::Lifecycle(Action::Transition),
            "Leads a robot to a state, if that is valid from where it is",
            schema::<TransitionRequest>,
            &[ok("What became of it", Content::Json(schema::<LifecycleDocument>))],
        ),
        NAME,
        None,
    ),
];

/// Dispatches an operation.
pub(crate) async fn handle(request: &ApiRequest<'_>, action: Action) -> Result<HttpResponse, ApiError> {
    match action {
        Action::List => list(request).await,
        Action::Healthy => Ok(json(&robots::with_lifecycle(request.endpoint, |life| life.healthy))),
        Action::Deployable => Ok(json(&robots::with_lifecycle(request.endpoint, |life| life.deployable))),
        Action::Fail => {
            request.authorize(Permission::Overrule("what becomes of a robot"))?;
            let FailRequest { reason } = request.json()?;
            change(request, State::Failed, &reason, true).await
        }
        Action::Transition => {
            let TransitionRequest { to, reason } = request.json()?;
            // Either way of reporting a failure.
            if overrules(to) {
                request.authorize(Permission::Overrule("what becomes of a robot"))?;
            }
            change(request, to, &reason, false).await
        }
    }
}

/// Whether a transition to this state takes the robot away from its user.
fn overrules(to: State) -> bool {
    to == State::Failed
}

/// Moves the robot of the path to another state, or records a failure of it.
async fn change(
    request: &ApiRequest<'_>,
    to: State,
    reason: &str,
    failure: bool,
) -> Result<HttpResponse, ApiError> {
    if reason.is_empty() {
        return Err(ApiError::unprocessable("say why: the reason is empty"));
    }
    let lifecycle = &request.endpoint.coordination.lifecycle;
    let (name, by, client) = (EntityId::robot(request.name()?), request.by(), request.client());
    let author = Author { by: &by, client: client.as_deref(), reason, manual: true, now_ns: unix_ns() };
    let done = match failure {
        true => lifecycle.failure(&name, author).await,
        false => lifecycle.transition(&name, to, author).await,
    };
    let view = done.map_err(|error| match error {
        // An invalid name cannot be a known one.
        LifecycleError::InvalidName => LifecycleError::Unknown(name),
        other => other,
    })?;
    Ok(json(&document(lifecycle, view)))
}

async fn list(request: &ApiRequest<'_>) -> Result<HttpResponse, ApiError> {
    let params = request.parameters()?;
    let lifecycle = &request.endpoint.coordination.lifecycle;
    let then = match (params.number("at"), params.number("time_ns")) {
        (Some(revision), _) => Some(lifecycle.as_of(Revision(revision)).await?),
        (None, Some(time)) => Some(lifecycle.as_of_time(time.cast_signed()).await?),
        (None, None) => None,
    };
    let is_past = then.is_some();
    let page = |model: &Model| page(lifecycle, model, &params, is_past);
    let list = match then {
        Some(model) => page(&model)?,
        None => match lifecycle.with(page) {
            Some(list) => list?,
            // This process has not read the store yet, or cannot: the store's error says why.
            None => page(&lifecycle.scan().await?)?,
        },
    };
    Ok(json(&list))
}

fn page(
    lifecycle: &Lifecycle,
    model: &Model,
    params: &QueryParams,
    is_past: bool,
) -> Result<LifecycleList, ApiError> {
    let wanted = Selection {
        kind: params.text("kind").and_then(EntityKind::named),
        state: params.text("state").and_then(State::named),
        type_name: params.text("type").map(str::to_owned),
        address: params.text("address").map(str::to_owned),
    };
    let limit = params.number("limit").map_or(limits::API_PAGE_ENTRIES, |limit| limit as usize);
    let (mut views, total) = model.select(&wanted, params.text("after"), limit + 1);
    let more = views.len() > limit;
    views.truncate(limit);
    let next = views.last().filter(|_| more).map(|view| view.entity.path());
    let document = |view| match is_past {
        // A heartbeat says nothing about an earlier state.
        true => to_document(view, None),
        false => document(lifecycle, view),
    };
    Ok(LifecycleList {
        entries: views.into_iter().map(document).collect(),
        total,
        next,
        revision: model.revision().0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failing_a_robot_overrules_on_every_route() {
        let overruling: Vec<&str> =
            State::NAMES.into_iter().filter(|name| State::named(name).is_some_and(overrules)).collect();
        assert_eq!(overruling, [State::Failed.name()]);
    }
}
