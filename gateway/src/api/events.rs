//! The event log: reading, appending, verifying.

use http::StatusCode;
use roverline_coordination::events::{
    Appended, Event, Events, Expected, Finding, NewEvent, Query, Seal, Select, Stored, VerifyReport,
};
use roverline_protocol::api::events::{
    AppendedDocument, EventList, FindingDocument, LogEvent, LogHeadDocument, NewEventRequest, SealDocument,
    VerificationDocument,
};
use roverline_protocol::limits;

use crate::api::action::Action as Any;
use crate::api::action::EventsAction as Action;
use crate::api::error::ApiError;
use crate::api::request::{self, ApiRequest};
use crate::api::response::{HttpResponse, json};
use crate::api::route::{Content, Parameter, ParameterKind, Route, get, named, ok, post, schema};
use crate::identity;

/// The largest integer that every JSON reader represents exactly (RFC 8259, section 6).
const LAST: u64 = (1 << 53) - 1;
const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "from",
        what: "The number in the log to begin with; without it, the first or, backward, the last event.",
        kind: ParameterKind::Number(1, LAST),
    },
    Parameter {
        name: "limit",
        what: "At most so many events.",
        kind: ParameterKind::Number(1, limits::EVENT_PAGE_ENTRIES as u64),
    },
    Parameter { name: "backward", what: "From the newest to the oldest.", kind: ParameterKind::Flag },
    Parameter { name: "stream", what: "Only those of this stream.", kind: ParameterKind::Label },
    Parameter { name: "type", what: "Only those of this type.", kind: ParameterKind::Label },
    Parameter {
        name: "correlation_id",
        what: "Only those that belong together. One of stream, type and correlation_id may be given.",
        kind: ParameterKind::Label,
    },
];

/// The routes.
pub(crate) static ROUTES: [Route; 5] = [
    Route {
        parameters: PARAMETERS,
        problems: &[410, 422, 500, 503],
        ..get(
            "/api/v2/events",
            Any::Events(Action::List),
            "What happened: a log to which is only added",
            &[ok("A page of events", Content::Json(schema::<EventList>))],
        )
    },
    Route {
        body_bytes: limits::EVENT_BATCH_BYTES,
        problems: &[401, 403, 408, 409, 413, 415, 422, 500, 503],
        ..post(
            "/api/v2/events",
            Any::Events(Action::Append),
            "Appends an event",
            schema::<NewEventRequest>,
            &[ok("It is in the log", Content::Json(schema::<AppendedDocument>))],
        )
    },
    Route {
        problems: &[404, 410, 500, 503],
        ..named(
            get(
                "/api/v2/events/{seq}",
                Any::Events(Action::One),
                "One event",
                &[ok("The event", Content::Json(schema::<LogEvent>))],
            ),
            "Its number in the log.",
            Some("1"),
        )
    },
    Route {
        problems: &[500, 503],
        ..get(
            "/api/v2/events/head",
            Any::Events(Action::Head),
            "Where the log ends and begins, signed: of whoever keeps the head, nobody can hide what was before it",
            &[ok("Both", Content::Json(schema::<LogHeadDocument>))],
        )
    },
    Route {
        problems: &[422, 500, 503],
        ..get(
            "/api/v2/events/verify",
            Any::Events(Action::Verify),
            "Finds out whether the log is what was written; `roverline-gateway state verify` does so for a long one",
            &[ok("What was found", Content::Json(schema::<VerificationDocument>))],
        )
    },
];

/// Dispatches an operation.
pub(crate) async fn handle(request: &ApiRequest<'_>, action: Action) -> Result<HttpResponse, ApiError> {
    let events = &request.endpoint.coordination.events;
    Ok(match action {
        Action::List => {
            let page = events.read(query(request)?).await?;
            let bytes = page.events.iter().map(|event| event.size).sum();
            let make =
                move || EventList { events: page.events.into_iter().map(event).collect(), next: page.next };
            request.respond_with(bytes, make).await?
        }
        Action::Append => {
            events.pace(&request.by(), request.body.len())?;
            let (new, expected, sent_id) = new(request).await?;
            let earlier = match &sent_id {
                Some(id) => appended_before(request, events, id).await?,
                None => None,
            };
            let appended = match earlier {
                Some(appended) => appended,
                None => events.append(new, expected).await?,
            };
            json(&AppendedDocument { seq: appended.seq, version: appended.version, again: appended.again })
        }
        Action::One => {
            let no_number = |_| ApiError::not_found("an event has a number: /api/v2/events/1");
            json(&event(events.event(request.name()?.parse().map_err(no_number)?).await?))
        }
        Action::Head => {
            let (head, floor) = (events.head().await?.map(seal), events.floor().await?.map(seal));
            json(&LogHeadDocument { head, floor })
        }
        Action::Verify => json(&verdict(events.verify().await?)),
    })
}

fn query(request: &ApiRequest<'_>) -> Result<Query, ApiError> {
    let params = request.parameters()?;
    let text = |name| params.text(name).map(str::to_owned);
    let selects = [
        text("stream").map(Select::Stream),
        text("type").map(Select::Type),
        text("correlation_id").map(Select::Correlation),
    ];
    let mut selects = selects.into_iter().flatten();
    let select = selects.next().unwrap_or_default();
    if selects.next().is_some() {
        return Err(ApiError::bad_request("give one of stream, type and correlation_id"));
    }
    let limit = params.number("limit").map_or(limits::API_PAGE_ENTRIES, |limit| limit as usize);
    Ok(Query { select, from: params.number("from"), backward: params.flag("backward"), limit })
}

