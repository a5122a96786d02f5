//! The log of what happened.

use http::{StatusCode, header};
use roverline_coordination::events::{
    EventError, Expected, Finding, NewEvent, Query, Seal, Select, Stored, Verdict,
};
use roverline_protocol::api::events::{
    AppendedDocument, EventDocument, EventList, FindingDocument, LogHeadDocument, NewEventRequest,
    SealDocument, VerdictDocument,
};
use roverline_protocol::limits;

use crate::api::request::{self, Ask};
use crate::api::response::{Answer, Failure, json};
use crate::api::routes::{
    Action as Any, Content, Parameter, ParameterKind, Route, get, named, ok, post, schema,
};

/// What is done for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    List,
    Append,
    One,
    Head,
    Verify,
}

/// The largest number that every reader of JSON takes exactly (RFC 8259, section 6).
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

/// The table.
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
                &[ok("The event", Content::Json(schema::<EventDocument>))],
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
            &[ok("What was found", Content::Json(schema::<VerdictDocument>))],
        )
    },
];

impl From<EventError> for Failure {
    fn from(error: EventError) -> Failure {
        let status = match error {
            EventError::Store(error) => return error.into(),
            EventError::Bad(_) => StatusCode::UNPROCESSABLE_ENTITY,
            EventError::Long(_) => StatusCode::PAYLOAD_TOO_LARGE,
            EventError::Conflict { .. } => StatusCode::CONFLICT,
            EventError::Removed(_) => StatusCode::GONE,
            EventError::None(_) => StatusCode::NOT_FOUND,
            EventError::Damaged => StatusCode::INTERNAL_SERVER_ERROR,
            EventError::Key(_) => {
                return Failure::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
                    .with(header::RETRY_AFTER, "1");
            }
        };
        Failure::new(status, error.to_string())
    }
}

/// Does it.
pub(crate) async fn answer(ask: &Ask<'_>, action: Action) -> Result<Answer, Failure> {
    let events = &ask.endpoint.coordination.events;
    Ok(match action {
        Action::List => {
            let page = events.read(query(ask)?).await?;
            let bytes = page.events.iter().map(|event| event.size).sum();
            let make =
                move || EventList { events: page.events.into_iter().map(event).collect(), next: page.next };
            ask.tell(bytes, make).await?
        }
        Action::Append => {
            let (new, expected) = new(ask).await?;
            let appended = events.append(new, expected).await?;
            json(&AppendedDocument { seq: appended.seq, version: appended.version, again: appended.again })
        }
        Action::One => {
            let no_number = |_| Failure::not_found("an event has a number: /api/v2/events/1");
            json(&event(events.event(ask.name()?.parse().map_err(no_number)?).await?))
        }
        Action::Head => {
            let (head, floor) = (events.head().await?.map(seal), events.floor().await?.map(seal));
            json(&LogHeadDocument { head, floor })
        }
        Action::Verify => json(&verdict(events.verify().await?)),
    })
}

fn query(ask: &Ask<'_>) -> Result<Query, Failure> {
    let given = ask.parameters()?;
    let text = |name| given.text(name).map(str::to_owned);
    let selects = [
        text("stream").map(Select::Stream),
        text("type").map(Select::Type),
        text("correlation_id").map(Select::Correlation),
    ];
    let mut selects = selects.into_iter().flatten();
    let select = selects.next().unwrap_or_default();
    if selects.next().is_some() {
        return Err(Failure::bad_request("give one of stream, type and correlation_id"));
    }
    let limit = given.number("limit").map_or(limits::API_PAGE_ENTRIES, |limit| limit as usize);
    Ok(Query { select, from: given.number("from"), backward: given.flag("backward"), limit })
}

async fn new(ask: &Ask<'_>) -> Result<(NewEvent, Expected), Failure> {
    let body: NewEventRequest = ask.large(request::object).await?;
    check_ours(&body.stream, &body.kind)?;
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
        by: Some(shown(&ask.asker())),
        id: body.id.as_deref().map(theirs).transpose()?,
        correlation_id: body.correlation_id,
        causation_id: body.causation_id,
        trace: body.trace,
    };
    Ok((new, expected))
}

/// What is told by the product itself: nobody else says so.
const OURS: [&str; 5] = ["lock", "queue", "lifecycle", "endpoint", "command"];

/// Refuses what looks like a fact that the product recorded.
fn check_ours(stream: &str, kind: &str) -> Result<(), Failure> {
    let ours = |word: &&str| {
        let begins = |text: &str, with| text.strip_prefix(word).is_some_and(|rest| rest.starts_with(with));
        begins(stream, '/') || begins(kind, '.')
    };
    match OURS.iter().find(|word| ours(word)) {
        None => Ok(()),
        Some(word) => {
            let why = format!("streams {word}/... and types {word}.... are the gateway's own");
            Err(Failure::new(StatusCode::FORBIDDEN, why))
        }
    }
}

/// The id of a client, apart from all that the product gives.
fn theirs(id: &str) -> Result<String, Failure> {
    match (1..=limits::EVENT_NAME_BYTES).contains(&id.len()) {
        true => Ok(format!("client/{id}")),
        false => {
            let why = format!("an id has 1 to {} bytes", limits::EVENT_NAME_BYTES);
            Err(Failure::new(StatusCode::UNPROCESSABLE_ENTITY, why))
        }
    }
}

/// A name as the log takes it: what a client calls itself may be anything.
fn shown(name: &str) -> String {
    let mut bytes = 0;
    let fits = |c: &char| {
        bytes += c.len_utf8();
        bytes <= limits::EVENT_NAME_BYTES
    };
    let name: String = name.chars().filter(|c| !c.is_control()).take_while(fits).collect();
    if name.is_empty() { "somebody".to_owned() } else { name }
}

fn event(stored: Stored) -> EventDocument {
    let event = stored.event;
    EventDocument {
        seq: event.seq,
        stream: event.stream,
        version: event.version,
        kind: event.kind,
        at_ns: event.at_ns,
        node: event.node,
        by: event.by,
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

fn verdict(verdict: Verdict) -> VerdictDocument {
    let sound = verdict.is_sound();
    let finding =
        |Finding { seq, fault, what }| FindingDocument { seq, fault: fault.name().to_owned(), what };
    VerdictDocument {
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
    fn nobody_says_what_the_product_says() {
        for (stream, kind) in [
            ("lock/arm", "x"),
            ("s", "lock.released"),
            ("queue/work", "x"),
            ("lifecycle/robot/a", "x"),
            ("endpoint/primary", "x"),
            ("command/emergency_stop", "x"),
            ("s", "command.emergency_stop"),
        ] {
            let refused = check_ours(stream, kind).unwrap_err();
            assert_eq!(refused.answer("/").status(), StatusCode::FORBIDDEN, "{stream} {kind}");
        }
        for (stream, kind) in [("mission/1", "mission.step"), ("locks/arm", "locked.out"), ("lock", "queue")]
        {
            assert!(check_ours(stream, kind).is_ok(), "{stream} {kind}");
        }
    }

    #[test]
    fn ids_of_clients_are_theirs() {
        for id in ["stop-1", "locks@7.0", "client/x", &"x".repeat(limits::EVENT_NAME_BYTES)] {
            let kept = theirs(id).unwrap();
            assert_eq!(kept.strip_prefix("client/"), Some(id));
            assert!(kept.len() <= limits::EVENT_ID_BYTES);
        }
        for id in ["", &"x".repeat(limits::EVENT_NAME_BYTES + 1)] {
            assert!(theirs(id).is_err());
        }
    }
}
