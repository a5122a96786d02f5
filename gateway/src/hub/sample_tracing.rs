//! Which samples of a topic are traced, and the traces of their deliveries.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use roverline_source::RawSample;
use roverline_source::clock::{monotonic, unix_ns};

use crate::connection::outbox::QueuedFrame;
use crate::hub::encoding::FrameFormat;
use crate::trace::sample_ring::SampleRing;
use crate::trace::sample_trace::{DeliveryTrace, SampleTrace, TRACED_SESSIONS};

/// When a topic's next sample is traced, and for which of its sessions.
#[derive(Debug, Default)]
pub(super) struct SampleTracing {
    next: Duration,
    /// The first session whose delivery is traced: with many, they take turns.
    first_session: usize,
    name: Option<Arc<str>>,
}

impl SampleTracing {
    /// The next sample is traced, whenever it comes.
    pub(super) fn trace_next(&mut self) {
        self.next = Duration::ZERO;
    }

    /// Begins the trace of a sample that was queued at `queued`, if one is due at `now`.
    pub(super) fn begin(
        &mut self,
        topic: &str,
        sample: &RawSample,
        queued: Duration,
        now: Duration,
    ) -> Option<Arc<SampleTrace>> {
        if now < self.next {
            return None;
        }
        let name = self.name.get_or_insert_with(|| topic.into()).clone();
        Some(SampleTrace::new(name, sample, (queued, now), (unix_ns(), monotonic())))
    }

    /// Whether the delivery to the session at this position among so many is traced.
    pub(super) fn is_session_traced(&self, position: usize, sessions: usize) -> bool {
        let after_first =
            (position + sessions).saturating_sub(self.first_session.checked_rem(sessions).unwrap_or(0));
        after_first.checked_rem(sessions).is_some_and(|after| after < TRACED_SESSIONS)
    }

    /// Keeps a trace that began at `now`, if a session gets the sample; otherwise the next sample is traced.
    pub(super) fn keep(&mut self, trace: Arc<SampleTrace>, ring: &SampleRing, now: Duration) {
        let interval = ring.interval();
        let in_step = self.next + interval;
        self.next = if in_step > now { in_step } else { now + interval };
        self.first_session = self.first_session.wrapping_add(TRACED_SESSIONS);
        ring.keep(trace);
    }
}

/// Begins the delivery of a traced sample to the session of this number.
pub(super) fn begin_delivery(
    traced: Option<(&SampleTrace, u64)>,
    format: FrameFormat,
) -> Option<Arc<DeliveryTrace>> {
    let (trace, session) = traced?;
    trace.deliver((session, format.encoding().name()), monotonic())
}

/// A frame that is queued now.
pub(super) fn traced_frame(bytes: Bytes, trace: Option<Arc<DeliveryTrace>>) -> QueuedFrame {
    if let Some(trace) = &trace {
        trace.queued(monotonic());
    }
    QueuedFrame { bytes, trace }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::encoding::test_encoding::sample;

    #[test]
    fn samples_are_traced_in_step_and_the_first_one_at_once() {
        let ring = SampleRing::new("primary", 10).unwrap();
        let mut tracing = SampleTracing::default();
        let mut traced = Vec::new();
        for ms in (5_000..6_000).step_by(7) {
            let now = Duration::from_millis(ms);
            if let Some(trace) = tracing.begin("/a", &sample(ms, 8), now, now) {
                tracing.keep(trace, &ring, now);
                traced.push(ms);
            }
        }
        assert_eq!(traced.len(), 10, "{traced:?}");
        assert_eq!(traced[..3], [5_000, 5_105, 5_203]);
        tracing.trace_next();
        let now = Duration::from_millis(5_999);
        assert!(tracing.begin("/a", &sample(1, 8), now, now).is_some(), "asked for");
    }

    #[test]
    fn sessions_take_turns() {
        let ring = SampleRing::new("primary", 1).unwrap();
        let mut tracing = SampleTracing::default();
        let mut turns = [0; 10];
        for second in 0..5 {
            let now = Duration::from_secs(second);
            (0..10)
                .filter(|position| tracing.is_session_traced(*position, 10))
                .for_each(|position| turns[position] += 1);
            let trace = tracing.begin("/a", &sample(second, 8), now, now).unwrap();
            tracing.keep(trace, &ring, now);
        }
        assert_eq!(turns, [2; 10]);
        assert!(!tracing.is_session_traced(0, 0));
        assert!((0..3).all(|position| tracing.is_session_traced(position, 3)), "few are all traced");
    }
}
