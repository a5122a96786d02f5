//! The level of the log: shown to all, changed by commanders, in all processes of the gateway.

use roverline_protocol::api::log::{LogDocument, LogRequest};
use roverline_source::clock::monotonic;

use crate::api::action::{Action, LogAction};
use crate::api::error::ApiError;
use crate::api::request::ApiRequest;
use crate::api::response::{HttpResponse, json};
use crate::api::route::{Content, HttpMethod, Reply, Route, get, ok, schema};
use crate::log::levels::{LevelChange, LevelError};

const PATH: &str = "/api/v2/log";
const CHANGED: [Reply; 1] =
    [ok("The level, and the processes that were told", Content::Json(schema::<LogDocument>))];

/// The routes.
pub(crate) static ROUTES: [Route; 3] = [
    get(
        PATH,
        Action::Log(LogAction::Show),
        "The level of the log",
        &[ok("The level", Content::Json(schema::<LogDocument>))],
    ),
    Route {
        method: HttpMethod::Put,
        body: Some(schema::<LogRequest>),
        problems: &[401, 403, 408, 413, 415, 422, 503],
        ..get(
            PATH,
            Action::Log(LogAction::Change),
            "Changes the level of the log for a time, in all processes of this gateway",
            &CHANGED,
        )
    },
    Route {
        method: HttpMethod::Delete,
        problems: &[401, 403, 503],
        ..get(PATH, Action::Log(LogAction::Restore), "Puts the configured level of the log back", &CHANGED)
    },
];

pub(crate) async fn handle(request: &ApiRequest<'_>, action: LogAction) -> Result<HttpResponse, ApiError> {
    let log = &request.endpoint.log;
    let by = request.by();
    let change = match action {
        LogAction::Show => return Ok(json(&log.levels.document(monotonic(), Vec::new()))),
        LogAction::Change => {
            let LogRequest { level, for_s } = request.json()?;
            LevelChange { level: Some(level), for_s, by }
        }
        LogAction::Restore => LevelChange { level: None, for_s: None, by },
    };
    let processes = log.change_everywhere(change).await?;
    Ok(json(&log.levels.document(monotonic(), processes)))
}

impl From<LevelError> for ApiError {
    fn from(error: LevelError) -> ApiError {
        match error {
            LevelError::Filter(_) | LevelError::Duration => ApiError::unprocessable(error.to_string()),
            LevelError::NoLog | LevelError::Stopping => ApiError::unavailable(error.to_string()),
        }
    }
}
