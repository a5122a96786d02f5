//! Tests of replay after `resume`: order, latched and latest topics, gaps, and the bound of all rings together.

use std::sync::Arc;

use bytes::Bytes;
use roverline_protocol::budget::ByteRate;
use roverline_protocol::native::{Binary, Cursor, FLAG_REPLAYED};
use roverline_protocol::service_level::ServiceLevel;
use roverline_protocol::{Guid, Routing, SampleId, Scope, ScopeSet, Tier};
use roverline_schema::Registry;
use roverline_source::sim::{SimOptions, SimSource};
use roverline_source::{Qos, RawSample, Sink, Source, StopFlag, TopicDecl, TopicKey};
use roverline_test_support::wait::poll_async;

use crate::connection::budget::Budget;
use crate::connection::outbox::Outbox;
use crate::hub::encoding::test_encoding::FORMAT;
use crate::hub::ingress::{Ingress, SourceEvent};
use crate::hub::replay::*;
use crate::hub::subscribe_request::{SubscribeOptions, SubscribeOutcome};
use crate::limits;

const WRITER: Guid = Guid([7; 16]);

struct Fixture {
    hub: Arc<Hub>,
    ingress: Arc<Ingress>,
    key: TopicKey,
}

/// A hub with one topic that has received samples 1 to `count`.
fn fixture(name: &str, type_name: &str, transient_local: bool, count: u64) -> Fixture {
    let hub = Hub::new(ScopeSet::ALL, Registry::bundled());
    let ingress = Ingress::new(Arc::new(Routing::default()), ScopeSet::ALL);
    let qos = Qos { reliable: true, transient_local };
    let decl = TopicDecl {
        name: name.into(),
        type_name: type_name.into(),
        qos,
        encoding: Default::default(),
        history_depth: 1,
        schema: None,
        route: None,
    };
    let key = ingress.topic_up(decl.clone()).unwrap();
    hub.handle(&ingress, SourceEvent::TopicUp(key, decl), Duration::ZERO);
    let fixture = Fixture { hub, ingress, key };
    (1..=count).for_each(|seq| fixture.write(seq, 8));
    fixture
}

impl Fixture {
    fn write(&self, seq: u64, bytes: usize) {
        let sample = RawSample {
            id: SampleId { source: WRITER, seq },
            source_time_ns: 0,
            receive_time_ns: 0,
            payload: Bytes::from(vec![0; bytes]),
        };
        self.hub.handle(
            &self.ingress,
            SourceEvent::Sample(self.key, sample, roverline_source::clock::monotonic()),
            roverline_source::clock::monotonic(),
        );
    }

    fn resume(
        &self,
        id: SubscriberId,
        seq: u64,
        max_rate_hz: Option<f64>,
    ) -> (Arc<Outbox>, SubscribeOutcome) {
        let outbox = Outbox::new();
        self.hub.attach(id, outbox.clone(), FORMAT);
        self.hub.resume(id, vec![Cursor { source: WRITER, seq }], Duration::from_secs(1));
        let options =
            SubscribeOptions { patterns: vec!["**".into()], max_rate_hz, ..SubscribeOptions::default() };
        let granted = self.hub.subscribe_now(id, &options).unwrap();
        (outbox, granted)
    }
}

/// Sequence numbers and flags of the queued samples.
fn waiting(outbox: &Outbox) -> Vec<(u64, u8)> {
    let frames = outbox.drain_for_test();
    let header = |frame: &Bytes| match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    let parsed = frames.iter().filter_map(|frame| match Binary::parse(&frame.slice(header(frame)..)) {
        Ok(Binary::Sample(header, _)) => Some((header.id.seq, header.flags)),
        _ => None,
    });
    parsed.collect()
}

#[test]
fn missed_samples_come_before_live_ones() {
    let fixture = fixture("/odom", "nav_msgs/msg/Odometry", false, 5);
    let (outbox, granted) = fixture.resume(1, 3, None);
    fixture.write(6, 8);
    assert_eq!(granted.resumed, Some((2, vec![])));
    assert_eq!(waiting(&outbox), [(4, FLAG_REPLAYED), (5, FLAG_REPLAYED), (6, 0)]);
    let (outbox, granted) = fixture.resume(2, 6, None);
    assert_eq!((granted.resumed, waiting(&outbox)), (Some((0, vec![])), vec![]), "nothing was missed");
    assert_eq!(fixture.hub.replays(), (2, 0));
}

