//! Traced samples that wait for export: until what their clients report of them has come.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::trace::recorded_span::RecordedSpan;
use crate::trace::sample_spans::documents;
use crate::trace::sample_trace::SampleTrace;

/// Samples that wait; with more, the oldest gives way.
const QUEUED_SAMPLES: usize = 1_024;
/// A sample waits this long for what its clients report.
const SETTLED: Duration = Duration::from_secs(5);

/// The samples, the oldest first, each with the process that traced it.
#[derive(Debug, Default)]
pub(super) struct SampleExport {
    waiting: Mutex<VecDeque<(Arc<SampleTrace>, &'static str)>>,
}

impl SampleExport {
    /// Adds a sample that the process `service` traces. Returns whether an older one gave way.
    pub(super) fn add(&self, sample: Arc<SampleTrace>, service: &'static str) -> bool {
        let mut waiting = self.waiting.lock();
        waiting.push_back((sample, service));
        waiting.len() > QUEUED_SAMPLES && waiting.pop_front().is_some()
    }

    /// Takes the oldest sample as its ended spans, if it has waited long enough at `now` (monotonic) or `is_last`.
    pub(super) fn take(&self, now: Duration, is_last: bool) -> Option<Vec<RecordedSpan>> {
        let mut waiting = self.waiting.lock();
        let (sample, _) = waiting.front()?;
        if !is_last && now.saturating_sub(sample.traced_at()) < SETTLED {
            return None;
        }
        let (sample, service) = waiting.pop_front()?;
        drop(waiting);
        Some(ended_spans(&sample, service))
    }
}

/// The ended spans of a sample. What an observer's client reports is an observer's, as are its other spans.
fn ended_spans(sample: &SampleTrace, service: &str) -> Vec<RecordedSpan> {
    let deliveries = sample.deliveries();
    let observers = deliveries.iter().filter(|delivery| delivery.is_observers);
    let sessions: Vec<_> = observers.map(|delivery| delivery.session.0.to_string()).collect();
    let ended = documents(sample, service).into_iter().filter(|span| span.duration_ns.is_some());
    ended
        .filter_map(|span| {
            let is_observers = span.reported_by.is_some()
                && span.attributes.get("roverline.session").is_some_and(|session| sessions.contains(session));
            RecordedSpan::of_document(span, is_observers)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use roverline_protocol::trace::SampleTimes;
    use roverline_protocol::{Guid, SampleId};
    use roverline_source::RawSample;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn sample(seq: u64) -> Arc<SampleTrace> {
        let id = SampleId { source: Guid([1; 16]), seq };
        let sample = RawSample { id, source_time_ns: 0, receive_time_ns: 0, payload: Bytes::new() };
        SampleTrace::new("/a".into(), &sample, (Duration::ZERO, MS), (1_000_000_000, MS))
    }

    fn delivered(is_observers: bool) -> Arc<SampleTrace> {
        let sample = sample(1);
        let delivery = sample.deliver((7, "native"), 2 * MS).unwrap();
        delivery.queued(3 * MS);
        delivery.taken(4 * MS);
        delivery.written(5 * MS);
        let times = SampleTimes {
            source: Guid([1; 16]),
            seq: 1,
            received_ns: 1_020_000_000,
            clock_error_ns: Some(500),
            decoded_ns: Some(1),
            drawn_ns: None,
        };
        sample.report(7, times, is_observers);
        sample
    }

    #[test]
    fn a_sample_waits_for_what_its_clients_report() {
        let export = SampleExport::default();
        export.add(delivered(false), "primary");
        assert!(export.take(SETTLED, false).is_none());
        let spans = export.take(SETTLED + MS, false).unwrap();
        let names: Vec<_> = spans.iter().map(|span| &*span.name).collect();
        assert_eq!(
            names,
            ["deliver /a", "ingress", "hub", "encode", "outbox", "socket", "network", "decode"]
        );
        let root = spans[0].span_id;
        assert!(spans[1..].iter().all(|span| span.parent == Some(root)), "{spans:?}");
        assert!(spans[6].reported_by.is_some() && !spans[6].is_observers);
        export.add(sample(2), "primary");
        let last = export.take(Duration::ZERO, true).unwrap();
        assert!(last.iter().all(|span| span.duration.is_some()), "what has not ended is not exported");
        assert!(export.take(Duration::MAX, true).is_none());
    }

    #[test]
    fn what_an_observers_client_reports_is_marked() {
        let spans = ended_spans(&delivered(true), "primary");
        let marked = spans.iter().filter(|span| span.is_observers).map(|span| &*span.name);
        assert_eq!(marked.collect::<Vec<_>>(), ["network", "decode"]);
    }

    #[test]
    fn the_oldest_gives_way() {
        let export = SampleExport::default();
        let dropped =
            (0..QUEUED_SAMPLES as u64 + 3).filter(|seq| export.add(sample(*seq), "primary")).count();
        assert_eq!((dropped, export.waiting.lock().len()), (3, QUEUED_SAMPLES));
    }
}
