//! Errors of the HTTP API: the mapping from the store's errors to statuses, and problem documents (RFC 9457).

use std::time::Duration;

use http::header::{self, HeaderName};
use http::{HeaderValue, StatusCode};
use roverline_coordination::events::EventError;
use roverline_coordination::kv::KvError;
use roverline_coordination::lifecycle::LifecycleError;
use roverline_coordination::locks::LockError;
use roverline_coordination::queues::QueueError;
use roverline_coordination::quota::QuotaError;
use roverline_coordination::store::StoreError;
use roverline_protocol::status::Problem;
use roverline_protocol::trace::TraceContext;

use crate::access::AuthenticationError;
use crate::api::response::{HttpResponse, TRACERESPONSE, document};

/// The media type of problem documents.
pub(crate) const PROBLEM: &str = "application/problem+json";
/// Maximum length of the path repeated in a problem document.
const INSTANCE_CHARS: usize = 256;

/// A failed request: status and detail, including what to do about it.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    detail: String,
    field: Option<(HeaderName, HeaderValue)>,
    trace: Option<Box<TraceContext>>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> ApiError {
        ApiError { status, detail: detail.into(), field: None, trace: None }
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, detail)
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 503; the client may retry after a second.
    pub(crate) fn unavailable(detail: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, detail).with_header(header::RETRY_AFTER, "1")
    }

    /// 422: the request is well-formed but invalid.
    pub(crate) fn unprocessable(detail: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// Appends a hint, such as an example.
    pub(crate) fn with_hint(self, more: &str) -> ApiError {
        ApiError { detail: format!("{}; {more}", self.detail), ..self }
    }

    /// Adds a header field, as some statuses require.
    pub(crate) fn with_header(self, name: HeaderName, value: &str) -> ApiError {
        ApiError { field: HeaderValue::from_str(value).ok().map(|value| (name, value)), ..self }
    }

    /// Names the trace in which it happened.
    pub(crate) fn in_trace(self, context: TraceContext) -> ApiError {
        ApiError { trace: Some(Box::new(context)), ..self }
    }

    /// What went wrong, and what to do about it.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The problem document (RFC 9457) for a request of `path`, if it is known.
    pub(crate) fn problem(&self, path: Option<&str>) -> Problem {
        Problem {
            kind: "about:blank".to_owned(),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            instance: path.filter(|path| path.len() <= INSTANCE_CHARS).map(str::to_owned),
            trace_id: self.trace.as_ref().map(|trace| trace.trace_id.to_string()),
        }
    }

    /// The response to a request of `path`.
    pub(crate) fn into_response(self, path: &str) -> HttpResponse {
        let mut response = document(self.status, PROBLEM, &self.problem(Some(path)));
        if let Some(value) = self.trace.and_then(|trace| trace.to_string().try_into().ok()) {
            response.headers_mut().insert(TRACERESPONSE, value);
        }
        if let Some((name, value)) = self.field {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl From<AuthenticationError> for ApiError {
    fn from(error: AuthenticationError) -> ApiError {
        match error {
            AuthenticationError::UnknownToken
            | AuthenticationError::Expired(_)
            | AuthenticationError::Revoked
            | AuthenticationError::CertificateRevoked
            | AuthenticationError::CertificateExpired(_)
            | AuthenticationError::Jwt(_) => {
                let unauthorized = ApiError::new(StatusCode::UNAUTHORIZED, error.to_string());
                unauthorized.with_header(header::WWW_AUTHENTICATE, "Bearer")
            }
            AuthenticationError::Unencrypted => {
                let upgrade = ApiError::new(StatusCode::UPGRADE_REQUIRED, error.to_string());
                upgrade.with_header(header::UPGRADE, "TLS/1.3")
            }
            AuthenticationError::TooManyAttempts(wait) => {
                let limited = ApiError::new(StatusCode::TOO_MANY_REQUESTS, error.to_string());
                limited.with_header(header::RETRY_AFTER, &wait.as_secs().max(1).to_string())
            }
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> ApiError {
        let status = match &error {
            StoreError::Key | StoreError::Parts(_) | StoreError::Twice(_) | StoreError::Ttl => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            StoreError::Value(_) => StatusCode::PAYLOAD_TOO_LARGE,
            StoreError::LeaseEnded => StatusCode::CONFLICT,
            StoreError::Compacted(_) => StatusCode::GONE,
            StoreError::Future(_) => StatusCode::NOT_FOUND,
            StoreError::Busy | StoreError::Unavailable(_) | StoreError::Unknown(_) => {
                return ApiError::unavailable(error.to_string());
            }
        };
        ApiError::new(status, error.to_string())
    }
}

/// 429; the client may retry after this time.
fn later(wait: Duration, detail: String) -> ApiError {
    let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, detail);
    error.with_header(header::RETRY_AFTER, &(wait.as_secs() + 1).to_string())
}

/// A quota: 429 if time helps, else 507.
fn quota(error: &QuotaError, detail: String) -> ApiError {
    match error {
        QuotaError::Pace { wait, .. } => later(*wait, detail),
        _ => ApiError::new(StatusCode::INSUFFICIENT_STORAGE, detail),
    }
}

impl From<KvError> for ApiError {
    fn from(error: KvError) -> ApiError {
        let status = match &error {
            KvError::Quota(exceeded) => return quota(exceeded, error.to_string()),
            KvError::Key => StatusCode::UNPROCESSABLE_ENTITY,
            KvError::Value(_) => StatusCode::PAYLOAD_TOO_LARGE,
            KvError::Unknown(_) => StatusCode::NOT_FOUND,
            KvError::Conflict { .. } => StatusCode::CONFLICT,
            KvError::Store(error) => return error.clone().into(),
        };
        ApiError::new(status, error.to_string())
    }
}

impl From<LockError> for ApiError {
    fn from(error: LockError) -> ApiError {
        let status = match &error {
            LockError::Store(store) => return store.clone().into(),
            LockError::InvalidName | LockError::InvalidIdentity | LockError::InvalidReason => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            LockError::NotOwner { .. } => StatusCode::FORBIDDEN,
            LockError::NotHeld { .. } | LockError::Taken { .. } | LockError::NotRequested { .. } => {
                StatusCode::NOT_FOUND
            }
            LockError::Upgrade(_)
            | LockError::Deadlock(_)
            | LockError::Stale { .. }
            | LockError::Ambiguous { .. }
            | LockError::NoHandover { .. } => StatusCode::CONFLICT,
            LockError::TooManyWaiters(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        ApiError::new(status, error.to_string())
    }
}

impl From<QueueError> for ApiError {
    fn from(error: QueueError) -> ApiError {
        let status = match error {
            QueueError::Store(error) => return error.into(),
            QueueError::Quota(exceeded) => return quota(&exceeded, error.to_string()),
            QueueError::UnknownQueue(_) | QueueError::UnknownMessage(_) => StatusCode::NOT_FOUND,
            QueueError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            QueueError::NotOwner { .. } => StatusCode::FORBIDDEN,
            QueueError::InvalidName
            | QueueError::InvalidIdentity
            | QueueError::InvalidReason
            | QueueError::BatchSize(_)
            | QueueError::InvalidPriority(_)
            | QueueError::InvalidDuration(_)
            | QueueError::InvalidDeliveryLimit(_) => StatusCode::UNPROCESSABLE_ENTITY,
            QueueError::Stale { .. }
            | QueueError::NotInFlight
            | QueueError::NotTaken
            | QueueError::Full { .. }
            | QueueError::TooManyInFlight
            | QueueError::TooManyDelayed
            | QueueError::TooManyQueues => StatusCode::CONFLICT,
            QueueError::TooManyWaiters | QueueError::Contended | QueueError::Damaged(_) => {
                return ApiError::unavailable(error.to_string());
            }
        };
        ApiError::new(status, error.to_string())
    }
}

impl From<EventError> for ApiError {
    fn from(error: EventError) -> ApiError {
        let status = match error {
            EventError::Store(error) => return error.into(),
            EventError::Bad(_) => StatusCode::UNPROCESSABLE_ENTITY,
            EventError::Long(_) => StatusCode::PAYLOAD_TOO_LARGE,
            EventError::Conflict { .. } => StatusCode::CONFLICT,
            EventError::Removed(_) => StatusCode::GONE,
            EventError::None(_) => StatusCode::NOT_FOUND,
            EventError::Damaged => StatusCode::INTERNAL_SERVER_ERROR,
            EventError::Pace { wait, .. } => return later(wait, error.to_string()),
            EventError::Key(_) => {
                return ApiError::unavailable(error.to_string());
            }
        };
        ApiError::new(status, error.to_string())
    }
}

impl From<LifecycleError> for ApiError {
    fn from(error: LifecycleError) -> ApiError {
        let status = match error {
            LifecycleError::Store(error) => return error.into(),
            LifecycleError::InvalidName | LifecycleError::TextTooLong | LifecycleError::InvalidHeartbeat => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            LifecycleError::Unknown(_) => StatusCode::NOT_FOUND,
            LifecycleError::InvalidTransition(_) | LifecycleError::TooManyEntities => StatusCode::CONFLICT,
            LifecycleError::Contended(_) => {
                return ApiError::unavailable(error.to_string());
            }
        };
        ApiError::new(status, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_what_and_where() {
        let error =
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "use GET").with_header(header::ALLOW, "GET");
        let answer = error.into_response("/health");
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()[header::ALLOW]),
            (405, &"GET".parse().unwrap())
        );
        let long = ApiError::not_found("no").into_response(&"/x".repeat(300));
        assert_eq!(long.headers()[header::CONTENT_TYPE], PROBLEM);
    }
}
