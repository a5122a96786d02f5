//! Tests of the outbox: priorities, drops, expiry, accounting of bytes, and budgets.

use proptest::prelude::*;

use crate::connection::outbox::*;
use crate::limits;

fn frame(n: u8) -> Bytes {
    Bytes::from(vec![n; 4])
}

fn drain(outbox: &Outbox) -> Vec<u8> {
    let mut batch = Batch::default();
    outbox.try_take(&mut batch, usize::MAX, Duration::ZERO);
    batch.frames.iter().map(|frame| frame[0]).collect()
}

#[test]
fn urgent_first_and_newest_wins() {
    let outbox = Outbox::new();
    outbox.every(1, Priority::Sensors, frame(1), Duration::ZERO);
    outbox.latest(2, Priority::Vital, frame(2), Duration::ZERO);
    outbox.latest(2, Priority::Vital, frame(3), Duration::ZERO);
    outbox.every(3, Priority::Emergency, frame(4), Duration::ZERO);
    outbox.control(frame(5));
    assert_eq!(drain(&outbox), [5, 4, 3, 1]);
    assert_eq!(outbox.take_drops(), [DropCount { id: 2, count: 1 }]);
    assert_eq!(outbox.stats().queued_bytes, 0);
}

#[test]
fn a_full_queue_drops_the_oldest_of_the_least_urgent() {
    let outbox = Outbox::new();
    outbox.every(9, Priority::Emergency, frame(9), Duration::ZERO);
    for n in 0..limits::OUTBOX_EVERY_FRAMES {
        outbox.every(1, Priority::Sensors, frame(n as u8), Duration::ZERO);
    }
    assert_eq!(outbox.stats().dropped, 1);
    assert_eq!(drain(&outbox)[..2], [9, 1]);
}

#[tokio::test]
async fn a_take_continues_where_the_last_one_stopped() {
    let outbox = Outbox::new();
    (0..100).for_each(|n| outbox.every(1, Priority::Mission, frame(n), Duration::ZERO));
    let mut batch = Batch::default();
    for expected in [5, 5, 64, 26] {
        batch.frames.clear();
        let max_bytes = if expected == 5 { 20 } else { usize::MAX };
        assert_eq!(outbox.take(&mut batch, max_bytes).await, NextStep::Continue);
        assert_eq!(batch.frames.len(), expected);
    }
}

#[test]
fn old_streams_expire_and_old_history_stays() {
    let outbox = Outbox::new();
    outbox.every(1, Priority::Sensors, frame(1), Duration::ZERO);
    outbox.every(2, Priority::Mission, frame(2), Duration::ZERO);
    let mut batch = Batch::default();
    let later = Duration::from_millis(limits::OUTBOX_MAX_AGE_MS) + Duration::from_millis(1);
    outbox.try_take(&mut batch, usize::MAX, later);
    assert_eq!(batch.frames, [frame(2)]);
    assert_eq!(outbox.stats().dropped, 1);
}

#[test]
fn close_is_the_last_frame_and_unread_responses_disconnect() {
    let outbox = Outbox::new();
    outbox.every(1, Priority::Sensors, frame(1), Duration::ZERO);
    outbox.control(frame(2));
    outbox.close(1001, "bye");
    outbox.control(frame(3));
    let mut batch = Batch::default();
    assert_eq!(outbox.try_take(&mut batch, usize::MAX, Duration::ZERO).0, NextStep::Close);
    assert_eq!((batch.frames.len(), batch.frames[0][0], batch.frames[1][0]), (2, 2, 0x88));
    let outbox = Outbox::new();
    outbox.control(Bytes::from(vec![0; limits::OUTBOX_CONTROL_BYTES + 1]));
    assert_eq!(outbox.try_take(&mut Batch::default(), 1, Duration::ZERO).0, NextStep::Abort);
}

proptest! {
    #[test]
    fn bytes_are_accounted_for(ops in prop::collection::vec((0u8..3, 0u32..4, 0usize..6, 0usize..5000), 0..400)) {
        let outbox = Outbox::new();
        for (op, topic, level, size) in ops {
            let frame = Bytes::from(vec![0; size]);
            match op {
                0 => outbox.latest(topic, Priority::ALL[level], frame, Duration::ZERO),
                1 => outbox.every(topic + 10, Priority::ALL[level], frame, Duration::ZERO),
                _ => { outbox.try_take(&mut Batch::default(), size, Duration::ZERO); }
            }
            prop_assert!(outbox.stats().queued_bytes <= limits::OUTBOX_EVERY_BYTES + 4 * 5000);
        }
        while !drain_all(&outbox).is_empty() {}
        prop_assert_eq!(outbox.stats().queued_bytes, 0);
    }
}

fn drain_all(outbox: &Outbox) -> Vec<Bytes> {
    let mut batch = Batch::default();
    outbox.try_take(&mut batch, usize::MAX, Duration::ZERO);
    batch.frames
}

