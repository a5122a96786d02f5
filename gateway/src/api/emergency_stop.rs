//! The emergency stop over HTTP: its state, and the commands that engage and release it. A plain request
//! needs no session, so a client is heard when all session slots are taken.

use http::StatusCode;
use roverline_protocol::api::emergency_stop::{
    EmergencyStopAnswer, EmergencyStopDocument, EmergencyStopRequest,
};
use roverline_source::clock::unix_ns;

use crate::access::Permission;
use crate::api::action::Action;
use crate::api::error::ApiError;
use crate::api::request::ApiRequest;
use crate::api::response::{HttpResponse, json};
use crate::api::route::{Content, HttpMethod, Route, get, ok, schema};
use crate::emergency_stop::{StopError, StopRequest};

const PATH: &str = "/api/v2/emergency-stop";

/// The routes.
pub(crate) static ROUTES: [Route; 2] = [
    get(
        PATH,
        Action::StopState,
        "The state of the emergency stop",
        &[ok("The state", Content::Json(schema::<EmergencyStopDocument>))],
    ),
    Route {
        method: HttpMethod::Post,
        body: Some(schema::<EmergencyStopRequest>),
        problems: &[401, 403, 408, 409, 413, 415, 422, 503],
        ..get(
            PATH,
            Action::Stop,
            "Engages or releases the emergency stop",
            &[ok("It is done", Content::Json(schema::<EmergencyStopAnswer>))],
        )
    },
];

/// The state.
pub(crate) fn state(request: &ApiRequest<'_>) -> HttpResponse {
    let endpoint = request.endpoint;
    let known = endpoint.emergency_stop_state();
    let engaged = known.as_ref().map(|state| state.engaged);
    let state = known.unwrap_or_default();
    json(&EmergencyStopDocument {
        engaged,
        id: state.id,
        reason: state.reason,
        at_ns: state.at_ns,
        stored: state.stored,
        published: engaged.is_some() && endpoint.emergency_stop_is_published(),
        problem: state.problem,
    })
}

/// Engages or releases the stop.
pub(crate) async fn command(request: &ApiRequest<'_>) -> Result<HttpResponse, ApiError> {
    let EmergencyStopRequest { engage, id, reason } = request.json()?;
    request.authorize(if engage { Permission::EngageStop } else { Permission::ReleaseStop })?;
    // A request over HTTP is not repeated by itself, so one without an id is a command of its own.
    let id = if id.is_empty() { format!("http-{}", unix_ns()) } else { id };
    let by = request.by();
    let reason = if reason.is_empty() { format!("asked for by {by}") } else { reason };
    let command = StopRequest { by: &by, id: &id, engage, reason: &reason };
    let pending = request.endpoint.begin_emergency_stop(command, request.client());
    let answer = request.endpoint.finish_emergency_stop(pending).await?;
    Ok(json(&EmergencyStopAnswer { message: answer.message, engaged: answer.engaged }))
}

impl From<StopError> for ApiError {
    fn from(error: StopError) -> ApiError {
        match &error {
            StopError::IdUsed { .. } => ApiError::new(StatusCode::CONFLICT, error.to_string()),
            StopError::NoId | StopError::LongId(_) => ApiError::unprocessable(error.to_string()),
            StopError::Write { .. }
            | StopError::Locked { .. }
            | StopError::Busy(_)
            | StopError::Slow(_)
            | StopError::Forward(_) => ApiError::unavailable(error.to_string()),
        }
    }
}
