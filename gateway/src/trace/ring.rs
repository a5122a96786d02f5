//! The newest spans of this process, bounded in number and bytes, and the traces that they form.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use roverline_protocol::api::traces::{SpanDocument, SpanStatus, TraceList, TraceSummary};
use roverline_protocol::limits;
use roverline_protocol::trace::{ReportedSpan, SpanId, TraceId};

use crate::access::Role;
use crate::trace::export_queue::ExportQueue;
use crate::trace::recorded_span::{RecordedSpan, nanoseconds};

/// Ended spans that are kept.
const ENDED_SPANS: usize = 3_072;
/// Their bytes.
const ENDED_SPANS_BYTES: usize = 768 << 10;
/// Ended spans of what observers caused or reported, which push out no others.
const OBSERVERS_SPANS: usize = 1_024;
/// Their bytes.
const OBSERVERS_SPANS_BYTES: usize = 256 << 10;
/// Spans that have not ended; further ones are known when they end.
const OPEN_SPANS: usize = 512;
/// Spans of all observers, and of all other clients, that are taken in a second.
const REPORTED_SPANS_PER_SECOND: usize = 256;
const SECOND: Duration = Duration::from_secs(1);
/// Traces in a list.
pub const LISTED_TRACES: usize = 100;

/// Which traces a list shows; the default is all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceFilter {
    /// At least this long.
    pub min_duration: Duration,
    /// The name of one of its spans contains this.
    pub name: String,
    /// An attribute of one of its spans has this value: a topic, a lock, a client.
    pub attribute: Option<String>,
    /// Only those that failed.
    pub errors: bool,
    /// Not older than this, nanoseconds since the Unix epoch.
    pub since_ns: Option<i64>,
    /// Most traces in the list; `None`: [`LISTED_TRACES`].
    pub limit: Option<usize>,
}

/// Ended spans with a bound; the oldest give way.
#[derive(Debug)]
struct EndedSpans {
    spans: VecDeque<RecordedSpan>,
    bytes: usize,
    max_spans: usize,
    max_bytes: usize,
}

impl EndedSpans {
    fn new(max_spans: usize, max_bytes: usize) -> EndedSpans {
        EndedSpans { spans: VecDeque::new(), bytes: 0, max_spans, max_bytes }
    }

    /// Keeps a span; returns how many gave way.
    fn keep(&mut self, span: RecordedSpan) -> u64 {
        self.bytes += span.bytes();
        self.spans.push_back(span);
        let mut evicted = 0;
        while self.spans.len() > self.max_spans || self.bytes > self.max_bytes {
            let Some(oldest) = self.spans.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(oldest.bytes());
            evicted += 1;
        }
        evicted
    }
}

#[derive(Debug)]
struct Spans {
    open: HashMap<SpanId, (RecordedSpan, Duration)>,
    ended: EndedSpans,
    observers: EndedSpans,
    evicted: u64,
    /// When the current second of reports began, and how many spans came in it: of observers, and of others.
    reported: (Duration, [usize; 2]),
    /// Spans of clients that came too fast or are none.
    refused: u64,
    /// Where ended spans are exported from as well.
    export: Option<Arc<ExportQueue>>,
}

impl Default for Spans {
    fn default() -> Spans {
        Spans {
            open: HashMap::new(),
            ended: EndedSpans::new(ENDED_SPANS, ENDED_SPANS_BYTES),
            observers: EndedSpans::new(OBSERVERS_SPANS, OBSERVERS_SPANS_BYTES),
            evicted: 0,
            reported: (Duration::ZERO, [0; 2]),
            refused: 0,
            export: None,
        }
    }
}

impl Spans {
    /// Keeps an ended span.
    fn keep(&mut self, span: RecordedSpan) {
        if let Some(export) = &self.export {
            export.add(&span);
        }
        let kept = if span.is_observers { &mut self.observers } else { &mut self.ended };
        self.evicted += kept.keep(span);
    }

    fn all(&self) -> impl Iterator<Item = &RecordedSpan> {
        let open = self.open.values().map(|(span, _)| span);
        self.ended.spans.iter().chain(&self.observers.spans).chain(open)
    }
}

/// What a ring keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingUsage {
    /// Spans that have not ended.
    pub open: usize,
    /// Ended spans.
    pub ended: usize,
    /// Their memory.
    pub bytes: usize,
    /// Spans that gave way to newer ones.
    pub evicted: u64,
    /// Spans of clients that came too fast or are none.
    pub refused: u64,
}

