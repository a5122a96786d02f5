//! Test fixtures: generated recordings, a collecting sink and a clock that does not wait.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mcap::WriteOptions;
use mcap::records::MessageHeader;
use roverline_test_support::wait;

use crate::bag::clock::Clock;
use crate::bag::control_log::{ControlLog, ControlLogReader};
use crate::bag::player::Player;
use crate::bag::timeline::PlaybackCommand;
use crate::bag::{BagOptions, BagSource};
use crate::{
    Graph, Playback, RawSample, Sink, Source, SourceError, SourceState, StopFlag, TopicDecl, TopicKey,
};

pub(super) const S: i64 = 1_000_000_000;
pub(super) const MS: i64 = 1_000_000;
/// Start time of generated recordings.
pub(super) const T0: i64 = 1_700_000_000 * S;

/// A directory that is removed at the end of the test.
pub(super) struct TestDir(tempfile::TempDir);

impl TestDir {
    pub(super) fn new() -> TestDir {
        TestDir(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

/// Waits until a condition holds, for at most 10 s.
pub(super) fn eventually(what: &str, condition: impl Fn() -> bool) {
    wait::eventually(what, Duration::from_secs(10), condition);
}

/// Topic, sequence number, log time and payload.
pub(super) type ReceivedSample = (String, u64, i64, Vec<u8>);

/// A sink that stores everything with the (clock's) time of arrival.
#[derive(Default)]
pub(super) struct CollectingSink {
    pub(super) topics: Mutex<Vec<TopicDecl>>,
    pub(super) samples: Mutex<Vec<(TopicKey, RawSample)>>,
    pub(super) arrivals: Mutex<Vec<i64>>,
    pub(super) states: Mutex<Vec<SourceState>>,
    pub(super) listener: AtomicBool,
    pub(super) playbacks: Mutex<Vec<Playback>>,
    pub(super) unwanted: Option<String>,
    pub(super) clock: Option<Arc<AtomicI64>>,
    /// Sets the flag after this many samples.
    pub(super) stop_after: Option<(usize, StopFlag)>,
}

impl Sink for CollectingSink {
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

impl CollectingSink {
    /// Topic, sequence number, log time and payload of everything received.
    pub(super) fn received(&self) -> Vec<ReceivedSample> {
        let topics = self.topics.lock().unwrap();
        let samples = self.samples.lock().unwrap();
        let received = samples.iter().map(|(key, s)| {
            (topics[key.0 as usize].name.clone(), s.id.seq, s.receive_time_ns, s.payload.to_vec())
        });
        received.collect()
    }

    pub(super) fn last_state(&self) -> SourceState {
        self.states.lock().unwrap().last().cloned().unwrap()
    }
}

/// A clock that advances only in `wait`, late by a constant each time.
pub(super) struct FakeClock {
    pub(super) now: Arc<AtomicI64>,
    pub(super) wall: i64,
    pub(super) late: i64,
}

impl Clock for FakeClock {
    fn now(&self) -> i64 {
        self.wall + self.now.load(Ordering::Relaxed)
    }

    fn wait(&self, time: Duration, stop: &StopFlag) -> bool {
        let before = self.now.fetch_add(time.as_nanos() as i64 + self.late, Ordering::Relaxed);
        // End a wait that would last forever.
        stop.is_set() || before > 100 * S
    }
}

pub(super) fn options(file: &Path) -> BagOptions {
    BagOptions {
        file: file.to_owned(),
        scratch: file.parent().unwrap_or(file).join("scratch"),
        rate: 1e6,
        looped: false,
        start: Duration::ZERO,
        epoch_unix_ns: None,
        epoch_monotonic_ns: None,
        wait: false,
        progress: false,
        control: None,
    }
}

/// Plays with the real clock.
pub(super) fn play(options: BagOptions) -> (Arc<CollectingSink>, Result<(), SourceError>) {
    let sink = Arc::new(CollectingSink::default());
    let result = BagSource::open(options)
        .and_then(|source| Box::new(source).run(Arc::clone(&sink) as Arc<dyn Sink>, StopFlag::default()));
    (sink, result)
}

/// Plays with a fake clock, into a sink that may stop playback.
pub(super) fn play_fake(
    options: BagOptions,
    sink: CollectingSink,
    wall: i64,
    late: i64,
) -> (Arc<CollectingSink>, Result<(), SourceError>) {
    play_controlled(options, sink, (wall, late), &[])
}

/// The same, with commands that are available from the start.
pub(super) fn play_controlled(
    options: BagOptions,
    mut sink: CollectingSink,
    (wall, late): (i64, i64),
    given: &[PlaybackCommand],
) -> (Arc<CollectingSink>, Result<(), SourceError>) {
    let control_log = Arc::new(ControlLog::new(None));
    given.iter().for_each(|command| control_log.append(|| command.clone()).unwrap());
    let reader = options.control.as_ref().map(|_| ControlLogReader::new(control_log));
    let now = Arc::new(AtomicI64::new(0));
    sink.clock = Some(Arc::clone(&now));
    let stop = sink.stop_after.as_ref().map(|(_, stop)| stop.clone()).unwrap_or_default();
    let sink = Arc::new(sink);
    let source = BagSource::open(options).unwrap();
    let clock = Box::new(FakeClock { now, wall, late });
    let player =
        Player::new(&source.options, source.recording, clock, Arc::clone(&sink) as Arc<dyn Sink>, stop);
    (Arc::clone(&sink), player.with_control_log(reader).run())
}

/// A message of a generated recording: topic number, log time, payload.
pub(super) type Plan = Vec<(usize, i64, Vec<u8>)>;

pub(super) const TOPICS: [(&str, &str, &str); 3] = [
    ("/imu", "sensor_msgs/msg/Imu", "- reliability: 2\n  durability: 2\n"),
    ("/map", "nav_msgs/msg/OccupancyGrid", "- reliability: reliable\n  durability: transient_local\n"),
    ("/odom", "nav_msgs/msg/Odometry", "- reliability: 1\n  durability: 2\n"),
];

/// `n` messages, one every 10 ms; only the 3rd and the 10th on /map.
pub(super) fn plan(n: usize) -> Plan {
    let message = |i: usize| {
        let topic = if i == 2 || i == 9 { 1 } else { 2 * (i % 2) };
        let mut payload = vec![0, 1, 0, 0];
        payload.extend((0..20 + (i * 7) % 300).map(|b| (b * i) as u8));
        (topic, T0 + i as i64 * 10 * MS, payload)
    };
    (0..n).map(message).collect()
}

/// The samples expected when a plan is played from its beginning.
pub(super) fn expected(plan: &Plan) -> Vec<ReceivedSample> {
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
    let channels = TOPICS.map(|(topic, type_name, qos)| (topic, type_name, "int32 x", qos));
    mcap_of(&channels, plan, options)
}

/// Writes MCAP with channels of these topics, types, definitions and QoS.
pub(super) fn mcap_of(channels: &[(&str, &str, &str, &str)], plan: &Plan, options: WriteOptions) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut writer = options.chunk_size(Some(2000)).create(&mut bytes).unwrap();
    let mut ids = Vec::new();
    for (topic, type_name, definition, qos) in channels.iter().copied() {
        let schema = writer.add_schema(type_name, "ros2msg", definition.as_bytes()).unwrap();
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

/// Options for a file without any summary, not even channels.
pub(super) fn bare(options: WriteOptions) -> WriteOptions {
    options.emit_summary_records(false).emit_summary_offsets(false).emit_statistics(false)
}

/// Writes a plan as rosbag2 (Humble) does.
pub(super) fn write_db3(path: &Path, plan: &Plan) {
    write_db3_of(path, &TOPICS.map(|(topic, type_name, qos)| (topic, type_name, "", qos)), plan);
}

/// The same, with these topics, types and QoS; definitions are not recorded.
pub(super) fn write_db3_of(path: &Path, topics: &[(&str, &str, &str, &str)], plan: &Plan) {
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
    for (i, (topic, type_name, _, qos)) in topics.iter().enumerate() {
        let row = rusqlite::params![i as i64 + 1, topic, type_name, "cdr", qos];
        all.execute("INSERT INTO topics VALUES(?1, ?2, ?3, ?4, ?5)", row).unwrap();
    }
    for (topic, time, payload) in plan {
        let row = rusqlite::params![*topic as i64 + 1, time, payload];
        all.execute("INSERT INTO messages(topic_id, timestamp, data) VALUES(?1, ?2, ?3)", row).unwrap();
    }
    all.commit().unwrap();
}
