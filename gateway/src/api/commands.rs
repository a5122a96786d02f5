//! Commands over HTTP and over native sessions: one is executed, others are listed. A relay forwards them to its rover.

use std::time::Duration;

use http::StatusCode;
use roverline_protocol::api::commands::{
    CommandDocument, CommandKind, CommandList, CommandRequest, CommandState,
};
use roverline_source::clock::unix_ns;
use serde_json::Value;
use tracing::Span;

use crate::access::{Permission, Role};
use crate::api::action::{Action, CommandsAction};
use crate::api::error::ApiError;
use crate::api::request::{ApiRequest, Caller};
use crate::api::response::{HttpResponse, JSON, document, json};
use crate::api::route::{Content, Parameter, ParameterKind, Route, get, named, ok, post, schema};
use crate::authority::Claimant;
use crate::endpoint::authority::{CommandRefused, Commander};
use crate::endpoint::commands::{CheckedCommand, CommandError, CommandInvalid, DEFAULT_MS, TTL_MS, age};
use crate::trace;

const PATH: &str = "/api/v2/commands";
/// How long a relay waits for its rover's answer beyond the time limits of the command.
const RELAY_MARGIN: Duration = Duration::from_secs(2);
/// The time limits of a command that states none, together.
const RELAY_DEFAULT: Duration = Duration::from_secs(10);
/// The longest time limits of a command, together.
const RELAY_LONGEST: Duration = Duration::from_secs(120);
const STATES: &[&str] = &["accepted", "dispatched", "verified", "failed", "expired"];

/// The routes.
pub(crate) static ROUTES: [Route; 3] = [
    Route {
        parameters: &[
            Parameter { name: "state", what: "Only in this state.", kind: ParameterKind::Word(STATES) },
            Parameter { name: "target", what: "Only with this target.", kind: ParameterKind::Text },
        ],
        problems: &[503],
        ..get(
            PATH,
            Action::Commands(CommandsAction::List),
            "The newest commands",
            &[ok("The commands", Content::Json(schema::<CommandList>))],
        )
    },
    post(
        PATH,
        Action::Commands(CommandsAction::Execute),
        "Executes a command once",
        schema::<CommandRequest>,
        &[ok("What became of it", Content::Json(schema::<CommandDocument>))],
    ),
    named(
        Route {
            problems: &[404, 503],
            ..get(
                "/api/v2/commands/{id}",
                Action::Commands(CommandsAction::One),
                "One command",
                &[ok("The command", Content::Json(schema::<CommandDocument>))],
            )
        },
        "The id of the command.",
        Some("0198c2a4-7d3e-7000-8000-000000000001"),
    ),
];

/// Dispatches an operation.
pub(crate) async fn handle(
    request: &ApiRequest<'_>,
    action: CommandsAction,
) -> Result<HttpResponse, ApiError> {
    let journal = &request.endpoint.coordination.commands;
    let unavailable =
        |error: roverline_coordination::commands::JournalError| ApiError::unavailable(error.to_string());
    match action {
        CommandsAction::Execute if request.endpoint.source_kind.is_relay() => forward(request).await,
        CommandsAction::Execute => execute(request).await,
        CommandsAction::One => {
            let id = request.name()?;
            let entry = journal.get(&id.to_ascii_lowercase()).await.map_err(unavailable)?;
            let entry = entry
                .ok_or_else(|| ApiError::not_found(format!("there is no command {id}, or none any more")))?;
            let document = serde_json::from_value(entry.document)
                .map_err(|_| ApiError::not_found("the command cannot be read"))?;
            Ok(json(&shown(request, document)))
        }
        CommandsAction::List => {
            let params = request.parameters()?;
            let all = journal.list().await.map_err(unavailable)?.into_iter();
            let matches = |document: &CommandDocument| {
                params.text("state").is_none_or(|state| document.state.word() == state)
                    && params.text("target").is_none_or(|target| document.target == target)
            };
            let all = all.filter_map(|entry| serde_json::from_value(entry.document).ok());
            let all = all.filter(matches).map(|document| shown(request, document));
            Ok(json(&CommandList { commands: all.collect() }))
        }
    }
}

