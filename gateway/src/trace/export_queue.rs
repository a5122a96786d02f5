//! The queue of ended spans that wait for export, bounded in number and bytes, and the counts of what became of them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::trace::otlp::{ExportBatch, ExportResource};
use crate::trace::recorded_span::RecordedSpan;
use crate::trace::sample_export::SampleExport;
use crate::trace::sample_trace::SampleTrace;

/// Spans that wait; with more, the oldest gives way.
const QUEUED_SPANS: usize = 2_048;
/// Their bytes.
const QUEUED_SPANS_BYTES: usize = 1 << 20;
/// Spans of observers wait only while fewer than this wait, so that they push out no others.
const QUEUED_OBSERVERS_SPANS: usize = 512;
/// Spans of one request.
pub const BATCH_SPANS: usize = 512;
/// Their bytes.
const BATCH_SPANS_BYTES: usize = 256 << 10;

/// What became of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportResult {
    /// The collector took it.
    Accepted,
    /// The collector took the request without this one (a partial success).
    Rejected,
    /// The collector answered 200 and then nothing that could be understood.
    Unconfirmed,
    /// The collector refused the request, for good.
    Refused,
    /// The last of several attempts failed.
    Expired,
    /// The queue was full.
    Dropped,
    /// An observer caused or reported it.
    Observer,
}

impl ExportResult {
    /// All of them.
    pub const ALL: [ExportResult; 7] = [
        ExportResult::Accepted,
        ExportResult::Rejected,
        ExportResult::Unconfirmed,
        ExportResult::Refused,
        ExportResult::Expired,
        ExportResult::Dropped,
        ExportResult::Observer,
    ];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            ExportResult::Accepted => "accepted",
            ExportResult::Rejected => "rejected",
            ExportResult::Unconfirmed => "unconfirmed",
            ExportResult::Refused => "refused",
            ExportResult::Expired => "expired",
            ExportResult::Dropped => "dropped",
            ExportResult::Observer => "observer",
        }
    }
}

#[derive(Debug, Default)]
struct Waiting {
    spans: VecDeque<RecordedSpan>,
    bytes: usize,
}

impl Waiting {
    fn pop(&mut self) -> Option<RecordedSpan> {
        let span = self.spans.pop_front()?;
        self.bytes = self.bytes.saturating_sub(span.bytes());
        Some(span)
    }

    /// The oldest span, if a batch with `bytes` bytes has room for it.
    fn pop_within(&mut self, bytes: usize) -> Option<RecordedSpan> {
        let fits = self.spans.front().is_some_and(|span| bytes + span.bytes() <= BATCH_SPANS_BYTES);
        if fits || bytes == 0 { self.pop() } else { None }
    }
}

/// What waits at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueUsage {
    /// Spans that wait.
    pub spans: usize,
    /// Their memory.
    pub bytes: usize,
}

/// The queue. Adding to it never waits for the exporter.
#[derive(Debug)]
pub struct ExportQueue {
    /// Whether what observers cause or report is exported.
    observers: bool,
    waiting: Mutex<Waiting>,
    samples: SampleExport,
    batch_ready: Notify,
    counts: [AtomicU64; ExportResult::ALL.len()],
    failures: AtomicU64,
}

impl ExportQueue {
    /// An empty queue; `observers`: whether what observers cause or report is exported.
    pub fn new(observers: bool) -> ExportQueue {
        let (waiting, samples, batch_ready, counts, failures) = Default::default();
        ExportQueue { observers, waiting, samples, batch_ready, counts, failures }
    }

    /// Adds an ended span.
    pub(super) fn add(&self, span: &RecordedSpan) {
        if span.is_observers && !self.observers {
            return self.count(ExportResult::Observer, 1);
        }
        let mut waiting = self.waiting.lock();
        if span.is_observers && waiting.spans.len() >= QUEUED_OBSERVERS_SPANS {
            return self.count(ExportResult::Dropped, 1);
        }
        waiting.bytes += span.bytes();
        waiting.spans.push_back(span.clone());
        while waiting.spans.len() > QUEUED_SPANS || waiting.bytes > QUEUED_SPANS_BYTES {
            if waiting.pop().is_none() {
                break;
            }
            self.count(ExportResult::Dropped, 1);
        }
        if waiting.spans.len() == BATCH_SPANS {
            self.batch_ready.notify_one();
        }
    }

    /// Adds a traced sample of the process `service`. Its spans are exported once its clients have had time to report.
    pub(super) fn add_sample(&self, sample: Arc<SampleTrace>, service: &'static str) {
        if self.samples.add(sample, service) {
            self.count(ExportResult::Dropped, 1);
        }
    }

