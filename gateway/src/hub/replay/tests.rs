use std::sync::Arc;

use bytes::Bytes;
use roverline_protocol::native::{Binary, Cursor};
use roverline_protocol::{Routing, SampleId, Scope, ScopeSet, Tier};
use roverline_schema::Registry;
use roverline_source::sim::{SimOptions, SimSource};
use roverline_source::{Qos, RawSample, Sink, Source, Stop, TopicDecl, TopicKey};

use crate::connection::outbox::Outbox;
use crate::hub::replay::*;
use crate::hub::{Form, Granted, Ingress, Item, Wish};

const WRITER: Guid = Guid([7; 16]);

struct Bench {
    hub: Arc<Hub>,
    ingress: Arc<Ingress>,
    key: TopicKey,
}

/// A hub with one topic that has had samples 1 to `count`.
fn bench(name: &str, type_name: &str, transient_local: bool, count: u64) -> Bench {
    let hub = Hub::new(ScopeSet::ALL, Registry::bundled());
    let ingress = Ingress::new(Arc::new(Routing::default()), ScopeSet::ALL);
    let qos = Qos { reliable: true, transient_local };
    let decl = TopicDecl { name: name.into(), type_name: type_name.into(), qos, schema: None, route: None };
    let key = ingress.topic_up(decl.clone()).unwrap();
    hub.handle(&ingress, Item::TopicUp(key, decl), Duration::ZERO);
    let bench = Bench { hub, ingress, key };
    (1..=count).for_each(|seq| bench.write(seq, 8));
    bench
}

impl Bench {
    fn write(&self, seq: u64, bytes: usize) {
        let sample = RawSample {
            id: SampleId { source: WRITER, seq },
            source_time_ns: 0,
            receive_time_ns: 0,
            payload: Bytes::from(vec![0; bytes]),
        };
        self.hub.handle(&self.ingress, Item::Sample(self.key, sample), roverline_source::clock::monotonic());
    }

    fn resume(&self, id: SubscriberId, seq: u64, max_rate_hz: Option<f64>) -> (Arc<Outbox>, Granted) {
        let outbox = Outbox::new();
        self.hub.attach(id, outbox.clone(), Form::Native);
        self.hub.resume(id, vec![Cursor { source: WRITER, seq }], Duration::from_secs(1));
        let wish = Wish { patterns: vec!["**".into()], max_rate_hz, ..Wish::default() };
        let granted = self.hub.subscribe(id, &wish).unwrap();
        (outbox, granted)
    }
}

/// Sequence numbers and flags of the samples that wait.
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
fn what_was_missed_comes_before_what_is_live() {
    let bench = bench("/odom", "nav_msgs/msg/Odometry", false, 5);
    let (outbox, granted) = bench.resume(1, 3, None);
    bench.write(6, 8);
    assert_eq!(granted.resumed, Some((2, vec![])));
    assert_eq!(waiting(&outbox), [(4, FLAG_REPLAYED), (5, FLAG_REPLAYED), (6, 0)]);
    let (outbox, granted) = bench.resume(2, 6, None);
    assert_eq!((granted.resumed, waiting(&outbox)), (Some((0, vec![])), vec![]), "nothing was missed");
    assert_eq!(bench.hub.replays(), (2, 0));
}

#[test]
fn throttled_and_latest_topics_give_the_newest_only() {
    let throttled = bench("/odom", "nav_msgs/msg/Odometry", false, 5);
    assert_eq!(waiting(&throttled.resume(1, 3, Some(1.0)).0), [(5, FLAG_STORED)]);
    assert_eq!(waiting(&throttled.resume(2, 5, Some(1.0)).0), []);
    let latest = bench("/camera/image", "sensor_msgs/msg/Image", false, 5);
    assert_eq!(waiting(&latest.resume(1, 3, None).0), [(5, FLAG_STORED)]);
}

