//! A model of one topic, two endpoints and a client that switches between them in every way: no
//! duplicates, no unreported loss, each writer in order.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use proptest::prelude::*;

use crate::resume::{Cursors, Receipt, Ring, RingLimits};
use crate::{Guid, SampleId};

const ENDPOINTS: usize = 2;
const WRITERS: [Guid; 3] = [Guid([1; 16]), Guid([2; 16]), Guid([3; 16])];

#[derive(Clone, Copy, Debug)]
enum Op {
    /// A writer publishes; every live endpoint receives it.
    Write(usize),
    /// An endpoint dies, with its ring and its session.
    Die(usize),
    Start(usize),
    /// The client resumes and subscribes, in addition to its other subscriptions.
    Subscribe(usize),
    /// The client's session ends; samples in flight are lost.
    Drop(usize),
    /// The client reads one sample.
    Receive(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..WRITERS.len()).prop_map(Op::Write),
        1 => (0..ENDPOINTS).prop_map(Op::Die),
        2 => (0..ENDPOINTS).prop_map(Op::Start),
        2 => (0..ENDPOINTS).prop_map(Op::Subscribe),
        1 => (0..ENDPOINTS).prop_map(Op::Drop),
        9 => (0..ENDPOINTS).prop_map(Op::Receive),
    ]
}

struct Endpoint {
    ring: Ring<(SampleId, Duration)>,
    /// Samples in flight to the client, if it is subscribed.
    session: Option<VecDeque<(SampleId, Duration)>>,
    /// Writers unknown to this endpoint or to the client when it subscribed: no gap could be
    /// reported, and the client detects it by the sequence numbers.
    unheard: Vec<Guid>,
}

fn endpoint() -> Endpoint {
    let limits =
        RingLimits { bytes: 10_000, samples: 6, age: Duration::from_secs(20), ..RingLimits::default() };
    Endpoint { ring: Ring::new(limits), session: None, unheard: Vec::new() }
}

#[derive(Default)]
struct World {
    now: Duration,
    written: HashMap<Guid, u64>,
    endpoints: [Option<Endpoint>; ENDPOINTS],
    cursors: Cursors,
    /// When the last sample that the client received was written.
    fresh_at: Duration,
    received: HashSet<SampleId>,
    newest: HashMap<Guid, u64>,
    /// Of a writer: everything between the two numbers.
    named: Vec<(Guid, u64, u64)>,
}

impl World {
    fn step(&mut self, op: Op) {
        match op {
            Op::Write(writer) => self.write(WRITERS[writer]),
            Op::Die(at) => self.endpoints[at] = None,
            Op::Start(at) => {
                self.endpoints[at].get_or_insert_with(endpoint);
            }
            Op::Subscribe(at) => self.subscribe(at),
            Op::Drop(at) => {
                if let Some(endpoint) = &mut self.endpoints[at] {
                    endpoint.session = None;
                }
            }
            Op::Receive(at) => self.receive(at),
        }
    }

    fn write(&mut self, source: Guid) {
        self.now += Duration::from_secs(1);
        let seq = self.written.entry(source).or_default();
        *seq += 1;
        let (id, now) = (SampleId { source, seq: *seq }, self.now);
        for endpoint in self.endpoints.iter_mut().flatten() {
            endpoint.ring.push(id, now, 100, (id, now));
            endpoint.session.iter_mut().for_each(|session| session.push_back((id, now)));
        }
    }

    fn subscribe(&mut self, at: usize) {
        let Some(endpoint) = &mut self.endpoints[at] else { return };
        let known: HashMap<Guid, u64> =
            self.cursors.snapshot().into_iter().map(|cursor| (cursor.source, cursor.seq)).collect();
        // Samples written at the very moment of the last received sample were received with it.
        let since = self.fresh_at + Duration::from_nanos(1);
        let replay = endpoint.ring.replay(|writer| known.get(writer).copied(), since, Vec::new());
        endpoint.session = Some(replay.samples.into());
        endpoint.unheard = WRITERS
            .into_iter()
            .filter(|writer| endpoint.ring.newest().all(|(w, _)| w != *writer) || !known.contains_key(writer))
            .collect();
        let held = endpoint.ring.replay(|_| None, Duration::ZERO, Vec::new()).samples;
        for (writer, after, before) in replay.gaps {
            let has = |(id, _): &(SampleId, _)| id.source == writer && after < id.seq && id.seq < before;
            assert!(!held.iter().any(has), "{writer} {after} to {before} is said to be gone, and is not");
            self.cursors.give_up(writer, after, before);
            self.named.push((writer, after, before));
        }
    }