#[test]
fn a_subscribed_session_gets_what_expired_in_its_outbox() {
    let fixture = fixture("/odom", "nav_msgs/msg/Odometry", false, 2);
    let (outbox, _) = fixture.resume(1, 2, None);
    (3..=6).for_each(|seq| fixture.write(seq, 8));
    assert_eq!(waiting(&outbox).len(), 4);
    let again = |seq, max_rate_hz| {
        fixture.hub.resume(1, vec![Cursor { source: WRITER, seq }], Duration::ZERO);
        let patterns = vec!["**".to_owned(), "/odom".to_owned()];
        let options = SubscribeOptions { patterns, max_rate_hz, ..SubscribeOptions::default() };
        // A client with many patterns sends several messages.
        for _ in 0..2 {
            fixture.hub.subscribe_now(1, &options).unwrap();
        }
        waiting(&outbox)
    };
    assert_eq!(again(4, None), [(5, FLAG_REPLAYED), (6, FLAG_REPLAYED)], "once");
    assert_eq!(again(6, None), [], "nothing was missed");
    assert_eq!(again(4, Some(1.0)), [], "it asked for some samples only");
    assert_eq!(again(4, None).len(), 2);
    outbox.set_level(ServiceLevel::Mission);
    assert_eq!(again(4, None), [], "the level leaves samples of this topic out");
    outbox.set_level(ServiceLevel::Full);
    outbox.set_budget(Budget::new(1, Some(ByteRate::new(1_000_000)), None, Duration::ZERO));
    assert_eq!(again(4, None), [], "a budget has no room for old samples");
    outbox.set_budget(None);
    assert_eq!(again(4, None).len(), 2);
    fixture
        .hub
        .subscribe_now(1, &SubscribeOptions { patterns: vec!["/odom".to_owned()], ..Default::default() })
        .unwrap();
    assert_eq!(waiting(&outbox), [], "nothing new was asked for");
}

#[test]
fn a_repair_comes_in_parts_oldest_first() {
    let fixture = fixture("/odom", "nav_msgs/msg/Odometry", false, 1);
    let (outbox, _) = fixture.resume(1, 1, None);
    (2..=7).for_each(|seq| fixture.write(seq, 10 << 10));
    outbox.drain_for_test();
    let mut parts = Vec::new();
    for cursor in [1, 4, 7] {
        fixture.hub.resume(1, vec![Cursor { source: WRITER, seq: cursor }], Duration::ZERO);
        let options = SubscribeOptions { patterns: vec!["**".into()], ..SubscribeOptions::default() };
        assert_eq!(fixture.hub.subscribe_now(1, &options).unwrap().resumed.unwrap().1, [], "nothing is gone");
        parts.push(waiting(&outbox).into_iter().map(|(seq, _)| seq).collect::<Vec<_>>());
    }
    assert_eq!(parts, [vec![2, 3, 4], vec![5, 6, 7], vec![]]);
    // A sample that is larger than a part comes alone.
    fixture.write(8, 100 << 10);
    fixture.write(9, 8);
    outbox.drain_for_test();
    fixture.hub.resume(1, vec![Cursor { source: WRITER, seq: 7 }], Duration::ZERO);
    let options = SubscribeOptions { patterns: vec!["**".into()], ..SubscribeOptions::default() };
    fixture.hub.subscribe_now(1, &options).unwrap();
    assert_eq!(waiting(&outbox), [(8, FLAG_REPLAYED)]);
}

#[test]
fn throttled_and_latest_topics_give_the_newest_only() {
    let throttled = fixture("/odom", "nav_msgs/msg/Odometry", false, 5);
    assert_eq!(waiting(&throttled.resume(1, 3, Some(1.0)).0), [(5, FLAG_STORED)]);
    assert_eq!(waiting(&throttled.resume(2, 5, Some(1.0)).0), []);
    let latest = fixture("/camera/image", "sensor_msgs/msg/Image", false, 5);
    assert_eq!(waiting(&latest.resume(1, 3, None).0), [(5, FLAG_STORED)]);
}

#[test]
fn a_latched_value_is_sent_again_only_if_it_was_missed() {
    let fixture = fixture("/tf_static", "tf2_msgs/msg/TFMessage", true, 1);
    assert_eq!(waiting(&fixture.resume(1, 1, None).0), []);
    let outbox = Outbox::new();
    fixture.hub.attach(2, outbox.clone(), FORMAT);
    fixture.hub.resume(2, Vec::new(), Duration::ZERO);
    let options = SubscribeOptions { patterns: vec!["/tf_static".into()], ..SubscribeOptions::default() };
    fixture.hub.subscribe_now(2, &options).unwrap();
    assert_eq!(waiting(&outbox).len(), 1);
}

