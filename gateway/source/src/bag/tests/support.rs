//! Files to play, a sink that collects, a clock that does not wait.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mcap::WriteOptions;
use mcap::records::MessageHeader;

use crate::bag::clock::Clock;
use crate::bag::control_log::{OrderReader, Orders};
use crate::bag::player::Player;
use crate::bag::timeline::Order;
use crate::bag::{BagOptions, BagSource};
use crate::{Graph, Playback, RawSample, Sink, Source, SourceError, SourceState, Stop, TopicDecl, TopicKey};

pub(super) const S: i64 = 1_000_000_000;
pub(super) const MS: i64 = 1_000_000;
/// When generated recordings begin.
pub(super) const T0: i64 = 1_700_000_000 * S;

/// A directory that goes away with the test.
pub(super) struct TempDir(pub(super) PathBuf);

impl TempDir {
    pub(super) fn new() -> TempDir {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("roverline-bag-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        TempDir(path)
    }

    pub(super) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Topic, sequence number, log time and payload.
pub(super) type Seen = (String, u64, i64, Vec<u8>);

/// A sink that keeps everything, with the (clock's) time it came.
#[derive(Default)]
pub(super) struct Collect {
    pub(super) topics: Mutex<Vec<TopicDecl>>,
    pub(super) samples: Mutex<Vec<(TopicKey, RawSample)>>,
    pub(super) arrivals: Mutex<Vec<i64>>,
    pub(super) states: Mutex<Vec<SourceState>>,
    pub(super) listener: AtomicBool,
    pub(super) playbacks: Mutex<Vec<Playback>>,
    pub(super) unwanted: Option<String>,
    pub(super) clock: Option<Arc<AtomicI64>>,
    /// Sets this after so many samples.
    pub(super) stop_after: Option<(usize, Stop)>,
}

impl Sink for Collect {
    fn wants(&self, name: &str, _: &str) -> bool {
        self.unwanted.as_deref() != Some(name)
    }

    fn topic_up(&self, decl: TopicDecl) -> Option<TopicKey> {
        let mut topics = self.topics.lock().unwrap();
        let at = topics.iter().position(|t| t.name == decl.name && t.type_name == decl.type_name);
        let at = at.unwrap_or(topics.len());
        match topics.get_mut(at) {
            Some(known) => *known = decl,
            None => topics.push(decl),
        }
        Some(TopicKey(at as u32))
    }

    fn topic_down(&self, _: TopicKey) {}

    fn sample(&self, key: TopicKey, sample: RawSample) {
        let mut samples = self.samples.lock().unwrap();
        samples.push((key, sample));
        if let Some(clock) = &self.clock {
            self.arrivals.lock().unwrap().push(clock.load(Ordering::Relaxed));
        }
        if let Some((n, stop)) = &self.stop_after
            && samples.len() >= *n
        {
            stop.set();
        }
    }

    fn graph(&self, _: Graph) {}

    fn state(&self, state: SourceState) {
        self.states.lock().unwrap().push(state);
    }

    fn playback(&self, playback: Playback) {
        self.playbacks.lock().unwrap().push(playback);
    }

    fn has_listener(&self) -> bool {
        self.listener.load(Ordering::Relaxed)
    }
}

impl Collect {
    /// Topic, sequence number, log time and payload of everything that came.
    pub(super) fn seen(&self) -> Vec<Seen> {
        let topics = self.topics.lock().unwrap();
        let samples = self.samples.lock().unwrap();
        let seen = samples.iter().map(|(key, s)| {
            (topics[key.0 as usize].name.clone(), s.id.seq, s.receive_time_ns, s.payload.to_vec())
        });
        seen.collect()
    }

    pub(super) fn last_state(&self) -> SourceState {
        self.states.lock().unwrap().last().cloned().unwrap()
    }
}

/// Time that passes only while somebody waits, late by a little each time.
pub(super) struct FakeClock {
    pub(super) now: Arc<AtomicI64>,
    pub(super) wall: i64,
    pub(super) late: i64,
}

impl Clock for FakeClock {
    fn now(&self) -> i64 {
        self.wall + self.now.load(Ordering::Relaxed)
    }

    fn wait(&self, time: Duration, stop: &Stop) -> bool {
        let before = self.now.fetch_add(time.as_nanos() as i64 + self.late, Ordering::Relaxed);
        // What waits for ever ends.
        stop.is_set() || before > 100 * S
    }
}

pub(super) fn options(file: &Path) -> BagOptions {
    BagOptions {
        file: file.to_owned(),
        rate: 1e6,
        looped: false,
        start: Duration::ZERO,
        epoch_unix_ns: None,
        epoch_monotonic_ns: None,
        wait: false,
        progress: false,
        steering: None,
    }
}

/// Plays with the real clock.
pub(super) fn play(options: BagOptions) -> (Arc<Collect>, Result<(), SourceError>) {
    let sink = Arc::new(Collect::default());
    let result = BagSource::open(options)
        .and_then(|source| Box::new(source).run(Arc::clone(&sink) as Arc<dyn Sink>, Stop::default()));
    (sink, result)
}

/// Plays with a clock that does not wait, into a sink that may stop it.
pub(super) fn play_fake(
    options: BagOptions,
    sink: Collect,
    wall: i64,
    late: i64,
) -> (Arc<Collect>, Result<(), SourceError>) {
    play_steered(options, sink, (wall, late), &[])
}

/// The same, with orders that it reads at once.
pub(super) fn play_steered(
    options: BagOptions,
    mut sink: Collect,
    (wall, late): (i64, i64),
    given: &[Order],
) -> (Arc<Collect>, Result<(), SourceError>) {
    let orders = Orders::new(None);
    given.iter().for_each(|order| orders.put(|| order.clone()).unwrap());
    let reader = options.steering.as_ref().map(|_| OrderReader::new(orders));
    let now = Arc::new(AtomicI64::new(0));
    sink.clock = Some(Arc::clone(&now));
    let stop = sink.stop_after.as_ref().map(|(_, stop)| stop.clone()).unwrap_or_default();
    let sink = Arc::new(sink);
    let source = BagSource::open(options).unwrap();
    let clock = Box::new(FakeClock { now, wall, late });
    let player =
        Player::new(&source.options, source.recording, clock, Arc::clone(&sink) as Arc<dyn Sink>, stop);
    (Arc::clone(&sink), player.steered(reader).run())
}

/// A message of a generated recording: topic number, log time, payload.
pub(super) type Plan = Vec<(usize, i64, Vec<u8>)>;

pub(super) const TOPICS: [(&str, &str, &str); 3] = [
    ("/imu", "sensor_msgs/msg/Imu", "- reliability: 2\n  durability: 2\n"),
    ("/map", "nav_msgs/msg/OccupancyGrid", "- reliability: reliable\n  durability: transient_local\n"),
    ("/odom", "nav_msgs/msg/Odometry", "- reliability: 1\n  durability: 2\n"),
];

/// `n` messages, one every 10 ms; of /map only the 3rd and the 10th.
pub(super) fn plan(n: usize) -> Plan {
    let message = |i: usize| {
        let topic = if i == 2 || i == 9 { 1 } else { 2 * (i % 2) };
        let mut payload = vec![0, 1, 0, 0];
        payload.extend((0..20 + (i * 7) % 300).map(|b| (b * i) as u8));
        (topic, T0 + i as i64 * 10 * MS, payload)
    };
    (0..n).map(message).collect()
}

/// What playing a plan from the beginning should give.
pub(super) fn expected(plan: &Plan) -> Vec<Seen> {
    let mut counts = BTreeMap::new();
    let mut plan = plan.clone();
    plan.sort_by_key(|(_, time, _)| *time);
    let message = |(topic, time, payload)| {
        let seq = counts.entry(topic).and_modify(|n| *n += 1).or_insert(1);
        let (name, _, _): (&str, _, _) = TOPICS[topic];
        (name.to_owned(), *seq, time, payload)
    };
    plan.into_iter().map(message).collect()
}

/// Writes a plan as MCAP.
pub(super) fn mcap_bytes(plan: &Plan, options: WriteOptions) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut writer = options.chunk_size(Some(2000)).create(&mut bytes).unwrap();
    let mut ids = Vec::new();
    for (topic, type_name, qos) in TOPICS {
        let schema = writer.add_schema(type_name, "ros2msg", b"int32 x").unwrap();
        let metadata = BTreeMap::from([("offered_qos_profiles".to_owned(), qos.to_owned())]);
        ids.push(writer.add_channel(schema, topic, "cdr", &metadata).unwrap());
    }
    for (topic, time, payload) in plan {
        let header = MessageHeader {
            channel_id: ids[*topic],
            sequence: 0,
            log_time: *time as u64,
            publish_time: (*time - MS) as u64,
        };
        writer.write_to_known_channel(&header, &Cow::Borrowed(payload)).unwrap();
    }
    writer.finish().unwrap();
    drop(writer);
    bytes.into_inner()
}

/// No summary whatever, not even channels.
pub(super) fn bare(options: WriteOptions) -> WriteOptions {
    options.emit_summary_records(false).emit_summary_offsets(false).emit_statistics(false)
}

/// Writes a plan as rosbag2 (Humble) does.
pub(super) fn write_db3(path: &Path, plan: &Plan) {
    let mut db = rusqlite::Connection::open(path).unwrap();
    db.execute_batch(
        "CREATE TABLE schema(schema_version INTEGER PRIMARY KEY, ros_distro TEXT NOT NULL);
         CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL,
             serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL);
         CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL,
             timestamp INTEGER NOT NULL, data BLOB NOT NULL);
         CREATE INDEX timestamp_idx ON messages (timestamp ASC);",
    )
    .unwrap();
    let all = db.transaction().unwrap();
    for (i, (topic, type_name, qos)) in TOPICS.iter().enumerate() {
        let row = rusqlite::params![i as i64 + 1, topic, type_name, "cdr", qos];
        all.execute("INSERT INTO topics VALUES(?1, ?2, ?3, ?4, ?5)", row).unwrap();
    }
    for (topic, time, payload) in plan {
        let row = rusqlite::params![*topic as i64 + 1, time, payload];
        all.execute("INSERT INTO messages(topic_id, timestamp, data) VALUES(?1, ?2, ?3)", row).unwrap();
    }
    all.commit().unwrap();
}
