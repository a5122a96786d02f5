//! The way of a traced sample as spans: one from its publisher's stamp to the last client, and one for each stage.
//! Attributes are those of OpenTelemetry's semantic conventions for messaging.

use std::collections::BTreeMap;

use roverline_protocol::api::traces::{SpanDocument, SpanKind, SpanStatus, TraceSummary};
use roverline_protocol::trace::SpanId;

use crate::trace::sample_trace::{SampleTrace, SessionKey, Stage};

/// The service of what a client reports.
const CLIENT: &str = "client";

/// The spans of a sample at the process `service`, the one of its whole way first.
pub(super) fn documents(sample: &SampleTrace, service: &str) -> Vec<SpanDocument> {
    let mut spans = vec![whole(sample, service)];
    let root = spans.first().map(|span| span.span_id.clone());
    let before = sample.stages();
    let deliveries = sample.deliveries();
    let of_session = deliveries.iter().flat_map(|delivery| {
        let session = Some((delivery.session, delivery.clock_error_ns));
        delivery.stages.iter().map(move |stage| (stage, session))
    });
    let all = before.iter().map(|stage| (stage, None)).chain(of_session);
    spans.extend(all.map(|(stage, session)| span(sample, service, root.clone(), stage, session)));
    spans
}

/// A line of a list.
pub(super) fn summary(sample: &SampleTrace, service: &str) -> TraceSummary {
    let whole = whole(sample, service);
    let deliveries = sample.deliveries();
    let stages = deliveries.iter().flat_map(|delivery| &delivery.stages);
    TraceSummary {
        trace_id: whole.trace_id,
        name: whole.name,
        service: whole.service,
        start_ns: whole.start_ns,
        duration_ns: whole.duration_ns.unwrap_or(0),
        spans: 1 + sample.stages().len() + stages.clone().count(),
        error: false,
        unfinished: stages.clone().any(|stage| stage.duration_ns.is_none()),
        observers_only: false,
    }
}

/// The span of the whole way; unfinished until a session has the sample.
fn whole(sample: &SampleTrace, service: &str) -> SpanDocument {
    let (before, deliveries) = (sample.stages(), sample.deliveries());
    let start_ns = before.first().map_or(0, |stage| stage.start_ns);
    let ends = deliveries.iter().filter_map(|delivery| {
        let last = delivery.stages.last()?;
        Some(last.start_ns.saturating_add_unsigned(last.duration_ns?))
    });
    let duration_ns = ends.max().and_then(|end_ns| u64::try_from(end_ns.saturating_sub(start_ns)).ok());
    let texts = [
        ("messaging.system", "ros2".to_owned()),
        ("messaging.destination.name", sample.topic.to_string()),
        ("messaging.message.id", format!("{}:{}", sample.id.source, sample.id.seq)),
        ("messaging.message.body.size", sample.bytes.to_string()),
    ];
    SpanDocument {
        trace_id: sample.trace_id.to_string(),
        span_id: SpanId::of_part(sample.trace_id, part(service, 0, 0)).to_string(),
        parent_span_id: None,
        name: format!("deliver {}", sample.topic),
        kind: SpanKind::Consumer,
        service: service.to_owned(),
        reported_by: None,
        start_ns,
        duration_ns,
        status: SpanStatus::Unset,
        message: None,
        attributes: texts.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
    }
}

/// The number of a span within the trace: of a process, a session and a stage.
fn part(service: &str, session: u64, stage: u64) -> u64 {
    let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let bytes = service.bytes().chain(session.to_le_bytes()).chain([stage as u8]);
    bytes.fold(0xcbf2_9ce4_8422_2325, hash)
}

fn span(
    sample: &SampleTrace,
    service: &str,
    parent_span_id: Option<String>,
    stage: &Stage,
    session: Option<(SessionKey, Option<u64>)>,
) -> SpanDocument {
    use roverline_protocol::api::traces::SampleStage::{Decode, Draw, Network};
    let is_reported = matches!(stage.stage, Network | Decode | Draw);
    let number = session.map_or(0, |((number, _), _)| number);
    let mut attributes = BTreeMap::new();
    if let Some(((number, dialect), error_ns)) = session {
        attributes.insert("roverline.session".to_owned(), number.to_string());
        attributes.insert("roverline.dialect".to_owned(), dialect.to_owned());
        if let Some(error_ns) = error_ns.filter(|_| is_reported) {
            attributes.insert("roverline.clock_error_ns".to_owned(), error_ns.to_string());
        }
    }
    SpanDocument {
        trace_id: sample.trace_id.to_string(),
        span_id: SpanId::of_part(sample.trace_id, part(service, number, stage.stage as u64 + 1)).to_string(),
        parent_span_id,
        name: stage.stage.name().to_owned(),
        kind: SpanKind::Internal,
        service: if is_reported { CLIENT } else { service }.to_owned(),
        reported_by: is_reported.then(|| format!("session {number}")),
        start_ns: stage.start_ns,
        duration_ns: stage.duration_ns,
        status: SpanStatus::Unset,
        message: None,
        attributes,
    }
}
