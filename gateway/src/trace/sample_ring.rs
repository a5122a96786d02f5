//! The newest traced samples of an endpoint: which samples are traced, what clients report of them, and what their
//! stages take.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use roverline_protocol::SampleId;
use roverline_protocol::api::traces::{
    SampleStage, SpanDocument, StageDocument, StageTimes, TopicStages, TraceSummary,
};
use roverline_protocol::limits;
use roverline_protocol::trace::{SampleTimes, TraceId};

use crate::trace::export_queue::ExportQueue;
use crate::trace::sample_spans::{self, summary};
use crate::trace::sample_trace::{Delivery, SampleTrace, Stage};

/// Traced samples that are kept; the oldest gives way.
const TRACED_SAMPLES: usize = 1_024;
/// How often the stages are worked out.
const STAGES_INTERVAL: Duration = Duration::from_secs(1);
/// Topics in the list of stages.
const LISTED_TOPICS: usize = 256;

#[derive(Debug, Default)]
struct Kept {
    /// The oldest first.
    samples: VecDeque<Arc<SampleTrace>>,
    by_id: HashMap<TraceId, Arc<SampleTrace>>,
    evicted: u64,
    /// Reports of samples that are not kept, and repeated ones.
    refused: u64,
}

/// What is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SampleUsage {
    /// Traced samples.
    pub samples: usize,
    /// Samples that gave way to newer ones.
    pub evicted: u64,
    /// Reports of samples that are not kept, and repeated ones.
    pub refused: u64,
}

/// The ring of traced samples.
#[derive(Debug)]
pub struct SampleRing {
    service: &'static str,
    interval: Duration,
    kept: Mutex<Kept>,
    /// The stages of all topics, and when they were worked out.
    stages: Mutex<Option<(Duration, Vec<TopicStages>)>>,
    /// Where samples are exported from as well.
    export: Option<Arc<ExportQueue>>,
}

impl SampleRing {
    /// An empty ring of the process `service`, for so many samples of each topic in a second; `None` for no sample.
    pub fn new(service: &'static str, samples_per_s: u32) -> Option<SampleRing> {
        let interval = Duration::from_secs(1).checked_div(samples_per_s)?;
        Some(SampleRing { service, interval, kept: Mutex::default(), stages: Mutex::default(), export: None })
    }

    /// The same, whose samples are exported as well, if there is a queue.
    pub fn exported(self, export: Option<Arc<ExportQueue>>) -> SampleRing {
        SampleRing { export, ..self }
    }

    /// The time between two traced samples of a topic.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Keeps a sample.
    pub fn keep(&self, sample: Arc<SampleTrace>) {
        let mut kept = self.kept.lock();
        let is_new = !kept.by_id.contains_key(&sample.trace_id);
        if let Some(export) = self.export.as_ref().filter(|_| is_new) {
            export.add_sample(sample.clone(), self.service);
        }
        if kept.by_id.insert(sample.trace_id, sample.clone()).is_some() {
            // The source delivered it twice.
            kept.samples.retain(|other| other.trace_id != sample.trace_id);
        }
        kept.samples.push_back(sample);
        if kept.samples.len() > TRACED_SAMPLES
            && let Some(oldest) = kept.samples.pop_front()
        {
            kept.by_id.remove(&oldest.trace_id);
            kept.evicted += 1;
        }
    }

    /// Takes what the client of a session reports of samples that it got there. What an observer reports is shown in the
    /// sample's trace, and not counted.
    pub fn report(&self, session: u64, samples: &[SampleTimes], is_observers: bool) {
        let mut kept = self.kept.lock();
        let surplus = samples.len().saturating_sub(limits::REPORTED_SAMPLES);
        kept.refused += surplus as u64;
        for times in samples.iter().take(limits::REPORTED_SAMPLES) {
            let id = SampleId { source: times.source, seq: times.seq };
            let sample = kept.by_id.get(&TraceId::of_sample(id));
            let is_taken =
                sample.is_some_and(|sample| sample.id == id && sample.report(session, *times, is_observers));
            kept.refused += u64::from(!is_taken);
        }
    }

    /// What it keeps.
    pub fn usage(&self) -> SampleUsage {
        let kept = self.kept.lock();
        SampleUsage { samples: kept.samples.len(), evicted: kept.evicted, refused: kept.refused }
    }

    /// The spans of a sample's trace.
    pub fn trace(&self, id: TraceId) -> Vec<SpanDocument> {
        let sample = self.kept.lock().by_id.get(&id).cloned();
        sample.map(|sample| sample_spans::documents(&sample, self.service)).unwrap_or_default()
    }

