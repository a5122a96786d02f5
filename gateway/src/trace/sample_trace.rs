//! The way of one traced sample: when it came, and when each of some sessions got it. Times within this process are
//! monotonic; they are put on the wall clock by one reading, so that a stepped clock makes none negative.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use roverline_protocol::SampleId;
use roverline_protocol::api::traces::SampleStage;
use roverline_protocol::trace::{SampleTimes, TraceId};
use roverline_source::RawSample;

use crate::trace::recorded_span::nanoseconds;

/// Sessions whose delivery of a sample is traced; with more subscribers they take turns.
pub const TRACED_SESSIONS: usize = 4;
/// A difference between two computers' clocks beyond this says nothing about a sample's way.
const CLOCKS_APART_MAX_S: u64 = 10;
/// The way to a client takes no longer: by then its session is closed. Neither does what it does with the sample.
const CLIENT_STAGE_MAX_S: u64 = 60;

/// The number and the dialect of a session.
pub type SessionKey = (u64, &'static str);

/// A stage of a sample's way, with its times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stage {
    pub(super) stage: SampleStage,
    /// Nanoseconds since the Unix epoch.
    pub(super) start_ns: i64,
    /// `None` while it lasts.
    pub(super) duration_ns: Option<u64>,
}

/// The delivery of a sample to a session, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Delivery {
    pub(super) session: SessionKey,
    pub(super) stages: Vec<Stage>,
    /// How far the client's clock may be off; `None` if it has not reported.
    pub(super) clock_error_ns: Option<u64>,
    /// Whether the client that has reported is an observer.
    pub(super) is_observers: bool,
}

/// A traced sample.
#[derive(Debug)]
pub struct SampleTrace {
    pub(super) trace_id: TraceId,
    pub(super) topic: Arc<str>,
    pub(super) id: SampleId,
    pub(super) bytes: usize,
    source_time_ns: i64,
    receive_time_ns: i64,
    queued: Duration,
    handled: Duration,
    /// The wall clock and the monotonic clock, read together.
    clock: (i64, Duration),
    deliveries: Mutex<Vec<Arc<DeliveryTrace>>>,
}

impl SampleTrace {
    /// A sample that was queued for the hub at `queued`, and that the hub took at `handled`; `clock` is the wall clock
    /// and the monotonic clock, read together.
    pub fn new(
        topic: Arc<str>,
        sample: &RawSample,
        (queued, handled): (Duration, Duration),
        clock: (i64, Duration),
    ) -> Arc<SampleTrace> {
        Arc::new(SampleTrace {
            trace_id: TraceId::of_sample(sample.id),
            topic,
            id: sample.id,
            bytes: sample.payload.len(),
            source_time_ns: sample.source_time_ns,
            receive_time_ns: sample.receive_time_ns,
            queued,
            handled,
            clock,
            deliveries: Mutex::default(),
        })
    }

    /// When it was traced; monotonic.
    pub(super) fn traced_at(&self) -> Duration {
        self.clock.1
    }

    /// Begins the delivery to a session, whose encoding begins at `now`; `None` if enough are traced.
    pub fn deliver(&self, session: SessionKey, now: Duration) -> Option<Arc<DeliveryTrace>> {
        let mut deliveries = self.deliveries.lock();
        if deliveries.len() >= TRACED_SESSIONS {
            return None;
        }
        let times = DeliveryTimes { begun: now, ..DeliveryTimes::default() };
        let delivery = Arc::new(DeliveryTrace { session, times: Mutex::new(times) });
        deliveries.push(delivery.clone());
        Some(delivery)
    }

    /// Whether a session gets it.
    pub fn is_delivered(&self) -> bool {
        !self.deliveries.lock().is_empty()
    }

    /// Keeps what the client of a session reports; returns whether this is its first report. Of a session that is not
    /// traced nothing is kept: its client cannot know that.
    pub(super) fn report(&self, session: u64, times: SampleTimes, is_observers: bool) -> bool {
        let deliveries = self.deliveries.lock();
        let Some(delivery) = deliveries.iter().find(|delivery| delivery.session.0 == session) else {
            return true;
        };
        let mut own = delivery.times.lock();
        let is_first = own.client.is_none();
        own.client.get_or_insert((times, is_observers));
        is_first
    }

    /// The wall clock at a monotonic time.
    fn wall_ns(&self, at: Duration) -> i64 {
        let (wall_ns, read) = self.clock;
        let before = i64::try_from(nanoseconds(read.saturating_sub(at))).unwrap_or(i64::MAX);
        let after = i64::try_from(nanoseconds(at.saturating_sub(read))).unwrap_or(i64::MAX);
        wall_ns.saturating_sub(before).saturating_add(after)
    }

