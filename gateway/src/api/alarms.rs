//! Alarms: the list, and what operators do about them.

use http::StatusCode;
use roverline_coordination::alarms::AlarmError;
use roverline_protocol::alarms::list::AlarmFilter;
use roverline_protocol::alarms::record::{AlarmActionError, AlarmRecord, Operator};
use roverline_protocol::api::alarms::{
    ALARM_NOTE_CHARS, AcknowledgeRequest, AlarmDocument, AlarmList, AlarmSeverity, AlarmState, SHELF_MAX_S,
    SHELF_MIN_S, ShelveRequest, UnshelveRequest,
};
use roverline_source::clock::unix_ns;

use crate::api::action::{Action, AlarmsAction};
use crate::api::error::ApiError;
use crate::api::request::ApiRequest;
use crate::api::response::{HttpResponse, json};
use crate::api::route::{Content, Parameter, ParameterKind, Route, get, named, ok, post, schema};

/// Nanoseconds of a second.
const SECOND_NS: i64 = 1_000_000_000;
const STATES: &[&str] = &["raised", "acknowledged", "cleared"];
const SEVERITIES: &[&str] = &["watch", "warning", "distress", "critical", "severe"];
const ID: &str = "The alarm's id, with its slashes.";
const EXAMPLE: Option<&str> = Some("motor-temperature/motor/front_left/temperature");

/// The routes.
pub(crate) static ROUTES: [Route; 5] = [
    Route {
        parameters: &[
            Parameter { name: "state", what: "Only of this state.", kind: ParameterKind::Word(STATES) },
            Parameter {
                name: "severity",
                what: "Only of this severity or worse.",
                kind: ParameterKind::Word(SEVERITIES),
            },
            Parameter {
                name: "shelved",
                what: "Only those that are shelved (true), or those that are not (false).",
                kind: ParameterKind::Word(&["true", "false"]),
            },
        ],
        ..get(
            "/api/v2/alarms",
            Action::Alarms(AlarmsAction::List),
            "Alarms, the most urgent first, with the totals of all",
            &[ok("The alarms", Content::Json(schema::<AlarmList>))],
        )
    },
    Route {
        problems: &[404],
        ..named(
            get(
                "/api/v2/alarms/{id}",
                Action::Alarms(AlarmsAction::One),
                "One alarm",
                &[ok("The alarm", Content::Json(schema::<AlarmDocument>))],
            ),
            ID,
            EXAMPLE,
        )
    },
    named(
        post(
            "/api/v2/alarms/{id}/acknowledge",
            Action::Alarms(AlarmsAction::Acknowledge),
            "Acknowledge an alarm for the whole team; the first acknowledgement counts",
            schema::<AcknowledgeRequest>,
            &[ok("The alarm", Content::Json(schema::<AlarmDocument>))],
        ),
        ID,
        EXAMPLE,
    ),
    named(
        post(
            "/api/v2/alarms/{id}/shelve",
            Action::Alarms(AlarmsAction::Shelve),
            "Shelve an alarm for a time: it does not count as open",
            schema::<ShelveRequest>,
            &[ok("The alarm", Content::Json(schema::<AlarmDocument>))],
        ),
        ID,
        EXAMPLE,
    ),
    named(
        post(
            "/api/v2/alarms/{id}/unshelve",
            Action::Alarms(AlarmsAction::Unshelve),
            "Take an alarm off the shelf",
            schema::<UnshelveRequest>,
            &[ok("The alarm", Content::Json(schema::<AlarmDocument>))],
        ),
        ID,
        EXAMPLE,
    ),
];

/// Dispatches an operation.
pub(crate) async fn handle(request: &ApiRequest<'_>, action: AlarmsAction) -> Result<HttpResponse, ApiError> {
    match action {
        AlarmsAction::List => list(request),
        AlarmsAction::One => one(request, &request.name()?),
        AlarmsAction::Acknowledge => acknowledge(request).await,
        AlarmsAction::Shelve => shelve(request).await,
        AlarmsAction::Unshelve => {
            let UnshelveRequest {} = request.json()?;
            let operator = operator(request);
            change(request, |record| record.unshelve(&operator, unix_ns()).map(Some)).await
        }
    }
}

fn list(request: &ApiRequest<'_>) -> Result<HttpResponse, ApiError> {
    let params = request.parameters()?;
    let filter = AlarmFilter {
        state: params.text("state").and_then(AlarmState::named),
        severity: params.text("severity").and_then(AlarmSeverity::named),
        shelved: params.text("shelved").map(|text| text == "true"),
    };
    let endpoint = request.endpoint;
    Ok(json(&endpoint.alarms.list(&endpoint.coordination.alarms, &filter, unix_ns())))
}

