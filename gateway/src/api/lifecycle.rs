//! Robots, endpoints and their lives.

use http::{StatusCode, header};
use roverline_coordination::lifecycle::{
    Author, Kind, Lifecycle, LifecycleError, Model, Name, Selection, View,
};
use roverline_coordination::store::Revision;
use roverline_protocol::api::RobotList;
use roverline_protocol::api::lifecycle::{
    FailRequest, HeartbeatDocument, LifeDocument, LifeList, TransitionRequest,
};
use roverline_protocol::lifecycle::State;
use roverline_protocol::limits;
use roverline_source::clock::unix_ns;

use crate::access::Deed;
use crate::api::request::{Ask, Given};
use crate::api::response::{Answer, Failure, json};
use crate::api::robots;
use crate::api::routes::{Content, Parameter, ParameterKind, Route, get, named, ok, post, schema};

/// What is done for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    List,
    Healthy,
    Deployable,
    Fail,
    Transition,
}

use crate::api::routes::Action as Any;

const LAST: u64 = i64::MAX as u64;
const NAME: &str = "The robot's name, as configured.";

static WANTED: [Parameter; 8] = [
    Parameter { name: "kind", what: "Only of this kind.", kind: ParameterKind::Word(&Kind::NAMES) },
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

/// The table.
pub(crate) static ROUTES: [Route; 5] = [
    Route {
        parameters: &WANTED,
        problems: &[404, 410],
        ..get(
            "/api/v2/lifecycle",
            Any::Lifecycle(Action::List),
            "Robots and endpoints of the team, and where each is in its life; also as it was",
            &[ok("By kind and name", Content::Json(schema::<LifeList>))],
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
            &[ok("What became of it", Content::Json(schema::<LifeDocument>))],
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
            &[ok("What became of it", Content::Json(schema::<LifeDocument>))],
        ),
        NAME,
        None,
    ),
];

/// Does it.
pub(crate) async fn answer(ask: &Ask<'_>, action: Action) -> Result<Answer, Failure> {
    match action {
        Action::List => list(ask).await,
        Action::Healthy => Ok(json(&robots::living(ask.endpoint, |life| life.healthy))),
        Action::Deployable => Ok(json(&robots::living(ask.endpoint, |life| life.deployable))),
        Action::Fail => {
            ask.may(Deed::Overrule("what becomes of a robot"))?;
            let FailRequest { reason } = ask.json()?;
            change(ask, State::Failed, &reason, true).await
        }
        Action::Transition => {
            let TransitionRequest { to, reason } = ask.json()?;
            // However it is said that it failed.
            if overrules(to) {
                ask.may(Deed::Overrule("what becomes of a robot"))?;
            }
            change(ask, to, &reason, false).await
        }
    }
}

/// Whether to lead a robot there takes it away from whoever uses it.
fn overrules(to: State) -> bool {
    to == State::Failed
}

/// Leads the robot of the path somewhere, or notes a failure of it.
async fn change(ask: &Ask<'_>, to: State, reason: &str, failure: bool) -> Result<Answer, Failure> {
    if reason.is_empty() {
        return Err(Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "say why: the reason is empty"));
    }
    let lives = &ask.endpoint.coordination.lifecycle;
    let (name, by) = (Name::robot(ask.name()?), ask.asker());
    let by: String = by.chars().take(limits::LIFECYCLE_TEXT_CHARS).collect();
    let author = Author { by: &by, reason, manual: true, now_ns: unix_ns() };
    let done = match failure {
        true => lives.failure(&name, author).await,
        false => lives.transition(&name, to, author).await,
    };
    let view = done.map_err(|error| match error {
        // What cannot be a name is none that is known.
        LifecycleError::Name => LifecycleError::NotKnown(name),
        other => other,
    })?;
    Ok(json(&document(lives, view)))
}

async fn list(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let given = ask.parameters()?;
    let lives = &ask.endpoint.coordination.lifecycle;
    let then = match (given.number("at"), given.number("time_ns")) {
        (Some(revision), _) => Some(lives.as_of(Revision(revision)).await?),
        (None, Some(time)) => Some(lives.as_of_time(time.cast_signed()).await?),
        (None, None) => None,
    };
    let is_past = then.is_some();
    let page = |model: &Model| page(lives, model, &given, is_past);
    let list = match then {
        Some(model) => page(&model)?,
        None => match lives.with(page) {
            Some(list) => list?,
            // This process has not read it yet, or cannot: the store says why.
            None => page(&lives.scan().await?)?,
        },
    };
    Ok(json(&list))
}

fn page(lives: &Lifecycle, model: &Model, given: &Given, is_past: bool) -> Result<LifeList, Failure> {
    let wanted = Selection {
        kind: given.text("kind").and_then(Kind::named),
        state: given.text("state").and_then(State::named),
        type_name: given.text("type").map(str::to_owned),
        address: given.text("address").map(str::to_owned),
    };
    let limit = given.number("limit").map_or(limits::API_PAGE_ENTRIES, |limit| limit as usize);
    let (mut views, total) = model.select(&wanted, given.text("after"), limit + 1);
    let more = views.len() > limit;
    views.truncate(limit);
    let next = views.last().filter(|_| more).map(|view| view.name.path());
    let document = |view| match is_past {
        // Who speaks now says nothing of then.
        true => plain(view, None),
        false => document(lives, view),
    };
    Ok(LifeList {
        entries: views.into_iter().map(document).collect(),
        total,
        next,
        revision: model.revision().0,
    })
}

/// One as it is now.
pub(crate) fn document(lives: &Lifecycle, view: View) -> LifeDocument {
    let age_s = lives.spoke_ago(&view.name).map(|ago| ago.as_secs_f64());
    plain(view, age_s)
}

fn plain(view: View, age_s: Option<f64>) -> LifeDocument {
    let (healthy, deployable, alive) = (view.is_healthy(), view.is_deployable(), view.is_alive());
    let View { name, record, modified, speakers, .. } = view;
    LifeDocument {
        kind: name.kind.name().to_owned(),
        id: name.id,
        possible: record.state.targets().to_vec(),
        fails_at: record.state.fails_at(),
        fact: record.fact.name().to_owned(),
        heartbeat: record.heartbeat_ms.map(|missed_after_ms| HeartbeatDocument {
            missed_after_ms,
            alive,
            age_s,
            speakers,
        }),
        healthy,
        deployable,
        revision: modified.0,
        type_name: record.type_name,
        address: record.address,
        state: record.state,
        previous: record.previous,
        since_ns: record.since_ns,
        at_ns: record.at_ns,
        reason: record.reason,
        by: record.by,
        manual: record.manual,
        failures: record.failures,
    }
}

impl From<LifecycleError> for Failure {
    fn from(error: LifecycleError) -> Failure {
        let status = match error {
            LifecycleError::Store(error) => return error.into(),
            LifecycleError::Name | LifecycleError::Text | LifecycleError::Heartbeat => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            LifecycleError::NotKnown(_) => StatusCode::NOT_FOUND,
            LifecycleError::Invalid(_) | LifecycleError::Full => StatusCode::CONFLICT,
            LifecycleError::Contended(_) => {
                return Failure::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
                    .with(header::RETRY_AFTER, "1");
            }
        };
        Failure::new(status, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_fail_a_robot_overrules_however_it_is_said() {
        let overruling: Vec<&str> =
            State::NAMES.into_iter().filter(|name| State::named(name).is_some_and(overrules)).collect();
        assert_eq!(overruling, [State::Failed.name()]);
    }
}