    fn between(&self, stage: SampleStage, from: Duration, to: Option<Duration>) -> Stage {
        let duration_ns = to.map(|to| nanoseconds(to.saturating_sub(from)));
        Stage { stage, start_ns: self.wall_ns(from), duration_ns }
    }

    /// The stages before any session. Those whose clocks do not agree are left out.
    pub(super) fn stages(&self) -> Vec<Stage> {
        let mut stages = Vec::with_capacity(4);
        let plausible = |from_ns: i64, to_ns: i64| {
            let limit_ns = CLOCKS_APART_MAX_S * 1_000_000_000;
            let duration_ns = u64::try_from(to_ns.checked_sub(from_ns)?).ok()?;
            (from_ns > 0 && duration_ns <= limit_ns).then_some(duration_ns)
        };
        let mut add = |stage, from_ns, to_ns| {
            let duration_ns = plausible(from_ns, to_ns);
            stages.extend(duration_ns.map(|_| Stage { stage, start_ns: from_ns, duration_ns }));
        };
        add(SampleStage::Publish, self.source_time_ns, self.receive_time_ns);
        add(SampleStage::Source, self.receive_time_ns, self.wall_ns(self.queued));
        stages.push(self.between(SampleStage::Ingress, self.queued, Some(self.handled)));
        stages
    }

    /// The deliveries that are traced.
    pub(super) fn deliveries(&self) -> Vec<Delivery> {
        let deliveries = self.deliveries.lock().clone();
        let stages = |delivery: &Arc<DeliveryTrace>| {
            let times = *delivery.times.lock();
            Delivery {
                session: delivery.session,
                stages: self.delivery_stages(&times),
                clock_error_ns: times.client.and_then(|(client, _)| client.clock_error_ns),
                is_observers: times.client.is_some_and(|(_, is_observers)| is_observers),
            }
        };
        deliveries.iter().map(stages).collect()
    }

    fn delivery_stages(&self, times: &DeliveryTimes) -> Vec<Stage> {
        let mut stages = vec![self.between(SampleStage::Hub, self.handled, Some(times.begun))];
        stages.push(self.between(SampleStage::Encode, times.begun, times.queued));
        let Some(queued) = times.queued else { return stages };
        stages.push(self.between(SampleStage::Outbox, queued, times.taken));
        let Some(taken) = times.taken else { return stages };
        stages.push(self.between(SampleStage::Socket, taken, times.written));
        if let (Some(written), Some((client, _))) = (times.written, times.client) {
            stages.extend(client_stages(self.wall_ns(written), &client));
        }
        stages
    }
}

/// What a client reports, behind the time at which the socket had taken the sample. An arrival before that is an error
/// of the clocks: the way then took no time that can be seen.
fn client_stages(written_ns: i64, client: &SampleTimes) -> Vec<Stage> {
    let network_ns = u64::try_from(client.received_ns.saturating_sub(written_ns)).unwrap_or(0);
    let longest_ns = [Some(network_ns), client.decoded_ns, client.drawn_ns].into_iter().flatten().max();
    if longest_ns > Some(CLIENT_STAGE_MAX_S * 1_000_000_000) {
        return Vec::new();
    }
    let mut at_ns = written_ns;
    let durations = [
        (SampleStage::Network, Some(network_ns)),
        (SampleStage::Decode, client.decoded_ns),
        (SampleStage::Draw, client.drawn_ns),
    ];
    let known = durations.into_iter().filter_map(|(stage, duration_ns)| Some((stage, duration_ns?)));
    known
        .map(|(stage, duration_ns)| {
            let start_ns = at_ns;
            at_ns = at_ns.saturating_add_unsigned(duration_ns);
            Stage { stage, start_ns, duration_ns: Some(duration_ns) }
        })
        .collect()
}

#[derive(Clone, Copy, Debug, Default)]
struct DeliveryTimes {
    begun: Duration,
    queued: Option<Duration>,
    taken: Option<Duration>,
    written: Option<Duration>,
    /// What the client reports, and whether it is an observer.
    client: Option<(SampleTimes, bool)>,
}

/// The delivery of a traced sample to one session.
#[derive(Debug)]
pub struct DeliveryTrace {
    session: SessionKey,
    times: Mutex<DeliveryTimes>,
}

impl DeliveryTrace {
    /// The frame is in the outbox.
    pub fn queued(&self, now: Duration) {
        self.times.lock().queued = Some(now);
    }

    /// The writer has taken it.
    pub fn taken(&self, now: Duration) {
        self.times.lock().taken = Some(now);
    }

