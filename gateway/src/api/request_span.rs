//! The span of a request to the API: child of the caller's if it sends a `traceparent` (W3C Trace Context), whatever
//! the request causes is below it.

use http::header::HeaderName;
use roverline_protocol::trace::TARGET;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::api::action::Action;
use crate::api::error::ApiError;
use crate::api::request::ApiRequest;
use crate::api::response::{HttpResponse, TRACERESPONSE};
use crate::trace;

/// The header field with the caller's trace context.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Whether requests of this operation are traced. Those are not that are repeated all day, or read traces.
const fn is_traced(action: Action) -> bool {
    !matches!(
        action,
        Action::Page
            | Action::Health
            | Action::Status
            | Action::Metrics
            | Action::Summary
            | Action::OpenApi
            | Action::Traces
            | Action::TopicStages
            | Action::Trace
    )
}

/// What caused a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cause<'a> {
    /// A client, which may send a `traceparent`.
    Client(Option<&'a str>),
    /// A change of what a client watches: no trace, or those of changes would push out the others.
    Watch,
}

/// Opens the span of a request; a disabled one if it is not traced.
fn open(request: &ApiRequest<'_>, path: &str, cause: Cause<'_>) -> Span {
    let (route, endpoint) = (request.route, request.endpoint);
    let Cause::Client(traceparent) = cause else { return Span::none() };
    if !is_traced(route.action) {
        return Span::none();
    }
    let method = route.method.name();
    let span = tracing::error_span!(
        target: TARGET,
        parent: None,
        "request",
        otel.name = Empty,
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route.path,
        http.response.status_code = Empty,
        url.path = path,
        enduser.id = Empty,
        { trace::ROLE } = Empty,
        "error.type" = Empty,
    );
    if span.is_disabled() {
        return span;
    }
    span.record("otel.name", format!("{method} {}", route.path));
    span.record("enduser.id", request.by());
    span.record(trace::ROLE, request.role().name());
    trace::set_parent(&span, traceparent, &endpoint.counters.invalid_trace_contexts);
    span
}

/// Answers a request within its span. The response says which trace it belongs to, and so does an error.
pub(crate) async fn traced(
    request: &ApiRequest<'_>,
    path: &str,
    cause: Cause<'_>,
    answering: impl Future<Output = Result<HttpResponse, ApiError>>,
) -> Result<HttpResponse, ApiError> {
    let span = open(request, path, cause);
    let result = answering.instrument(span.clone()).await;
    let Some(context) = trace::context_of(&span) else { return result };
    let status = match &result {
        Ok(response) => response.status(),
        Err(error) => error.status(),
    };
    span.record("http.response.status_code", status.as_u16());
    let failed = status.is_server_error();
    span.in_scope(|| match &result {
        Err(error) if failed => {
            tracing::warn!(
                event_type = "request.failed",
                status = status.as_u16(),
                why = error.detail(),
                "request failed"
            );
        }
        _ => tracing::debug!(event_type = "request.done", status = status.as_u16(), "request"),
    });
    if failed {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", status.as_str());
    }
    match result {
        Ok(mut response) => {
            if let Ok(value) = context.to_string().try_into() {
                response.headers_mut().insert(TRACERESPONSE, value);
            }
            Ok(response)
        }
        Err(error) => Err(error.in_trace(context)),
    }
}