    /// Adds the spans of samples that have waited long enough, until a batch waits.
    fn add_settled_samples(&self, now: Duration, is_last: bool) {
        while self.waiting.lock().spans.len() < BATCH_SPANS
            && let Some(spans) = self.samples.take(now, is_last)
        {
            spans.iter().for_each(|span| self.add(span));
        }
    }

    /// Returns when a whole batch waits.
    pub async fn batch_ready(&self) {
        self.batch_ready.notified().await;
    }

    /// Takes the oldest spans as one request of the process `resource`; `None` if no span waits. `now` is monotonic;
    /// with `is_last`, samples do not wait for their clients.
    pub fn next_batch(&self, resource: &ExportResource, now: Duration, is_last: bool) -> Option<ExportBatch> {
        self.add_settled_samples(now, is_last);
        let mut spans = Vec::new();
        let mut waiting = self.waiting.lock();
        let mut bytes = 0;
        while spans.len() < BATCH_SPANS
            && let Some(span) = waiting.pop_within(bytes)
        {
            bytes += span.bytes();
            spans.push(span);
        }
        drop(waiting);
        (!spans.is_empty()).then(|| resource.encode(spans))
    }

    /// Counts spans.
    pub fn count(&self, result: ExportResult, spans: u64) {
        self.counts[result as usize].fetch_add(spans, Ordering::Relaxed);
    }

    /// Spans with this result so far.
    pub fn counted(&self, result: ExportResult) -> u64 {
        self.counts[result as usize].load(Ordering::Relaxed)
    }

    /// Counts a request that failed and may be sent again.
    pub fn count_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that failed and might be sent again.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// What waits.
    pub fn usage(&self) -> QueueUsage {
        let waiting = self.waiting.lock();
        QueueUsage { spans: waiting.spans.len(), bytes: waiting.bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::otlp::tests::{resource, span};

    fn add(queue: &ExportQueue, count: usize, is_observers: bool) {
        (0..count).for_each(|_| queue.add(&RecordedSpan { is_observers, ..span() }));
    }

    #[test]
    fn what_waits_is_bounded_and_the_oldest_gives_way() {
        let queue = ExportQueue::new(false);
        queue.add(&RecordedSpan { name: "oldest".into(), ..span() });
        add(&queue, QUEUED_SPANS, false);
        assert_eq!((queue.usage().spans, queue.counted(ExportResult::Dropped)), (QUEUED_SPANS, 1));
        assert!(queue.waiting.lock().spans.iter().all(|span| span.name != "oldest"));
        let large = RecordedSpan { message: Some("x".repeat(10_000)), ..span() };
        (0..1_000).for_each(|_| queue.add(&large));
        let usage = queue.usage();
        assert!(usage.bytes <= QUEUED_SPANS_BYTES && usage.spans > 50, "{usage:?}");
        while queue.next_batch(&resource(), Duration::ZERO, false).is_some() {}
        assert_eq!(queue.usage(), QueueUsage::default());
    }

    #[test]
    fn a_batch_is_bounded_in_spans_and_bytes() {
        let queue = ExportQueue::new(false);
        add(&queue, BATCH_SPANS + 1, false);
        let sizes = || {
            std::iter::from_fn(|| Some(queue.next_batch(&resource(), Duration::ZERO, false)?.spans))
                .collect::<Vec<_>>()
        };
        assert_eq!(sizes(), [BATCH_SPANS as u64, 1]);
        // One that is larger than a batch goes alone.
        let large = RecordedSpan { message: Some("x".repeat(BATCH_SPANS_BYTES)), ..span() };
        queue.add(&span());
        queue.add(&large);
        queue.add(&span());
        assert_eq!(sizes(), [1, 1, 1]);
    }

    #[test]
    fn spans_of_observers_are_left_out_or_push_out_no_others() {
        let queue = ExportQueue::new(false);
        add(&queue, 3, true);
        assert_eq!((queue.usage().spans, queue.counted(ExportResult::Observer)), (0, 3));
        let queue = ExportQueue::new(true);
        add(&queue, 10_000, true);
        assert_eq!(queue.usage().spans, QUEUED_OBSERVERS_SPANS);
        add(&queue, QUEUED_SPANS, false);
        add(&queue, 1_000, true);
        assert!(queue.waiting.lock().spans.iter().all(|span| !span.is_observers));
    }

    #[tokio::test]
    async fn a_whole_batch_wakes_the_exporter() {
        let queue = ExportQueue::new(false);
        add(&queue, BATCH_SPANS - 1, false);
        assert!(futures_util::FutureExt::now_or_never(queue.batch_ready()).is_none());
        add(&queue, 1, false);
        queue.batch_ready().await;
    }
}