    fn receive(&mut self, at: usize) {
        let Some(endpoint) = &mut self.endpoints[at] else { return };
        let Some((id, written_at)) = endpoint.session.as_mut().and_then(VecDeque::pop_front) else { return };
        self.fresh_at = self.fresh_at.max(written_at);
        let receipt = self.cursors.record(id, self.now);
        if !receipt.is_new() {
            return;
        }
        assert!(self.received.insert(id), "doubled: {id:?}");
        if receipt == Receipt::Late {
            return;
        }
        let previous = self.newest.insert(id.source, id.seq);
        assert!(previous.is_none_or(|previous| previous < id.seq), "out of order: {id:?}");
        if let Receipt::Skipped(skipped) = receipt
            && endpoint.unheard.contains(&id.source)
        {
            self.named.push((id.source, id.seq - skipped - 1, id.seq));
        }
        endpoint.unheard.retain(|writer| *writer != id.source);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn switching_loses_and_duplicates_nothing(ops in prop::collection::vec(op(), 1..250)) {
        let mut world = World::default();
        for op in ops {
            world.step(op);
        }
        // At the end every endpoint is live and receives every writer; the client reads everything.
        (0..ENDPOINTS).for_each(|at| world.step(Op::Start(at)));
        (0..WRITERS.len()).for_each(|writer| world.step(Op::Write(writer)));
        for at in 0..ENDPOINTS {
            world.step(Op::Subscribe(at));
            (0..500).for_each(|_| world.step(Op::Receive(at)));
        }
        let mut first: HashMap<Guid, u64> = HashMap::new();
        for id in &world.received {
            first.entry(id.source).and_modify(|seq| *seq = id.seq.min(*seq)).or_insert(id.seq);
        }
        for (source, first) in first {
            for seq in first..=world.newest[&source] {
                let named = world.named.iter().any(|&(w, a, b)| w == source && a < seq && seq < b);
                let received = world.received.contains(&SampleId { source, seq });
                prop_assert!(received || named, "{source} {seq} is lost, and nobody said so");
            }
        }
    }
}

#[test]
fn evicted_and_unknown_samples_are_reported_as_gaps() {
    let id = |seq| SampleId { source: WRITERS[0], seq };
    let at = Duration::from_secs;
    let limits = RingLimits { bytes: 1_000, samples: 3, age: at(10), ..RingLimits::default() };
    let mut ring = Ring::new(limits);
    (5..=9).for_each(|seq| ring.push(id(seq), at(seq), 10, seq));
    let replay = |ring: &Ring<u64>, seq: u64| ring.replay(|_| Some(seq), at(0), Vec::new());
    assert_eq!(replay(&ring, 8).samples, [9]);
    assert!(replay(&ring, 8).gaps.is_empty());
    assert_eq!(replay(&ring, 4).samples, [7, 8, 9]);
    assert_eq!(replay(&ring, 4).gaps, [(WRITERS[0], 4, 7)], "evicted");
    assert!(replay(&ring, 9).samples.is_empty() && replay(&ring, 12).gaps.is_empty(), "nothing is missed");
    ring.expire(at(30));
    assert_eq!(replay(&ring, 7).gaps, [(WRITERS[0], 7, 10)], "too old");
    let kept = ring.replay(|_| Some(8), at(0), vec![(id(9), 9)]);
    assert_eq!((kept.samples, kept.gaps), (vec![9], vec![]), "the newest was kept beside the ring");
    assert_eq!(ring.replay(|_| None, at(8), Vec::new()).gaps, [(WRITERS[0], 8, 10)], "an unknown writer");
    ring.push(id(12), at(31), 10, 12);
    assert_eq!(replay(&ring, 9).gaps, [(WRITERS[0], 9, 12)], "never heard");
}

#[test]
fn a_quiet_topic_keeps_its_history() {
    let id = |seq| SampleId { source: WRITERS[0], seq };
    let at = Duration::from_secs;
    let limits = RingLimits { age: at(5), old_samples: 3, old_age: at(60), ..RingLimits::default() };
    let mut ring = Ring::new(limits);
    (1..=9).for_each(|seq| ring.push(id(seq), at(seq * 10), 10, seq));
    assert_eq!(ring.replay(|_| Some(0), at(0), Vec::new()).samples, [7, 8, 9]);
    ring.expire(at(145));
    assert_eq!(ring.replay(|_| Some(0), at(0), Vec::new()).samples, [9]);
}

#[test]
fn a_restarted_writer_discards_its_previous_run() {
    let id = |seq| SampleId { source: WRITERS[0], seq };
    let mut ring = Ring::default();
    (10_000..10_010).for_each(|seq| ring.push(id(seq), Duration::ZERO, 10, seq));
    ring.push(id(10_005), Duration::ZERO, 10, 0);
    assert_eq!((ring.len(), ring.bytes()), (10, 100), "an echo is not kept");
    ring.push(id(1), Duration::ZERO, 10, 1);
    assert_eq!((ring.len(), ring.bytes()), (1, 10));
    let replay = ring.replay(|_| Some(10_009), Duration::ZERO, Vec::new());
    assert!(replay.samples.is_empty() && replay.gaps.is_empty(), "a cursor of the former life");
}
