//! Puts the spans of OpenTelemetry's SDK into the ring: when they start, so that unfinished ones are known, and when
//! they end. Durations come from a monotonic clock, so that a stepped wall clock makes none negative.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use opentelemetry::trace::{SpanKind as OtelKind, Status};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use roverline_protocol::api::traces::{SpanKind, SpanStatus};
use roverline_protocol::trace::{SpanId, TraceId};
use roverline_source::clock::monotonic;

use crate::access::Role;
use crate::trace::ROLE;
use crate::trace::recorded_span::RecordedSpan;
use crate::trace::ring::SpanRing;

/// Characters of the value of an attribute; the rest is cut off.
const ATTRIBUTE_CHARS: usize = 128;

/// The processor that fills a ring.
#[derive(Debug)]
pub(super) struct RingRecorder {
    ring: Arc<SpanRing>,
}

impl RingRecorder {
    pub(super) fn new(ring: Arc<SpanRing>) -> RingRecorder {
        RingRecorder { ring }
    }
}

impl SpanProcessor for RingRecorder {
    fn on_start(&self, span: &mut Span, _: &Context) {
        if let Some(span) = span.exported_data().and_then(recorded) {
            self.ring.start(span, monotonic());
        }
    }

    fn on_end(&self, span: SpanData) {
        if let Some(span) = recorded(span) {
            self.ring.end(span, monotonic());
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// What is kept of a span; `None` if it has no valid ids.
fn recorded(span: SpanData) -> Option<RecordedSpan> {
    let (status, message) = match span.status {
        Status::Unset => (SpanStatus::Unset, None),
        Status::Ok => (SpanStatus::Ok, None),
        Status::Error { description } => {
            (SpanStatus::Error, Some(truncated(&description)).filter(|text| !text.is_empty()))
        }
    };
    let is_observers = |kv: &KeyValue| kv.key.as_str() == ROLE && kv.value.as_str() == Role::Observer.name();
    let since_epoch = span.start_time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(RecordedSpan {
        trace_id: TraceId::new(u128::from_be_bytes(span.span_context.trace_id().to_bytes()))?,
        span_id: SpanId::new(u64::from_be_bytes(span.span_context.span_id().to_bytes()))?,
        parent: SpanId::new(u64::from_be_bytes(span.parent_span_id.to_bytes())),
        name: match span.name {
            Cow::Borrowed(name) => Cow::Borrowed(name),
            Cow::Owned(name) => Cow::Owned(truncated(&name)),
        },
        kind: kind(&span.span_kind),
        start_ns: i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX),
        duration: None,
        status,
        message,
        is_observers: span.attributes.iter().any(is_observers),
        attributes: span.attributes.into_iter().map(attribute).collect(),
        reported_by: None,
    })
}

fn attribute(KeyValue { key, value, .. }: KeyValue) -> (Cow<'static, str>, String) {
    (Cow::Owned(key.as_str().to_owned()), truncated(&value.as_str()))
}

fn truncated(text: &str) -> String {
    text.chars().take(ATTRIBUTE_CHARS).collect()
}

fn kind(kind: &OtelKind) -> SpanKind {
    match kind {
        OtelKind::Internal => SpanKind::Internal,
        OtelKind::Server => SpanKind::Server,
        OtelKind::Client => SpanKind::Client,
        OtelKind::Producer => SpanKind::Producer,
        OtelKind::Consumer => SpanKind::Consumer,
    }
}