/// The ring. The oldest ended span gives way first.
#[derive(Debug)]
pub struct SpanRing {
    service: &'static str,
    spans: Mutex<Spans>,
}

impl SpanRing {
    /// An empty ring of the process `service`.
    pub fn new(service: &'static str) -> SpanRing {
        SpanRing { service, spans: Mutex::default() }
    }

    /// The same, whose ended spans are exported as well.
    pub fn exported(self, queue: Arc<ExportQueue>) -> SpanRing {
        self.spans.lock().export = Some(queue);
        self
    }

    /// The queue of spans that wait for export; `None` if they are not exported.
    pub fn export(&self) -> Option<Arc<ExportQueue>> {
        self.spans.lock().export.clone()
    }

    /// Takes a span that has started at `now`.
    pub(super) fn start(&self, mut span: RecordedSpan, now: Duration) {
        let mut spans = self.spans.lock();
        let parent = span.parent.and_then(|parent| spans.open.get(&parent));
        span.is_observers |= parent.is_some_and(|(parent, _)| parent.is_observers);
        if spans.open.len() < OPEN_SPANS {
            spans.open.insert(span.span_id, (span, now));
        }
    }

    /// Takes a span that has ended at `now`.
    pub(super) fn end(&self, mut span: RecordedSpan, now: Duration) {
        let mut spans = self.spans.lock();
        // One that was not known as open has no duration that could be trusted.
        span.duration = Some(Duration::ZERO);
        if let Some((open, started)) = spans.open.remove(&span.span_id) {
            span.is_observers |= open.is_observers;
            span.duration = Some(now.saturating_sub(started));
        }
        spans.keep(span);
    }

    /// Takes spans of a client, at `now`. What is no span, and what comes too fast, is counted and dropped.
    pub fn report(&self, reported: Vec<ReportedSpan>, by: &str, role: Role, now: Duration) {
        let mut spans = self.spans.lock();
        if now.saturating_sub(spans.reported.0) >= SECOND {
            spans.reported = (now, [0; 2]);
        }
        let class = usize::from(role != Role::Observer);
        let room =
            limits::REPORTED_SPANS.min(REPORTED_SPANS_PER_SECOND.saturating_sub(spans.reported.1[class]));
        spans.refused += reported.len().saturating_sub(room) as u64;
        for span in reported.into_iter().take(room) {
            spans.reported.1[class] += 1;
            match RecordedSpan::of_client(span, by, role) {
                Some(span) => spans.keep(span),
                None => spans.refused += 1,
            }
        }
    }

    /// What it keeps.
    pub fn usage(&self) -> RingUsage {
        let spans = self.spans.lock();
        RingUsage {
            open: spans.open.len(),
            ended: spans.ended.spans.len() + spans.observers.spans.len(),
            bytes: spans.ended.bytes + spans.observers.bytes,
            evicted: spans.evicted,
            refused: spans.refused,
        }
    }

    /// The spans of a trace, by start.
    pub fn trace(&self, id: TraceId) -> Vec<SpanDocument> {
        let spans = self.spans.lock();
        let mut of_trace: Vec<&RecordedSpan> = spans.all().filter(|span| span.trace_id == id).collect();
        of_trace.sort_by_key(|span| span.start_ns);
        of_trace.into_iter().map(|span| span.document(self.service)).collect()
    }

    /// The newest traces that match, the newest first.
    pub fn list(&self, filter: &TraceFilter) -> TraceList {
        let spans = self.spans.lock();
        let mut traces: HashMap<TraceId, Vec<&RecordedSpan>> = HashMap::new();
        for span in spans.all() {
            traces.entry(span.trace_id).or_default().push(span);
        }
        let matching = traces.into_values().filter_map(|spans| self.summary(&spans, filter));
        let mut traces: Vec<TraceSummary> = matching.collect();
        let total = traces.len();
        shorten(&mut traces, filter.limit.unwrap_or(LISTED_TRACES));
        TraceList {
            traces,
            total,
            kept_spans: spans.ended.spans.len() + spans.observers.spans.len(),
            evicted_spans: spans.evicted,
            unreachable: Vec::new(),
        }
    }

