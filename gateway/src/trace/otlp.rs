//! Spans as OTLP's messages (Protocol Buffers), and what a collector answers.

use std::borrow::Cow;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind as OtlpKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, SpanFlags, Status};
use prost::Message;
use roverline_protocol::api::traces::{SpanKind, SpanStatus};

use crate::trace::SCOPE;
use crate::trace::recorded_span::{RecordedSpan, nanoseconds};

/// The service of this process's spans.
const GATEWAY_SERVICE: &str = "roverline-gateway";
/// The service of spans that clients report.
const CLIENT_SERVICE: &str = "roverline-client";
/// The attribute of a span that a client reports: the client's identity. What the span says is not verified.
const REPORTED_BY: &str = "roverline.reported_by";
/// Attributes that are integers in the semantic conventions; all others are texts.
const INTEGERS: [&str; 3] =
    ["http.response.status_code", "messaging.message.body.size", "roverline.clock_error_ns"];
/// The flag of a trace context that is recorded.
const SAMPLED: u32 = 1;

/// One request: spans of this process and of its clients.
#[derive(Clone, Debug)]
pub struct ExportBatch {
    /// How many.
    pub spans: u64,
    /// The request's body.
    pub body: Bytes,
}

/// What a collector is told of the process that made the spans.
#[derive(Clone, Debug)]
pub struct ExportResource {
    gateway: Resource,
    clients: Resource,
}

impl ExportResource {
    /// The process `process` (a tier, or `relay`) of `rover`, which listens on `port` at the computer `host`.
    pub fn new(rover: &str, process: &str, host: &str, port: u16) -> ExportResource {
        let gateway = vec![
            text("service.name", GATEWAY_SERVICE),
            text("service.namespace", rover),
            text("service.instance.id", format!("{process}@{host}:{port}")),
            text("service.version", env!("CARGO_PKG_VERSION")),
            text("host.name", host),
            integer("process.pid", i64::from(std::process::id())),
            text("roverline.process", process),
        ];
        let clients = vec![text("service.name", CLIENT_SERVICE), text("service.namespace", rover)];
        let resource = |attributes| Resource { attributes, ..Resource::default() };
        ExportResource { gateway: resource(gateway), clients: resource(clients) }
    }

    /// Spans as the body of a request.
    pub(super) fn encode(&self, spans: Vec<RecordedSpan>) -> ExportBatch {
        let count = spans.len() as u64;
        let (reported, own): (Vec<_>, Vec<_>) =
            spans.into_iter().partition(|span| span.reported_by.is_some());
        let resources = [(&self.gateway, own), (&self.clients, reported)];
        let resource_spans = resources.into_iter().filter(|(_, spans)| !spans.is_empty());
        let request = ExportTraceServiceRequest {
            resource_spans: resource_spans.map(|(resource, spans)| of_resource(resource, spans)).collect(),
        };
        ExportBatch { spans: count, body: request.encode_to_vec().into() }
    }
}

