//! Which samples of a topic are traced, and the traces of their deliveries.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use roverline_source::RawSample;
use roverline_source::clock::{monotonic, unix_ns};

use crate::connection::outbox::QueuedFrame;
use crate::hub::encoding::FrameFormat;
use crate::hub::topic::SubscriberId;
use crate::trace::sample_ring::SampleRing;
use crate::trace::sample_trace::{DeliveryTrace, SampleTrace, TRACED_SESSIONS};

/// When a topic's next sample is traced, and for which of its sessions.
#[derive(Debug, Default)]
pub(super) struct SampleTracing {
    next: Duration,
    /// The first session whose delivery is traced: with many, they take turns.
    turn: usize,
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

    /// Whether it is the turn of the session at this position among so many.
    pub(super) fn is_turn(&self, position: usize, sessions: usize) -> bool {
        let after_turn = (position + sessions).saturating_sub(self.turn.checked_rem(sessions).unwrap_or(0));
        after_turn.checked_rem(sessions).is_some_and(|after| after < TRACED_SESSIONS)
    }

    /// Keeps a trace that began at `now`, if a session gets the sample; otherwise the next sample is traced.
    pub(super) fn keep(&mut self, trace: Arc<SampleTrace>, ring: &SampleRing, now: Duration) {
        self.next = (self.next + ring.interval()).max(now);
        self.turn = self.turn.wrapping_add(TRACED_SESSIONS);
        ring.keep(trace);
    }
}

/// Begins the delivery of a traced sample to a session.
pub(super) fn begin_delivery(
    traced: Option<(&SampleTrace, SubscriberId)>,
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
