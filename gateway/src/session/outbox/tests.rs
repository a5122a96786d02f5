use proptest::prelude::*;

use roverline_protocol::limits;

use super::*;

fn frame(n: u8) -> Bytes {
    Bytes::from(vec![n; 4])
}

fn drain(outbox: &Outbox) -> Vec<u8> {
    let mut batch = Vec::new();
    outbox.try_take(&mut batch, usize::MAX, Duration::ZERO);
    batch.iter().map(|frame| frame[0]).collect()
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
fn a_full_queue_sheds_the_oldest_of_the_least_urgent() {
    let outbox = Outbox::new();
    outbox.every(9, Priority::Emergency, frame(9), Duration::ZERO);
    for n in 0..limits::OUTBOX_EVERY_FRAMES {
        outbox.every(1, Priority::Sensors, frame(n as u8), Duration::ZERO);
    }
    assert_eq!(outbox.stats().dropped, 1);
    assert_eq!(drain(&outbox)[..2], [9, 1]);
}

#[tokio::test]
async fn what_a_take_leaves_is_taken_next() {
    let outbox = Outbox::new();
    (0..100).for_each(|n| outbox.every(1, Priority::Mission, frame(n), Duration::ZERO));
    let mut batch = Vec::new();
    for expected in [5, 5, 64, 26] {
        batch.clear();
        let max_bytes = if expected == 5 { 20 } else { usize::MAX };
        assert_eq!(outbox.take(&mut batch, max_bytes).await, After::Continue);
        assert_eq!(batch.len(), expected);
    }
}

#[test]
fn old_streams_expire_and_old_history_stays() {
    let outbox = Outbox::new();
    outbox.every(1, Priority::Sensors, frame(1), Duration::ZERO);
    outbox.every(2, Priority::Mission, frame(2), Duration::ZERO);
    let mut batch = Vec::new();
    let later = Duration::from_millis(limits::OUTBOX_MAX_AGE_MS) + Duration::from_millis(1);
    outbox.try_take(&mut batch, usize::MAX, later);
    assert_eq!(batch, [frame(2)]);
    assert_eq!(outbox.stats().dropped, 1);
}

#[test]
fn close_is_the_last_word_and_a_hoarder_is_cut_off() {
    let outbox = Outbox::new();
    outbox.every(1, Priority::Sensors, frame(1), Duration::ZERO);
    outbox.control(frame(2));
    outbox.close(1001, "bye");
    outbox.control(frame(3));
    let mut batch = Vec::new();
    assert_eq!(outbox.try_take(&mut batch, usize::MAX, Duration::ZERO).0, After::Close);
    assert_eq!((batch.len(), batch[0][0], batch[1][0]), (2, 2, 0x88));
    let outbox = Outbox::new();
    outbox.control(Bytes::from(vec![0; limits::OUTBOX_CONTROL_BYTES + 1]));
    assert_eq!(outbox.try_take(&mut Vec::new(), 1, Duration::ZERO).0, After::Abort);
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
                _ => { outbox.try_take(&mut Vec::new(), size, Duration::ZERO); }
            }
            prop_assert!(outbox.stats().queued_bytes <= limits::OUTBOX_EVERY_BYTES + 4 * 5000);
        }
        while !drain_all(&outbox).is_empty() {}
        prop_assert_eq!(outbox.stats().queued_bytes, 0);
    }
}

fn drain_all(outbox: &Outbox) -> Vec<Bytes> {
    let mut batch = Vec::new();
    outbox.try_take(&mut batch, usize::MAX, Duration::ZERO);
    batch
}