fn of_resource(resource: &Resource, spans: Vec<RecordedSpan>) -> ResourceSpans {
    let scope = InstrumentationScope {
        name: SCOPE.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let spans = spans.into_iter().map(encoded).collect();
    ResourceSpans {
        resource: Some(resource.clone()),
        scope_spans: vec![ScopeSpans { scope: Some(scope), spans, schema_url: String::new() }],
        schema_url: String::new(),
    }
}

fn encoded(span: RecordedSpan) -> Span {
    // A client may report a start before the epoch, which OTLP cannot say.
    let start = u64::try_from(span.start_ns).unwrap_or(0);
    let reported_by = span.reported_by.map(|by| text(REPORTED_BY, by));
    Span {
        trace_id: span.trace_id.to_bytes().to_vec(),
        span_id: span.span_id.to_bytes().to_vec(),
        parent_span_id: span.parent.map(|parent| parent.to_bytes().to_vec()).unwrap_or_default(),
        flags: SAMPLED & SpanFlags::TraceFlagsMask as u32,
        name: span.name.into_owned(),
        kind: kind(span.kind).into(),
        start_time_unix_nano: start,
        end_time_unix_nano: start.saturating_add(span.duration.map_or(0, nanoseconds)),
        attributes: span.attributes.into_iter().map(attribute).chain(reported_by).collect(),
        status: Some(Status {
            code: match span.status {
                SpanStatus::Unset => StatusCode::Unset,
                SpanStatus::Ok => StatusCode::Ok,
                SpanStatus::Error => StatusCode::Error,
            }
            .into(),
            message: span.message.unwrap_or_default(),
        }),
        ..Span::default()
    }
}

fn attribute((key, value): (Cow<'static, str>, String)) -> KeyValue {
    match value.parse() {
        Ok(number) if INTEGERS.contains(&&*key) => integer(&key, number),
        _ => text(&key, value),
    }
}

fn text(key: &str, value: impl Into<String>) -> KeyValue {
    key_value(key, Value::StringValue(value.into()))
}

fn integer(key: &str, value: i64) -> KeyValue {
    key_value(key, Value::IntValue(value))
}

fn key_value(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn kind(kind: SpanKind) -> OtlpKind {
    match kind {
        SpanKind::Internal => OtlpKind::Internal,
        SpanKind::Server => OtlpKind::Server,
        SpanKind::Client => OtlpKind::Client,
        SpanKind::Producer => OtlpKind::Producer,
        SpanKind::Consumer => OtlpKind::Consumer,
    }
}

/// How many spans a collector rejected, by the body of its response; `None` if that is no such response.
pub fn rejected_spans(body: &[u8]) -> Option<u64> {
    let response = ExportTraceServiceResponse::decode(body).ok()?;
    let rejected = response.partial_success.map_or(0, |partial| partial.rejected_spans);
    Some(u64::try_from(rejected).unwrap_or(0))
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;

    use super::*;

    pub(in crate::trace) fn resource() -> ExportResource {
        ExportResource::new("rover1", "primary", "pi", 8080)
    }

    pub(in crate::trace) fn span() -> RecordedSpan {
        RecordedSpan {
            trace_id: "0af7651916cd43dd8448eb211c80319c".parse().unwrap(),
            span_id: "b7ad6b7169203331".parse().unwrap(),
            parent: None,
            name: "GET /a".into(),
            kind: SpanKind::Server,
            start_ns: 1_000,
            duration: Some(Duration::from_nanos(7)),
            status: SpanStatus::Error,
            message: Some("no".to_owned()),
            attributes: vec![
                ("http.response.status_code".into(), "503".to_owned()),
                ("roverline.key".into(), "17".to_owned()),
            ],
            reported_by: None,
            is_observers: false,
        }
    }

    #[test]
    fn spans_of_clients_are_of_another_service_and_marked() {
        let client = RecordedSpan {
            reported_by: Some("ann".to_owned()),
            start_ns: -5,
            duration: Some(Duration::MAX),
            parent: Some("00f067aa0ba902b7".parse().unwrap()),
            ..span()
        };
        let batch = resource().encode(vec![client, span()]);
        let request = ExportTraceServiceRequest::decode(batch.body).unwrap();
        let [gateway, clients] = &request.resource_spans[..] else { panic!("{request:?}") };
        let attributes = &gateway.resource.as_ref().unwrap().attributes;
        assert!(attributes.contains(&text("service.instance.id", "primary@pi:8080")), "{attributes:?}");
        let own = &gateway.scope_spans[0].spans[0];
        assert_eq!((own.start_time_unix_nano, own.end_time_unix_nano), (1_000, 1_007));
        assert_eq!(own.attributes, [integer("http.response.status_code", 503), text("roverline.key", "17")]);
        assert!(own.parent_span_id.is_empty() && own.status.as_ref().unwrap().code == 2);
        let attributes = &clients.resource.as_ref().unwrap().attributes;
        assert_eq!(attributes[0], text("service.name", CLIENT_SERVICE));
        let reported = &clients.scope_spans[0].spans[0];
        assert!(reported.attributes.contains(&text(REPORTED_BY, "ann")));
        assert_eq!((reported.start_time_unix_nano, reported.end_time_unix_nano), (0, u64::MAX));
        assert_eq!(reported.parent_span_id.len(), 8);
    }

    #[test]
    fn a_response_says_how_many_were_rejected() {
        let response = |rejected_spans| ExportTraceServiceResponse {
            partial_success: Some(ExportTracePartialSuccess { rejected_spans, error_message: "no".into() }),
        };
        assert_eq!(rejected_spans(&[]), Some(0));
        assert_eq!(rejected_spans(&response(3).encode_to_vec()), Some(3));
        assert_eq!(rejected_spans(&response(-3).encode_to_vec()), Some(0));
        assert_eq!(rejected_spans(b"<html>"), None);
    }
}