    /// A trace in a list, if it matches.
    fn summary(&self, spans: &[&RecordedSpan], filter: &TraceFilter) -> Option<TraceSummary> {
        // What an observer reports says nothing about a trace of others.
        let others: Vec<_> = spans.iter().copied().filter(|span| !span.is_observers).collect();
        let telling = if others.is_empty() { spans } else { &others };
        let first = telling.iter().min_by_key(|span| span.start_ns)?;
        let ends = telling.iter().map(|span| {
            let offset = u64::try_from(span.start_ns.saturating_sub(first.start_ns)).unwrap_or(0);
            offset.saturating_add(span.duration.map_or(0, nanoseconds))
        });
        let duration_ns = ends.max().unwrap_or(0);
        let error = telling.iter().any(|span| span.status == SpanStatus::Error);
        let has_attribute =
            |value: &String| spans.iter().any(|span| span.attributes.iter().any(|(_, own)| own == value));
        let matches = duration_ns >= nanoseconds(filter.min_duration)
            && (error || !filter.errors)
            && filter.since_ns.is_none_or(|since| first.start_ns >= since)
            && spans.iter().any(|span| span.name.contains(&filter.name))
            && filter.attribute.as_ref().is_none_or(has_attribute);
        matches.then(|| TraceSummary {
            trace_id: first.trace_id.to_string(),
            name: first.name.clone().into_owned(),
            service: first.service(self.service).to_owned(),
            start_ns: first.start_ns,
            duration_ns,
            spans: spans.len(),
            error,
            unfinished: telling.iter().any(|span| span.duration.is_none()),
            observers_only: others.is_empty(),
        })
    }
}

/// The newest traces, the newest first; those of observers alone give way.
pub fn shorten(traces: &mut Vec<TraceSummary>, limit: usize) {
    traces.sort_by_key(|trace| (trace.observers_only, Reverse(trace.start_ns)));
    traces.truncate(limit);
    traces.sort_by_key(|trace| Reverse(trace.start_ns));
}

#[cfg(test)]
mod tests {
    use roverline_protocol::api::traces::SpanKind;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn span(trace: u128, id: u64, name: &'static str) -> RecordedSpan {
        RecordedSpan {
            trace_id: TraceId::new(trace).unwrap(),
            span_id: SpanId::new(id).unwrap(),
            parent: None,
            name: name.into(),
            kind: SpanKind::Server,
            start_ns: id as i64 * 1_000_000,
            duration: None,
            status: SpanStatus::Unset,
            message: None,
            attributes: vec![("roverline.lock".into(), "arm".to_owned())],
            reported_by: None,
            is_observers: false,
        }
    }

    fn ended(ring: &SpanRing, span: RecordedSpan, duration: Duration) {
        ring.start(span.clone(), Duration::ZERO);
        ring.end(span, duration);
    }

    #[test]
    fn the_oldest_spans_give_way() {
        let ring = SpanRing::new("primary");
        for id in 1..=ENDED_SPANS as u64 + 10 {
            ended(&ring, span(1, id, "a"), MS);
        }
        let list = ring.list(&TraceFilter::default());
        assert!(list.kept_spans <= ENDED_SPANS && list.evicted_spans >= 10, "{list:?}");
        assert_eq!(
            ring.trace(TraceId::new(1).unwrap())[0].start_ns,
            (list.evicted_spans as i64 + 1) * 1_000_000
        );
        let mut large = span(2, 1, "large");
        large.attributes = vec![("a".into(), "x".repeat(ENDED_SPANS_BYTES))];
        ended(&ring, large, MS);
        assert_eq!(ring.list(&TraceFilter::default()).kept_spans, 0, "more than the whole ring");
        assert_eq!(ring.usage().bytes, 0);
    }

    #[test]
    fn spans_that_never_end_are_bounded() {
        let ring = SpanRing::new("primary");
        for id in 1..=OPEN_SPANS as u64 * 2 {
            ring.start(span(1, id, "a"), Duration::ZERO);
        }
        assert_eq!(ring.spans.lock().open.len(), OPEN_SPANS);
        ring.end(span(1, OPEN_SPANS as u64 + 1, "a"), MS);
        assert_eq!(ring.trace(TraceId::new(1).unwrap()).len(), OPEN_SPANS + 1);
    }