    /// The newest traced samples of a topic, the newest first.
    pub fn list(&self, topic: &str, limit: usize) -> Vec<TraceSummary> {
        let samples: Vec<_> = {
            let kept = self.kept.lock();
            kept.samples.iter().rev().filter(|sample| &*sample.topic == topic).take(limit).cloned().collect()
        };
        samples.iter().map(|sample| summary(sample, self.service)).collect()
    }

    /// Where the time of samples goes, by topic; only of this one if it is given. It is worked out once a second, however
    /// many ask; `now` is monotonic.
    pub fn stages(&self, topic: Option<&str>, now: Duration) -> Vec<TopicStages> {
        let mut latest = self.stages.lock();
        let is_old = latest.as_ref().is_none_or(|(at, _)| now.saturating_sub(*at) >= STAGES_INTERVAL);
        if is_old {
            *latest = Some((now, self.all_stages()));
        }
        let all = latest.iter().flat_map(|(_, stages)| stages);
        all.filter(|stages| topic.is_none_or(|topic| stages.topic == topic))
            .take(LISTED_TOPICS)
            .cloned()
            .collect()
    }

    fn all_stages(&self) -> Vec<TopicStages> {
        let samples: Vec<_> = self.kept.lock().samples.iter().cloned().collect();
        let mut topics: HashMap<Arc<str>, Durations> = HashMap::new();
        for sample in &samples {
            topics.entry(sample.topic.clone()).or_default().add(sample);
        }
        let mut stages: Vec<_> = topics
            .into_iter()
            .filter_map(|(topic, durations)| durations.document(&topic, self.service))
            .collect();
        stages.sort_by(|a, b| a.topic.cmp(&b.topic));
        stages
    }
}

/// The durations of a topic's stages.
#[derive(Default)]
struct Durations {
    samples: usize,
    stages: [Vec<u64>; SampleStage::ALL.len()],
    whole: Vec<u64>,
    clock_error_ns: Option<u64>,
    newest: Option<TraceId>,
    slowest: Option<(u64, TraceId)>,
}

impl Durations {
    fn add(&mut self, sample: &SampleTrace) {
        self.samples += 1;
        self.newest = Some(sample.trace_id);
        let before = sample.stages();
        before.iter().for_each(|stage| self.stage(stage));
        for Delivery { mut stages, clock_error_ns, is_observers, .. } in sample.deliveries() {
            if is_observers {
                stages.retain(|stage| stage.stage < SampleStage::Network);
            } else {
                self.clock_error_ns = self.clock_error_ns.max(clock_error_ns);
            }
            stages.iter().for_each(|stage| self.stage(stage));
            let (Some(first), Some(last)) = (before.first(), stages.last()) else { continue };
            let Some(duration_ns) = last.duration_ns else { continue };
            let end_ns = last.start_ns.saturating_add_unsigned(duration_ns);
            let whole_ns = u64::try_from(end_ns.saturating_sub(first.start_ns)).unwrap_or(0);
            self.whole.push(whole_ns);
            self.slowest = self.slowest.max(Some((whole_ns, sample.trace_id)));
        }
    }

    fn stage(&mut self, stage: &Stage) {
        if let (Some(durations), Some(ns)) = (self.stages.get_mut(stage.stage as usize), stage.duration_ns) {
            durations.push(ns);
        }
    }

    fn document(self, topic: &str, service: &str) -> Option<TopicStages> {
        let newest = self.newest?;
        let slowest = self.slowest.map_or(newest, |(_, id)| id);
        let stages = SampleStage::ALL.into_iter().zip(self.stages);
        Some(TopicStages {
            topic: topic.to_owned(),
            service: service.to_owned(),
            samples: self.samples,
            stages: stages
                .filter_map(|(stage, durations)| Some(StageDocument { stage, times: times(durations)? }))
                .collect(),
            end_to_end: times(self.whole),
            clock_error_ns: self.clock_error_ns,
            newest_trace_id: newest.to_string(),
            slowest_trace_id: slowest.to_string(),
        })
    }
}