#[test]
fn a_latched_value_comes_back_only_to_who_lacks_it() {
    let bench = bench("/tf_static", "tf2_msgs/msg/TFMessage", true, 1);
    assert_eq!(waiting(&bench.resume(1, 1, None).0), []);
    let outbox = Outbox::new();
    bench.hub.attach(2, outbox.clone(), Form::Native);
    bench.hub.resume(2, Vec::new(), Duration::ZERO);
    let wish = Wish { patterns: vec!["/tf_static".into()], ..Wish::default() };
    bench.hub.subscribe(2, &wish).unwrap();
    assert_eq!(waiting(&outbox).len(), 1);
}

#[test]
fn what_does_not_fit_is_named() {
    let bench = bench("/odom", "nav_msgs/msg/Odometry", false, 0);
    let size = limits::REPLAY_CLIENT_BYTES / 4;
    (1..=6).for_each(|seq| bench.write(seq, size));
    let (outbox, granted) = bench.resume(1, 1, None);
    let (replayed, gaps) = granted.resumed.unwrap();
    assert_eq!((replayed, waiting(&outbox).len()), (3, 3));
    assert_eq!((gaps.len(), gaps[0].after, gaps[0].before), (1, 1, 4));
    assert_eq!(bench.hub.replays(), (3, 2));
}

#[test]
fn all_rings_together_are_bounded_and_the_least_urgent_gives() {
    let bench = bench("/odom", "nav_msgs/msg/Odometry", false, 5);
    let names: Vec<String> = (0..8).map(|n| format!("/lidar{n}/points")).collect();
    for name in &names {
        let decl = TopicDecl {
            name: name.clone(),
            type_name: "my_msgs/msg/Raw".into(),
            qos: Qos::default(),
            schema: None,
            route: None,
        };
        let key = bench.ingress.topic_up(decl.clone()).unwrap();
        bench.hub.handle(&bench.ingress, Item::TopicUp(key, decl), Duration::ZERO);
        let other = Bench { hub: bench.hub.clone(), ingress: bench.ingress.clone(), key };
        (1..=20).for_each(|seq| other.write(seq, limits::REPLAY_TOPIC_BYTES / 8));
    }
    let held = bench.hub.with_topics(|topics| topics.map(|topic| topic.ring.bytes()).sum::<usize>());
    assert!(held <= limits::REPLAY_BYTES, "{held}");
    assert!(held > limits::REPLAY_BYTES / 2, "{held}");
    let gaps = bench.resume(1, 3, None).1.resumed.unwrap().1;
    assert!(gaps.iter().all(|gap| gap.topic != bench.key.0), "the urgent topic has all of its own");
}

/// A sim on its own thread, into an endpoint of this tier.
fn sim(hub: &Arc<Hub>, ingress: &Arc<Ingress>, options: SimOptions) -> (Stop, std::thread::JoinHandle<()>) {
    let stop = Stop::default();
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
    let heard = |name: &'static str, wanted: bool| {
        let hub = hub.clone();
        async move {
            for _ in 0..2_000 {
                let is_it = |topic: &mut Topic| topic.info.name == name && topic.latest.is_some();
                let there =
                    hub.with_topics(|topics| topics.filter_map(|t| is_it(t).then_some(())).count() > 0);
                if there == wanted {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            panic!("{name}: not {wanted} in time");
        }
    };
    heard("/gps/fix", true).await;
    heard("/imu/data", false).await;
    hub.set_scopes(&ingress, Tier::Primary.scopes());
    heard("/imu/data", true).await;
    heard("/mission/status", true).await;
    hub.set_scopes(&ingress, ScopeSet::of(&[Scope::Emergency]));
    heard("/imu/data", false).await;
    heard("/gps/fix", false).await;
    hub.set_scopes(&ingress, Tier::Emergency.scopes());
    heard("/gps/fix", true).await;
    stop.set();
    thread.join().unwrap();
    draining.abort();
}