/// A command as its reader may see it: what a service has answered is not for observers.
fn shown(request: &ApiRequest<'_>, document: CommandDocument) -> CommandDocument {
    match request.role() < Role::Operator {
        true => CommandDocument { result: None, ..document },
        false => document,
    }
}

async fn execute(request: &ApiRequest<'_>) -> Result<HttpResponse, ApiError> {
    let endpoint = request.endpoint;
    let sent: CommandRequest = request.json()?;
    authorize(request, &sent)?;
    let identity = request.by();
    let commander =
        Commander { claimant: claimant(request, &identity, &sent), session: None, token: sent.token };
    let command = CheckedCommand::new(sent, &identity, &endpoint.ros).map_err(CommandError::from)?;
    let is_served = matches!(command.kind, CommandKind::Cancel | CommandKind::Parameter)
        || endpoint.is_in_scope(&command.target, &command.type_name);
    if command.kind == CommandKind::Publish && endpoint.is_stop_topic(&command.target) {
        return Err(ApiError::unprocessable(
            "target: the emergency stop has its own way: /api/v2/emergency-stop",
        ));
    }
    let done = endpoint.commands.execute(command, commander, is_served).await?;
    let status = match done.state {
        CommandState::Accepted | CommandState::Dispatched => StatusCode::ACCEPTED,
        CommandState::Verified | CommandState::Failed | CommandState::Expired => StatusCode::OK,
    };
    Ok(document(status, JSON, &done))
}

fn authorize(request: &ApiRequest<'_>, command: &CommandRequest) -> Result<(), ApiError> {
    let permission = match command.kind {
        CommandKind::Publish => Permission::Publish(&command.target),
        CommandKind::Call | CommandKind::Goal | CommandKind::Cancel => Permission::Call(&command.target),
        CommandKind::Parameter => Permission::Set(&command.target),
    };
    request.authorize(permission).map(drop)
}

/// The client that commands: the name that it declares for the authority, or that of its session. All callers of one
/// identity over HTTP that declare none are one client.
fn claimant(request: &ApiRequest<'_>, identity: &str, command: &CommandRequest) -> Claimant {
    let declared = Some(command.client.clone()).filter(|client| !client.is_empty());
    let name = declared.or_else(|| request.client()).unwrap_or_else(|| match request.caller {
        Caller::Peer(_) => "http session".to_owned(),
        Caller::Session { .. } => "native session".to_owned(),
    });
    Claimant { identity: identity.to_owned(), name }
}

/// Sends a command on to the rover of a relay, which does it once: if no answer comes, it may be sent again.
async fn forward(request: &ApiRequest<'_>) -> Result<HttpResponse, ApiError> {
    let mut sent: CommandRequest = request.json()?;
    authorize(request, &sent)?;
    // The rover knows the relay by its token; the name says who is behind it.
    let identity = request.by();
    let claimant = claimant(request, &identity, &sent);
    sent.client = claimant.label();
    spend_age(&mut sent, unix_ns());
    let asked_ms = sent.ttl_ms.unwrap_or_default().saturating_add(sent.timeout_ms.unwrap_or_default());
    let limits = Duration::from_millis(asked_ms).clamp(RELAY_DEFAULT, RELAY_LONGEST);
    let body = serde_json::to_value(&sent).unwrap_or_default();
    let traceparent = trace::context_of(&Span::current()).map(|context| context.to_string());
    let answer =
        request.endpoint.ros.post_upstream(PATH.to_owned(), body, traceparent, limits + RELAY_MARGIN).await;
    let Some((status, body)) = answer else {
        let why = "the rover did not answer in time, and it is not known whether the command was done: send it again with the same id";
        return Err(ApiError::new(StatusCode::GATEWAY_TIMEOUT, why));
    };
    match StatusCode::from_u16(status) {
        Ok(status) if status.is_success() => Ok(document(status, JSON, &body)),
        Ok(status) => Err(ApiError::new(status, rover_detail(&body))),
        // The link was lost.
        Err(_) => Err(ApiError::new(StatusCode::GATEWAY_TIMEOUT, rover_detail(&body))),
    }
}