#[test]
fn samples_that_do_not_fit_are_reported_as_gaps() {
    let fixture = fixture("/odom", "nav_msgs/msg/Odometry", false, 0);
    let size = limits::REPLAY_CLIENT_BYTES / 4;
    (1..=6).for_each(|seq| fixture.write(seq, size));
    let (outbox, granted) = fixture.resume(1, 1, None);
    let (replayed, gaps) = granted.resumed.unwrap();
    assert_eq!((replayed, waiting(&outbox).len()), (3, 3));
    assert_eq!((gaps.len(), gaps[0].after, gaps[0].before), (1, 1, 4));
    assert_eq!(fixture.hub.replays(), (3, 2));
}

#[test]
fn all_rings_together_are_bounded_and_the_least_urgent_shrink_first() {
    let fixture = fixture("/odom", "nav_msgs/msg/Odometry", false, 5);
    let names: Vec<String> = (0..8).map(|n| format!("/lidar{n}/points")).collect();
    for name in &names {
        let decl = TopicDecl {
            name: name.clone(),
            type_name: "my_msgs/msg/Raw".into(),
            qos: Qos::default(),
            encoding: Default::default(),
            history_depth: 1,
            schema: None,
            route: None,
        };
        let key = fixture.ingress.topic_up(decl.clone()).unwrap();
        fixture.hub.handle(&fixture.ingress, SourceEvent::TopicUp(key, decl), Duration::ZERO);
        let other = Fixture { hub: fixture.hub.clone(), ingress: fixture.ingress.clone(), key };
        (1..=20).for_each(|seq| other.write(seq, limits::REPLAY_TOPIC_BYTES / 8));
    }
    let held = fixture.hub.with_topics(|topics| topics.map(|topic| topic.ring.bytes()).sum::<usize>());
    assert!(held <= limits::REPLAY_BYTES, "{held}");
    assert!(held > limits::REPLAY_BYTES / 2, "{held}");
    let gaps = fixture.resume(1, 3, None).1.resumed.unwrap().1;
    assert!(gaps.iter().all(|gap| gap.topic != fixture.key.0), "the urgent topic has all of its own");
}

/// Runs a simulated rover on its own thread, feeding this ingress.
fn sim(
    hub: &Arc<Hub>,
    ingress: &Arc<Ingress>,
    options: SimOptions,
) -> (StopFlag, std::thread::JoinHandle<()>) {
    let stop = StopFlag::default();
    let (sink, their_stop): (Arc<dyn Sink>, _) = (ingress.clone(), stop.clone());
    let thread = std::thread::spawn(move || {
        Box::new(SimSource::new(options)).run(sink, their_stop).unwrap();
    });
    let _ = hub;
    (stop, thread)
}

#[tokio::test]
async fn scopes_widen_and_narrow_at_run_time() {
    let hub = Hub::new(Tier::Emergency.scopes(), Registry::bundled());
    let ingress = Ingress::new(Arc::new(Routing::default()), Tier::Emergency.scopes());
    let (stop, thread) = sim(&hub, &ingress, SimOptions::starting_now(3));
    let draining = tokio::spawn({
        let (hub, ingress) = (hub.clone(), ingress.clone());
        async move { hub.run(&ingress).await }
    });
    let becomes = |name: &'static str, expected: bool| {
        let hub = hub.clone();
        async move {
            let is_it = |topic: &mut Topic| topic.info.name == name && topic.latest.is_some();
            let is_present =
                || hub.with_topics(|topics| topics.filter_map(|t| is_it(t).then_some(())).count() > 0);
            let found =
                poll_async(Duration::from_secs(10), async || (is_present() == expected).then_some(()));
            assert!(found.await.is_some(), "{name}: not {expected} in time");
        }
    };
    becomes("/gps/fix", true).await;
    becomes("/imu/data", false).await;
    hub.set_scopes(&ingress, Tier::Primary.scopes());
    becomes("/imu/data", true).await;
    becomes("/mission/status", true).await;
    hub.set_scopes(&ingress, ScopeSet::of(&[Scope::Emergency]));
    becomes("/imu/data", false).await;
    becomes("/gps/fix", false).await;
    hub.set_scopes(&ingress, Tier::Emergency.scopes());
    becomes("/gps/fix", true).await;
    stop.set();
    thread.join().unwrap();
    draining.abort();
}