/// The caller's event that an earlier version appended with this id: such ids do not say whose they are.
async fn appended_before(
    request: &ApiRequest<'_>,
    events: &Events,
    id: &str,
) -> Result<Option<Appended>, ApiError> {
    let Some(found) = events.find(&format!("client/{id}")).await? else { return Ok(None) };
    let Event { seq, version, by, .. } = found.event;
    let own = by.is_some() && (by == Some(request.by()) || by == request.client());
    Ok(own.then_some(Appended { seq, version, again: true }))
}

async fn new(request: &ApiRequest<'_>) -> Result<(NewEvent, Expected, Option<String>), ApiError> {
    let body: NewEventRequest = request.parse_large(request::object).await?;
    check_not_reserved(&body.stream, &body.kind)?;
    let by = request.by();
    let id = body.id.as_deref().map(|id| client_event_id(&by, id)).transpose()?;
    let expected = match body.expected_version {
        None => Expected::Any,
        Some(0) => Expected::NoStream,
        Some(version) => Expected::Exactly(version),
    };
    let new = NewEvent {
        stream: body.stream,
        kind: body.kind,
        at_ns: roverline_source::clock::unix_ns(),
        data: body.data,
        by: Some(by),
        client: request.client().as_deref().and_then(identity::log_name),
        id,
        correlation_id: body.correlation_id,
        causation_id: body.causation_id,
        trace: body.trace,
    };
    Ok((new, expected, body.id))
}

/// Event types that only the product itself may append.
const RESERVED: [&str; 6] = ["lock", "queue", "lifecycle", "endpoint", "command", "alarm"];

/// Rejects an event that looks as if the product had recorded it.
fn check_not_reserved(stream: &str, kind: &str) -> Result<(), ApiError> {
    let ours = |word: &&str| {
        let begins = |text: &str, with| text.strip_prefix(word).is_some_and(|rest| rest.starts_with(with));
        begins(stream, '/') || begins(kind, '.')
    };
    match RESERVED.iter().find(|word| ours(word)) {
        None => Ok(()),
        Some(word) => {
            let why = format!("streams {word}/... and types {word}.... are the gateway's own");
            Err(ApiError::new(StatusCode::FORBIDDEN, why))
        }
    }
}

/// The id of an identity's event, distinct from those of other identities and from all that the product
/// assigns.
fn client_event_id(by: &str, id: &str) -> Result<String, ApiError> {
    match (1..=limits::EVENT_NAME_BYTES).contains(&id.len()) {
        true => Ok(format!("by/{}", identity::own_id(by, id))),
        false => {
            let why = format!("an id has 1 to {} bytes", limits::EVENT_NAME_BYTES);
            Err(ApiError::unprocessable(why))
        }
    }
}

fn event(stored: Stored) -> LogEvent {
    let event = stored.event;
    LogEvent {
        seq: event.seq,
        stream: event.stream,
        version: event.version,
        kind: event.kind,
        at_ns: event.at_ns,
        node: event.node,
        by: event.by,
        client: event.client,
        id: event.id,
        correlation_id: event.correlation_id,
        causation_id: event.causation_id,
        trace: event.trace,
        data: event.data,
        prev: stored.prev.to_string(),
        hash: stored.hash.to_string(),
    }
}

fn seal(seal: Seal) -> SealDocument {
    SealDocument {
        kind: seal.kind.name().to_owned(),
        log: seal.log.to_string(),
        seq: seal.seq,
        hash: seal.hash.to_string(),
        bytes: seal.bytes,
        at_ns: seal.at_ns,
        node: seal.node,
        key: seal.key,
        signature: seal.signature,
    }
}

fn verdict(verdict: VerifyReport) -> VerificationDocument {
    let sound = verdict.is_sound();
    let finding =
        |Finding { seq, fault, what }| FindingDocument { seq, fault: fault.name().to_owned(), what };
    VerificationDocument {
        sound,
        first: verdict.first,
        last: verdict.last,
        events: verdict.events,
        seals: verdict.seals,
        trusted: verdict.trusted,
        findings: verdict.findings.into_iter().map(finding).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_event_types_are_rejected() {
        for (stream, kind) in [
            ("lock/arm", "x"),
            ("s", "lock.released"),
            ("queue/work", "x"),
            ("lifecycle/robot/a", "x"),
            ("endpoint/primary", "x"),
            ("command/emergency_stop", "x"),
            ("s", "command.emergency_stop"),
            ("alarm/battery", "x"),
            ("s", "alarm.acknowledged"),
        ] {
            let refused = check_not_reserved(stream, kind).unwrap_err();
            assert_eq!(refused.into_response("/").status(), StatusCode::FORBIDDEN, "{stream} {kind}");
        }
        for (stream, kind) in [("mission/1", "mission.step"), ("locks/arm", "locked.out"), ("lock", "queue")]
        {
            assert!(check_not_reserved(stream, kind).is_ok(), "{stream} {kind}");
        }
    }

    #[test]
    fn client_event_ids_are_distinct() {
        for id in ["stop-1", "locks@7.0", "client/x", &"x".repeat(limits::EVENT_NAME_BYTES)] {
            let stored = client_event_id("ada", id).unwrap();
            assert_eq!(stored.strip_prefix("by/ada/"), Some(id));
            assert_ne!(Ok(stored), client_event_id("bob", id).map_err(|_| ()));
        }
        for id in ["", &"x".repeat(limits::EVENT_NAME_BYTES + 1)] {
            assert!(client_event_id("ada", id).is_err());
        }
    }
}