fn one(request: &ApiRequest<'_>, id: &str) -> Result<HttpResponse, ApiError> {
    let endpoint = request.endpoint;
    let alarm = endpoint.alarms.document(&endpoint.coordination.alarms, id, unix_ns());
    alarm.map(|alarm| json(&alarm)).ok_or_else(|| unknown(id))
}

fn unknown(id: &str) -> ApiError {
    let shown: String = id.chars().take(80).collect();
    ApiError::not_found(format!("there is no alarm {shown}; GET /api/v2/alarms lists all"))
}

async fn acknowledge(request: &ApiRequest<'_>) -> Result<HttpResponse, ApiError> {
    let AcknowledgeRequest { comment, occurrence } = request.json()?;
    check_note("comment", &comment)?;
    let operator = operator(request);
    change(request, |record| record.acknowledge(&operator, &comment, occurrence, unix_ns())).await
}

async fn shelve(request: &ApiRequest<'_>) -> Result<HttpResponse, ApiError> {
    let ShelveRequest { reason, duration_s } = request.json()?;
    check_note("reason", &reason)?;
    if reason.trim().is_empty() {
        return Err(ApiError::unprocessable("give a reason: others want to know why it is shelved"));
    }
    if !(SHELF_MIN_S..=SHELF_MAX_S).contains(&duration_s) {
        let why = format!("an alarm is shelved for {SHELF_MIN_S} to {SHELF_MAX_S} seconds");
        return Err(ApiError::unprocessable(why));
    }
    let (operator, duration_ns) = (operator(request), duration_s as i64 * SECOND_NS);
    change(request, |record| record.shelve(&operator, &reason, duration_ns, unix_ns()).map(Some)).await
}

fn check_note(field: &str, text: &str) -> Result<(), ApiError> {
    match text.chars().count() <= ALARM_NOTE_CHARS && !text.contains(char::is_control) {
        true => Ok(()),
        false => {
            let why = format!("{field} has at most {ALARM_NOTE_CHARS} characters and no control characters");
            Err(ApiError::unprocessable(why))
        }
    }
}

fn operator(request: &ApiRequest<'_>) -> Operator {
    Operator { by: request.by(), client: request.client() }
}

/// Changes a shared record, after this endpoint has shared what it knows of it.
async fn change(
    request: &ApiRequest<'_>,
    change: impl Fn(&AlarmRecord) -> Result<Option<AlarmRecord>, AlarmActionError>,
) -> Result<HttpResponse, ApiError> {
    let (endpoint, id) = (request.endpoint, request.name()?);
    let shared = &endpoint.coordination.alarms;
    if let Some(unshared) = endpoint.alarms.unshared_record(&id) {
        shared.merge(&id, &unshared).await?;
    }
    shared.update(&id, change).await?;
    one(request, &id)
}

impl From<AlarmError> for ApiError {
    fn from(error: AlarmError) -> ApiError {
        match error {
            AlarmError::Unknown(id) => unknown(&id),
            AlarmError::Refused(AlarmActionError::NeverRaised) => ApiError::not_found(error.to_string()),
            AlarmError::Refused(_) => ApiError::new(StatusCode::CONFLICT, error.to_string()),
            AlarmError::TooMany => ApiError::new(StatusCode::INSUFFICIENT_STORAGE, error.to_string()),
            AlarmError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use roverline_coordination::store::StoreError;

    use super::*;

    #[test]
    fn refusals_have_their_statuses() {
        let status = |error: AlarmError| ApiError::from(error).status().as_u16();
        assert_eq!(status(AlarmError::Unknown("a".to_owned())), 404);
        assert_eq!(status(AlarmActionError::NeverRaised.into()), 404);
        assert_eq!(status(AlarmActionError::RaisedAgain(3).into()), 409);
        assert_eq!(status(AlarmActionError::NotShelved.into()), 409);
        assert_eq!(status(AlarmError::TooMany), 507);
        assert_eq!(status(StoreError::Unavailable("no disk".to_owned()).into()), 503);
        assert!(check_note("comment", &"ä".repeat(200)).is_ok());
        assert!(check_note("comment", &"a".repeat(201)).is_err() && check_note("reason", "a\u{1b}").is_err());
    }

    #[test]
    fn the_words_of_the_table_are_those_of_the_types() {
        assert!(AlarmState::ALL.iter().map(|state| state.name()).eq(STATES.iter().copied()));
        assert!(AlarmSeverity::ALL.iter().map(|severity| severity.name()).eq(SEVERITIES.iter().copied()));
    }
}