    /// The socket has taken it.
    pub fn written(&self, now: Duration) {
        self.times.lock().written = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const WALL_NS: i64 = 1_795_000_000_000_000_000;

    fn traced(source_time_ns: i64, receive_time_ns: i64) -> Arc<SampleTrace> {
        let sample = RawSample {
            id: SampleId::default(),
            source_time_ns,
            receive_time_ns,
            payload: Bytes::from_static(&[0; 8]),
        };
        // Queued 2 ms and handled 1 ms before the clocks were read.
        SampleTrace::new("/imu/data".into(), &sample, (98 * MS, 99 * MS), (WALL_NS, 100 * MS))
    }

    fn times(received_ns: i64) -> SampleTimes {
        SampleTimes {
            source: Default::default(),
            seq: 0,
            received_ns,
            clock_error_ns: Some(1_000),
            decoded_ns: Some(200_000),
            drawn_ns: Some(5_000_000),
        }
    }

    fn names(stages: &[Stage]) -> Vec<(&'static str, Option<u64>)> {
        stages.iter().map(|stage| (stage.stage.name(), stage.duration_ns.map(|ns| ns / 1_000))).collect()
    }

    #[test]
    fn the_stages_follow_each_other() {
        let trace = traced(WALL_NS - 5_000_000, WALL_NS - 3_000_000);
        let delivery = trace.deliver((7, "native"), 101 * MS).unwrap();
        delivery.queued(102 * MS);
        assert_eq!(
            names(&trace.stages()),
            [("publish", Some(2_000)), ("source", Some(1_000)), ("ingress", Some(1_000))]
        );
        assert_eq!(
            names(&trace.deliveries()[0].stages),
            [("hub", Some(2_000)), ("encode", Some(1_000)), ("outbox", None)]
        );
        delivery.taken(104 * MS);
        delivery.written(105 * MS);
        assert!(trace.report(8, times(0), false), "a session that is not traced");
        assert!(trace.report(7, times(WALL_NS + 15_000_000), false));
        assert!(!trace.report(7, times(0), false), "a second report");
        let Delivery { stages, clock_error_ns, .. } = trace.deliveries().remove(0);
        assert_eq!(
            names(&stages)[2..],
            [
                ("outbox", Some(2_000)),
                ("socket", Some(1_000)),
                ("network", Some(10_000)),
                ("decode", Some(200)),
                ("draw", Some(5_000))
            ]
        );
        assert_eq!(clock_error_ns, Some(1_000));
        let all = [trace.stages(), stages].concat();
        for pair in all.windows(2) {
            let end_ns = pair[0].start_ns + pair[0].duration_ns.unwrap() as i64;
            assert_eq!(end_ns, pair[1].start_ns, "{pair:?}");
        }
    }

    #[test]
    fn clocks_that_disagree_leave_stages_out() {
        let hour_ns = 3_600_000_000_000;
        for source_time_ns in [0, -1, WALL_NS + hour_ns, WALL_NS - hour_ns, i64::MAX, i64::MIN] {
            let stages = traced(source_time_ns, WALL_NS - 3_000_000).stages();
            assert_eq!(names(&stages)[0].0, "source", "{source_time_ns}");
        }
        let trace = traced(0, 0);
        assert_eq!(names(&trace.stages()), [("ingress", Some(1_000))], "an unknown receipt");
        let delivery = trace.deliver((7, "native"), 101 * MS).unwrap();
        delivery.queued(101 * MS);
        delivery.taken(101 * MS);
        delivery.written(101 * MS);
        trace.report(7, times(WALL_NS + hour_ns), false);
        assert_eq!(names(&trace.deliveries()[0].stages).len(), 4, "the client's clock is an hour off");
        let mut invented = times(WALL_NS);
        invented.drawn_ns = Some(u64::MAX);
        let delivery = trace.deliver((8, "native"), 101 * MS).unwrap();
        delivery.queued(101 * MS);
        delivery.taken(101 * MS);
        delivery.written(101 * MS);
        trace.report(8, invented, false);
        assert_eq!(names(&trace.deliveries()[1].stages).len(), 4, "nothing is drawn for 500 years");
    }

    #[test]
    fn few_sessions_are_traced() {
        let trace = traced(0, 0);
        let traced = (0..50).filter(|id| trace.deliver((*id, "native"), MS).is_some()).count();
        assert_eq!(traced, TRACED_SESSIONS);
    }

    proptest! {
        #[test]
        fn no_time_is_negative_or_panics(source: i64, receive: i64, received: i64, decoded: u64, drawn: u64) {
            let trace = traced(source, receive);
            let delivery = trace.deliver((7, "native"), Duration::ZERO).unwrap();
            delivery.queued(Duration::MAX);
            delivery.taken(Duration::ZERO);
            delivery.written(MS);
            let mut times = times(received);
            (times.decoded_ns, times.drawn_ns) = (Some(decoded), Some(drawn));
            trace.report(7, times, false);
            let stages = [trace.stages(), trace.deliveries().remove(0).stages].concat();
            prop_assert!(stages.len() >= 5);
        }
    }
}