fn budgeted(bytes_per_s: u64) -> std::sync::Arc<Outbox> {
    let outbox = Outbox::new();
    let rate = roverline_protocol::budget::ByteRate::new(bytes_per_s);
    outbox.set_budget(Budget::new(1, Some(rate), None, Duration::ZERO));
    outbox
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn a_budget_sheds_oversized_samples_and_delays_the_others() {
    let outbox = budgeted(10_000);
    let giant = Bytes::from(vec![0; 2_001]);
    outbox.latest(1, Priority::Sensors, giant.clone(), ms(0));
    assert_eq!(outbox.stats().shed, 1);
    outbox.every(2, Priority::State, giant, ms(0));
    outbox.every(3, Priority::Sensors, Bytes::from(vec![3; 440]), ms(0));
    let mut batch = Batch::default();
    // The state sample is sent although it overdraws the budget; the sensor sample waits until both are
    // paid.
    let (_, wait) = outbox.try_take(&mut batch, usize::MAX, ms(0));
    assert_eq!(batch.frames.len(), 1);
    let wait = wait.unwrap();
    assert!((ms(155)..ms(158)).contains(&wait), "{wait:?}");
    batch.frames.clear();
    outbox.try_take(&mut batch, usize::MAX, wait + ms(1));
    assert_eq!(batch.frames.len(), 1);
}

#[test]
fn under_a_budget_a_stream_keeps_its_newest_and_a_single_event_waits() {
    let outbox = budgeted(1_000);
    outbox.every(9, Priority::Emergency, Bytes::from(vec![0; 400]), ms(0));
    (1..=3).for_each(|n| outbox.every(1, Priority::State, frame(n), ms(0)));
    outbox.every(2, Priority::State, frame(4), ms(0));
    let mut batch = Batch::default();
    outbox.try_take(&mut batch, usize::MAX, ms(0));
    assert_eq!(batch.frames.len(), 1);
    batch.frames.clear();
    outbox.try_take(&mut batch, usize::MAX, ms(900));
    assert_eq!(batch.frames, [frame(3), frame(4)]);
    assert_eq!((outbox.stats().shed, outbox.stats().dropped), (2, 0));
}

#[test]
fn under_a_budget_a_stream_of_state_does_not_starve_the_mission() {
    let outbox = budgeted(1_000);
    outbox.every(9, Priority::Emergency, Bytes::from(vec![0; 400]), ms(0));
    outbox.every(2, Priority::Mission, frame(7), ms(0));
    outbox.every(1, Priority::State, frame(8), ms(700));
    let mut batch = Batch::default();
    outbox.try_take(&mut batch, usize::MAX, ms(0));
    batch.frames.clear();
    outbox.try_take(&mut batch, usize::MAX, ms(750));
    assert_eq!(batch.frames, [frame(7), frame(8)], "what has waited longer goes first");
}

#[test]
fn a_client_that_responds_again_gets_the_newest_and_a_little_history() {
    let outbox = Outbox::new();
    outbox.pause(true, ms(0));
    for n in 0..100u8 {
        outbox.every(1, Priority::Sensors, frame(n), ms(u64::from(n) * 100));
        outbox.every(2, Priority::Mission, frame(n), ms(u64::from(n) * 100));
    }
    outbox.ping();
    let mut batch = Batch::default();
    outbox.try_take(&mut batch, usize::MAX, ms(9_900));
    assert_eq!(
        (batch.frames.len(), outbox.stats().sent),
        (1, 0),
        "nothing but the ping, which does not count"
    );
    outbox.pause(false, ms(9_900));
    let got = drain_at(&outbox, ms(9_900));
    // Eleven samples of each topic are at most 1 s old.
    assert_eq!(got.len(), 11 + 11 + limits::AWAY_SAMPLES_PER_TOPIC);
    assert_eq!((got[0], got[26], got[27], got[37]), (73, 99, 89, 99));
    assert_eq!(outbox.stats().queued_bytes, 0);
}

fn drain_at(outbox: &Outbox, now: Duration) -> Vec<u8> {
    let mut batch = Batch::default();
    outbox.try_take(&mut batch, usize::MAX, now);
    batch.frames.iter().map(|frame| frame[0]).collect()
}

#[test]
fn keep_newest_limits_the_queue_of_one_topic() {
    let outbox = Outbox::new();
    for n in 0u8..10 {
        outbox.every(1, Priority::State, Bytes::from(vec![n]), Duration::ZERO);
        outbox.keep_newest(1, Priority::State, 3);
        outbox.every(2, Priority::State, Bytes::from(vec![100 + n]), Duration::ZERO);
    }
    let waiting: Vec<u8> = outbox.drain_for_test().iter().map(|frame| frame[0]).collect();
    let (first, second): (Vec<u8>, Vec<u8>) = waiting.iter().partition(|n| **n < 100);
    assert_eq!((first, second.len()), (vec![7, 8, 9], 10));
    let drops = outbox.take_drops();
    assert_eq!((drops[0].id, drops[0].count, drops.len()), (1, 7, 1));
}

#[tokio::test]
async fn a_traced_frame_is_timed_until_the_socket_has_it() {
    use roverline_protocol::SampleId;
    use roverline_source::RawSample;

    use crate::trace::sample_ring::SampleRing;
    use crate::trace::sample_trace::SampleTrace;

    let ring = SampleRing::new("primary", 1).unwrap();
    let id = SampleId { seq: 1, ..SampleId::default() };
    let sample = RawSample { id, source_time_ns: 0, receive_time_ns: 0, payload: Bytes::new() };
    let at = Duration::ZERO;
    let trace = SampleTrace::new("/a".into(), &sample, (at, at), (1_000_000_000, at));
    let outbox = Outbox::new();
    for n in 0..2 {
        let delivery = trace.deliver((n, "native"), at);
        delivery.as_ref().unwrap().queued(at);
        outbox.latest(1, Priority::State, QueuedFrame { bytes: frame(1), trace: delivery }, at);
    }
    ring.keep(trace);
    let mut batch = Batch::default();
    assert_eq!(outbox.take(&mut batch, usize::MAX).await, NextStep::Continue);
    batch.written(roverline_source::clock::monotonic);
    let count = |stage: &str| {
        let stages = ring.stages(None, Duration::ZERO).remove(0).stages;
        stages.iter().find(|s| s.stage.name() == stage).map_or(0, |s| s.times.count)
    };
    // The second frame has replaced the first one.
    assert_eq!((count("encode"), count("outbox"), count("socket")), (2, 1, 1));
}
