//! What is kept of a span: of this process, or as a client reports it.

use std::borrow::Cow;
use std::time::Duration;

use roverline_protocol::api::traces::{SpanDocument, SpanKind, SpanStatus};
use roverline_protocol::limits;
use roverline_protocol::trace::{ReportedSpan, SpanId, TraceContext, TraceId};

use crate::access::Role;

/// The service of a client's span.
const CLIENT: &str = "client";

/// What is kept of a span.
#[derive(Clone, Debug)]
pub(super) struct RecordedSpan {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    pub(super) parent: Option<SpanId>,
    pub(super) name: Cow<'static, str>,
    pub(super) kind: SpanKind,
    pub(super) start_ns: i64,
    /// `None` until it ends.
    pub(super) duration: Option<Duration>,
    pub(super) status: SpanStatus,
    pub(super) message: Option<String>,
    pub(super) attributes: Vec<(Cow<'static, str>, String)>,
    /// The identity of the client that reported it; `None` for what this process did.
    pub(super) reported_by: Option<String>,
    /// Whether an observer caused or reported it.
    pub(super) is_observers: bool,
}

impl RecordedSpan {
    /// The memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        let texts = self.attributes.iter().map(|(key, value)| key.len() + value.len() + 48);
        let message = self.message.as_ref().map_or(0, String::len);
        size_of::<RecordedSpan>() + self.name.len() + message + texts.sum::<usize>()
    }

    /// A span that a client of this role reports; `None` if its ids are none.
    pub(super) fn of_client(span: ReportedSpan, by: &str, role: Role) -> Option<RecordedSpan> {
        let TraceContext { trace_id, span_id, .. } = span.context.parse().ok()?;
        let parent = span.parent_span_id.map(|id| id.parse::<SpanId>()).transpose().ok()?;
        let error = span.clock_error_ns.map(|ns| ("roverline.clock_error_ns".into(), ns.to_string()));
        Some(RecordedSpan {
            trace_id,
            span_id,
            parent,
            name: span.name.chars().take(limits::REPORTED_SPAN_CHARS).collect::<String>().into(),
            kind: SpanKind::Client,
            start_ns: span.start_ns,
            duration: Some(Duration::from_nanos(span.duration_ns)),
            status: if span.failed { SpanStatus::Error } else { SpanStatus::Unset },
            message: None,
            attributes: error.into_iter().collect(),
            reported_by: Some(by.to_owned()),
            is_observers: role == Role::Observer,
        })
    }

    /// A span as the API shows it; `None` if its ids are none.
    pub(super) fn of_document(span: SpanDocument, is_observers: bool) -> Option<RecordedSpan> {
        let parent = span.parent_span_id.map(|id| id.parse::<SpanId>()).transpose().ok()?;
        Some(RecordedSpan {
            trace_id: span.trace_id.parse().ok()?,
            span_id: span.span_id.parse().ok()?,
            parent,
            name: span.name.into(),
            kind: span.kind,
            start_ns: span.start_ns,
            duration: span.duration_ns.map(Duration::from_nanos),
            status: span.status,
            message: span.message,
            attributes: span.attributes.into_iter().map(|(key, value)| (key.into(), value)).collect(),
            reported_by: span.reported_by,
            is_observers,
        })
    }

    /// The process that did it; `own` is this one.
    pub(super) fn service<'a>(&self, own: &'a str) -> &'a str {
        if self.reported_by.is_some() { CLIENT } else { own }
    }

    /// The span as the API shows it; `service` is this process.
    pub(super) fn document(&self, service: &str) -> SpanDocument {
        SpanDocument {
            trace_id: self.trace_id.to_string(),
            span_id: self.span_id.to_string(),
            parent_span_id: self.parent.map(|parent| parent.to_string()),
            name: self.name.clone().into_owned(),
            kind: self.kind,
            service: self.service(service).to_owned(),
            reported_by: self.reported_by.clone(),
            start_ns: self.start_ns,
            duration_ns: self.duration.map(nanoseconds),
            status: self.status,
            message: self.message.clone(),
            attributes: self.attributes.iter().map(|(k, v)| (k.clone().into_owned(), v.clone())).collect(),
        }
    }
}

/// A duration in nanoseconds.
pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