/// Takes what the way to the relay has spent off the time to live. The link to the rover adds its own way, by the rover's
/// clock.
fn spend_age(sent: &mut CommandRequest, now_ns: i64) {
    let Some(age) = sent.sent_ns.take().map(|sent_ns| age(sent_ns, now_ns)) else { return };
    let ttl = Duration::from_millis(sent.ttl_ms.unwrap_or(DEFAULT_MS));
    if !TTL_MS.contains(&sent.ttl_ms.unwrap_or(DEFAULT_MS)) {
        // The rover says what is wrong with it.
        return;
    }
    let left_ms = u64::try_from(ttl.saturating_sub(age).as_millis()).unwrap_or_default();
    sent.ttl_ms = Some(left_ms.max(*TTL_MS.start()));
    if !TTL_MS.contains(&left_ms) {
        // Too late. The rover decides all the same: it may have been done before, under the same id.
        sent.sent_ns = Some(0);
    }
}

fn rover_detail(body: &Value) -> String {
    let detail = body["detail"].as_str().unwrap_or("no reason was given");
    format!("the rover's gateway says: {detail}")
}

impl From<CommandError> for ApiError {
    fn from(error: CommandError) -> ApiError {
        let why = error.to_string();
        match error {
            CommandError::Invalid(CommandInvalid { is_missing: true, .. }) => ApiError::not_found(why),
            // What fits depends on the types that the rover has.
            CommandError::Invalid(CommandInvalid { field: "body", .. }) => {
                ApiError::new(StatusCode::CONFLICT, why)
            }
            CommandError::Invalid(_) | CommandError::Refused(CommandRefused::Velocity { .. }) => {
                ApiError::unprocessable(why)
            }
            CommandError::Refused(CommandRefused::Authority(refused)) if refused.is_temporary() => {
                ApiError::unavailable(why)
            }
            CommandError::Refused(CommandRefused::Authority(_)) | CommandError::IdUsed(_) => {
                ApiError::new(StatusCode::CONFLICT, why)
            }
            CommandError::NotServed { .. } => ApiError::new(StatusCode::FORBIDDEN, why),
            CommandError::Refused(CommandRefused::Source(_))
            | CommandError::Journal(_)
            | CommandError::Busy
            | CommandError::Lost => ApiError::unavailable(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_way_to_a_relay_spends_from_the_time_to_live() {
        let spent = |ttl_ms: Option<u64>, age_ms: i64| {
            let request = json!({"id": "x", "kind": "call", "target": "/x", "ttl_ms": ttl_ms,
                "sent_ns": 1_000_000_000_000_000_i64 - age_ms * 1_000_000});
            let mut request: CommandRequest = serde_json::from_value(request).unwrap();
            spend_age(&mut request, 1_000_000_000_000_000);
            (request.ttl_ms, request.sent_ns)
        };
        assert_eq!(spent(Some(2_000), 300), (Some(1_700), None));
        assert_eq!(spent(None, 300), (Some(4_700), None));
        assert_eq!(spent(Some(2_000), -300), (Some(2_000), None), "from the future");
        assert_eq!(spent(Some(2_000), 1_995), (Some(10), Some(0)), "the rover lets it expire");
        assert_eq!(spent(Some(2_000), 60_000), (Some(10), Some(0)));
        assert_eq!(spent(Some(u64::MAX), 300), (Some(u64::MAX), None), "the rover refuses it");
    }
}