fn times(mut durations: Vec<u64>) -> Option<StageTimes> {
    durations.sort_unstable();
    let at =
        |percent: usize| durations.get((durations.len().saturating_sub(1) * percent).div_ceil(100)).copied();
    Some(StageTimes { count: durations.len(), median_ns: at(50)?, p99_ns: at(99)?, max_ns: at(100)? })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use roverline_protocol::Guid;
    use roverline_source::RawSample;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn sample(topic: &str, seq: u64) -> Arc<SampleTrace> {
        let id = SampleId { source: Guid([1; 16]), seq };
        let sample = RawSample { id, source_time_ns: 0, receive_time_ns: 0, payload: Bytes::new() };
        SampleTrace::new(topic.into(), &sample, (Duration::ZERO, MS), (1_000_000_000, MS))
    }

    fn delivered(topic: &str, seq: u64, outbox: Duration) -> Arc<SampleTrace> {
        let sample = sample(topic, seq);
        let delivery = sample.deliver((7, "native"), 2 * MS).unwrap();
        delivery.queued(3 * MS);
        delivery.taken(3 * MS + outbox);
        delivery.written(4 * MS + outbox);
        sample
    }

    fn report(seq: u64) -> SampleTimes {
        SampleTimes {
            source: Guid([1; 16]),
            seq,
            received_ns: 1_000_000_000 + 20_000_000,
            clock_error_ns: Some(500),
            decoded_ns: Some(1),
            drawn_ns: None,
        }
    }

    #[test]
    fn the_oldest_samples_give_way() {
        let ring = SampleRing::new("primary", 1).unwrap();
        for seq in 0..TRACED_SAMPLES as u64 + 10 {
            ring.keep(sample("/a", seq));
        }
        ring.keep(sample("/a", 20));
        let usage = ring.usage();
        assert_eq!((usage.samples, usage.evicted), (TRACED_SAMPLES, 10));
        assert_eq!(ring.kept.lock().by_id.len(), TRACED_SAMPLES);
        assert_eq!(ring.trace(sample("/a", 9).trace_id), []);
        assert_eq!(ring.list("/a", 3).len(), 3);
    }

    #[test]
    fn no_sample_is_traced_at_rate_zero() {
        assert!(SampleRing::new("primary", 0).is_none());
        assert_eq!(SampleRing::new("primary", 100).unwrap().interval(), 10 * MS);
    }

    #[test]
    fn reports_that_fit_nothing_are_counted() {
        let ring = SampleRing::new("primary", 1).unwrap();
        ring.keep(delivered("/a", 1, MS));
        ring.report(8, &[report(1)], false);
        ring.report(7, &[report(2)], false);
        assert_eq!(ring.usage().refused, 1);
        ring.report(7, &[report(1); 10], false);
        assert_eq!(ring.usage().refused, 10, "one of ten is taken");
        let stages = ring.stages(None, MS);
        assert_eq!(stages[0].clock_error_ns, Some(500));
    }

    #[test]
    fn what_observers_report_is_shown_and_not_counted() {
        let ring = SampleRing::new("primary", 1).unwrap();
        ring.keep(delivered("/a", 1, MS));
        ring.report(7, &[report(1)], true);
        let [stages] = &ring.stages(None, MS)[..] else { panic!() };
        assert!(stages.stages.iter().all(|stage| stage.stage < SampleStage::Network), "{stages:?}");
        assert_eq!((stages.clock_error_ns, stages.end_to_end.unwrap().max_ns), (None, 5_000_000));
        let id = TraceId::of_sample(SampleId { source: Guid([1; 16]), seq: 1 });
        assert!(ring.trace(id).iter().any(|span| span.name == "network" && span.reported_by.is_some()));
    }

    #[test]
    fn stages_are_worked_out_once_a_second() {
        let ring = SampleRing::new("primary", 1).unwrap();
        ring.keep(delivered("/a", 1, MS));
        assert_eq!(ring.stages(None, MS)[0].samples, 1);
        ring.keep(delivered("/a", 2, MS));
        assert_eq!(ring.stages(Some("/a"), 900 * MS)[0].samples, 1);
        assert_eq!(ring.stages(Some("/a"), 1_001 * MS)[0].samples, 2);
    }

    #[test]
    fn stages_have_medians_and_percentiles() {
        let ring = SampleRing::new("primary", 1).unwrap();
        for seq in 1..=100 {
            ring.keep(delivered("/a", seq, seq as u32 * MS));
        }
        ring.keep(delivered("/b", 1_000, MS));
        let all = ring.stages(None, MS);
        assert_eq!(all.len(), 2);
        let [a] = &ring.stages(Some("/a"), MS)[..] else { panic!("{all:?}") };
        let outbox = a.stages.iter().find(|stage| stage.stage == SampleStage::Outbox).unwrap().times;
        assert_eq!(
            (outbox.count, outbox.median_ns, outbox.p99_ns, outbox.max_ns),
            (100, 51_000_000, 100_000_000, 100_000_000)
        );
        // Ingress 1, hub 1, encode 1, socket 1, and the outbox.
        assert_eq!(a.end_to_end.unwrap().median_ns, 55_000_000);
        assert_eq!(
            a.slowest_trace_id,
            TraceId::of_sample(SampleId { source: Guid([1; 16]), seq: 100 }).to_string()
        );
        assert_eq!(ring.stages(Some("/none"), MS), []);
    }
}