    #[test]
    fn spans_of_clients_are_marked_and_bounded() {
        let ring = SpanRing::new("primary");
        let reported = |context: &str| ReportedSpan {
            context: context.to_owned(),
            parent_span_id: None,
            name: "x".repeat(10_000),
            start_ns: i64::MIN,
            duration_ns: u64::MAX,
            clock_error_ns: Some(5),
            failed: true,
        };
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        ring.report(vec![reported(good), reported("none")], "127.0.0.1", Role::Operator, Duration::ZERO);
        let spans = ring.trace("0af7651916cd43dd8448eb211c80319c".parse().unwrap());
        assert_eq!(
            (spans[0].service.as_str(), spans[0].reported_by.as_deref()),
            ("client", Some("127.0.0.1"))
        );
        assert_eq!((spans[0].name.len(), ring.usage().refused), (limits::REPORTED_SPAN_CHARS, 1));
        // Ten thousand in a second, in messages of any size.
        for _ in 0..100 {
            ring.report(vec![reported(good); 100], "127.0.0.1", Role::Operator, MS);
        }
        assert_eq!(ring.usage().ended, REPORTED_SPANS_PER_SECOND - 1);
        ring.report(vec![reported(good)], "127.0.0.1", Role::Operator, SECOND);
        assert_eq!(ring.usage().ended, REPORTED_SPANS_PER_SECOND);
        assert_eq!(ring.list(&TraceFilter::default()).traces[0].duration_ns, u64::MAX);
    }

    #[test]
    fn what_observers_cause_pushes_out_nothing_else() {
        let ring = SpanRing::new("primary");
        ended(&ring, span(1, 1, "an operator's"), MS);
        for id in 0..10_000 {
            let mut request = span(2, 2 * id + 10, "an observer's");
            request.is_observers = true;
            let mut store = span(2, 2 * id + 11, "store");
            store.parent = Some(request.span_id);
            ring.start(request.clone(), Duration::ZERO);
            ended(&ring, store, MS);
            ring.end(request, MS);
        }
        assert_eq!(ring.trace(TraceId::new(1).unwrap()).len(), 1);
        assert!(ring.usage().ended <= OBSERVERS_SPANS + 1);
        // Reports from the far future neither fill the list nor rename a trace.
        for id in 100..300 {
            let mut reported = span(id, id as u64 + 1_000_000, "an observer's");
            (reported.start_ns, reported.is_observers) = (i64::MAX, true);
            ended(&ring, reported, MS);
        }
        let mut renaming = span(1, 2, "an observer's");
        (renaming.start_ns, renaming.is_observers) = (i64::MIN, true);
        ended(&ring, renaming, MS);
        let listed = ring.list(&TraceFilter::default()).traces;
        let of_operator: Vec<_> = listed.iter().filter(|trace| !trace.observers_only).collect();
        assert_eq!((of_operator.len(), of_operator[0].name.as_str()), (1, "an operator's"));
        assert_eq!((of_operator[0].duration_ns, listed.len()), (1_000_000, LISTED_TRACES));
    }

    #[test]
    fn a_list_shows_what_is_wanted() {
        let ring = SpanRing::new("primary");
        ended(&ring, span(1, 1, "GET /a"), 60 * MS);
        ended(&ring, span(2, 2, "PUT /b"), 5 * MS);
        let mut failed = span(3, 3, "PUT /c");
        failed.status = SpanStatus::Error;
        failed.attributes.clear();
        ended(&ring, failed, MS);
        let names = |filter: TraceFilter| -> Vec<String> {
            ring.list(&filter).traces.into_iter().map(|trace| trace.name).collect()
        };
        let all = TraceFilter::default();
        assert_eq!(names(all.clone()), ["PUT /c", "PUT /b", "GET /a"]);
        assert_eq!(names(TraceFilter { min_duration: 50 * MS, ..all.clone() }), ["GET /a"]);
        assert_eq!(names(TraceFilter { name: "PUT".to_owned(), limit: Some(1), ..all.clone() }), ["PUT /c"]);
        assert_eq!(names(TraceFilter { errors: true, ..all.clone() }), ["PUT /c"]);
        assert_eq!(names(TraceFilter { since_ns: Some(2_500_000), ..all.clone() }), ["PUT /c"]);
        assert_eq!(names(TraceFilter { attribute: Some("arm".to_owned()), ..all }), ["PUT /b", "GET /a"]);
    }
}
