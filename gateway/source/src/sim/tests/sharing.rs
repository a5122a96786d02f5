//! Tests of several processes that simulate one rover.

use std::fs;
use std::io::Write;

use tempfile::TempDir;

use crate::sim::engine::Engine;
use crate::sim::tests::*;

/// A process: its clock, sink and engine.
pub(super) struct Process {
    clock: Arc<ManualClock>,
    pub(super) sink: Arc<Recorder>,
    pub(super) source: SimSource,
    engine: Engine,
}

impl Process {
    pub(super) fn start(at_s: f64, inputs_file: Option<PathBuf>, only: &[&'static str]) -> Self {
        let clock = ManualClock::at(at_s);
        let options = SimOptions { seed: 6, epoch_unix_ns: EPOCH_NS, inputs_file, ..SimOptions::default() };
        let source = SimSource::with_clock(options, clock.clone());
        let sink = Recorder::only(only);
        let engine = source.engine(sink.clone());
        Self { clock, sink, source, engine }
    }

    pub(super) fn poll(&mut self, at_s: f64) {
        self.clock.set(at_s);
        self.engine.poll(self.clock.now_unix_ns());
    }
}

/// The path of an input log, in a directory that is removed at the end of the test.
pub(super) fn log_file() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("inputs.jsonl");
    (dir, path)
}

/// Asserts that both received the same samples, and returns how many.
fn agree(a: &Process, b: &Process) -> usize {
    let (a, b) = (a.sink.by_id(), b.sink.by_id());
    let mut common = 0;
    for (id, payload) in &a {
        if let Some(other) = b.get(id) {
            assert_eq!(payload, other, "{id:?}");
            common += 1;
        }
    }
    common
}

#[test]
fn a_late_joiner_agrees_about_every_sample() {
    let mut early = Process::start(0.0, None, &[]);
    for i in 0..=6_500 {
        early.poll(f64::from(i) / 100.0 + 0.003);
    }
    let mut late = Process::start(60.004, None, &[]);
    for i in 0..=500 {
        late.poll(60.004 + f64::from(i) / 100.0);
    }
    let late_count = late.sink.by_id().len();
    // Five seconds of 278 messages each, and the latched ones.
    assert!(late_count >= 1_390, "{late_count}");
    assert_eq!(agree(&early, &late), late_count);
    let received = late.sink.received();
    let latched = topics().iter().filter(|t| t.qos.transient_local).count();
    assert_eq!(
        received.samples.iter().filter(|(_, s)| s.source_time_ns < EPOCH_NS + 60_000_000_000).count(),
        latched
    );
}

#[test]
fn unwanted_topics_are_counted_but_not_declared_or_delivered() {
    let mut all = Process::start(0.0, None, &[]);
    let mut few = Process::start(0.0, None, &["/odom", "/emergency_stop"]);
    for i in 0..=300 {
        all.poll(f64::from(i) / 100.0);
        few.poll(f64::from(i) / 100.0);
    }
    assert_eq!(few.sink.received().topics, ["/odom", "/emergency_stop"]);
    let received = few.sink.by_id().len();
    assert!(received > 150 && agree(&all, &few) == received);
}

#[test]
fn a_stall_skips_nothing() {
    let mut process = Process::start(0.0, None, &["/odom"]);
    for i in 0..=100 {
        process.poll(f64::from(i) / 100.0);
    }
    process.poll(1.85);
    let seqs: Vec<u64> = process.sink.received().samples.iter().map(|(_, s)| s.id.seq).collect();
    assert!(seqs.len() > 90 && seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seqs:?}");
}

#[test]
fn an_emergency_stop_reaches_all_processes() {
    let (_dir, path) = log_file();
    let mut a = Process::start(0.0, Some(path.clone()), &[]);
    let mut b = Process::start(0.0, Some(path.clone()), &[]);
    for i in 0..1_200 {
        let t = f64::from(i) / 100.0;
        a.poll(t + 0.001);
        b.poll(t + 0.007);
        if i == 500 {
            b.source.control().publish(stop_message(true)).unwrap();
        }
        if i == 900 {
            a.source.control().publish(stop_message(false)).unwrap();
        }
    }
    let mut c = Process::start(11.99, Some(path), &[]);
    for i in 0..100 {
        c.poll(12.0 + f64::from(i) / 100.0);
        a.poll(12.0 + f64::from(i) / 100.0);
    }
    let stops = |p: &Process| -> Vec<(i64, bool)> {
        let samples = p.sink.received().samples;
        let stops = samples.into_iter().filter(|(topic, _)| topic == "/emergency_stop");
        stops.map(|(_, s)| ((s.source_time_ns - EPOCH_NS) / 10_000_000, s.payload[4] == 1)).collect()
    };
    // Given at 5.007 s and 9.001 s; 200 ms later, rounded up to a tick.
    for (tick, engaged) in stops(&a) {
        assert_eq!(engaged, (521..921).contains(&tick), "{tick}");
    }
    assert!(stops(&a).contains(&(521, true)) && stops(&b).contains(&(921, false)));
    let of_b = b.sink.by_id().len();
    assert!(of_b >= 12 * 278 - 10 && agree(&a, &b) == of_b, "{of_b}");
    assert_eq!(agree(&a, &c), c.sink.by_id().len());
}

#[test]
fn without_a_disk_an_emergency_stop_is_applied_by_its_own_process() {
    let (dir, _) = log_file();
    fs::write(dir.path().join("file"), "").unwrap();
    // No directory can be made where a file is.
    let mut process = Process::start(0.0, Some(dir.path().join("file/inputs.jsonl")), &["/emergency_stop"]);
    process.poll(1.0);
    process.source.control().publish(stop_message(true)).unwrap();
    (100..200).for_each(|i| process.poll(f64::from(i) / 100.0));
    let samples = process.sink.received().samples;
    assert_eq!(samples.last().map(|(_, sample)| sample.payload[4]), Some(1));
}

#[test]
fn a_late_input_replays_the_sortie() {
    let (_dir, path) = log_file();
    let mut a = Process::start(0.0, Some(path.clone()), &[]);
    let mut b = Process::start(0.0, Some(path.clone()), &[]);
    for i in 0..=800 {
        a.poll(f64::from(i) / 100.0);
        if i == 500 {
            // Stamped two seconds ago: `a` has passed its tick, `b` has not.
            let line = format!(
                "{{\"at_unix_ns\":{},\"topic\":\"/emergency_stop\",\"data\":true}}\n",
                EPOCH_NS + 3_000_000_000
            );
            fs::write(&path, line).unwrap();
        }
    }
    for i in 0..=800 {
        b.poll(f64::from(i) / 100.0);
    }
    a.poll(8.01);
    b.poll(8.01);
    let last = |p: &Process| {
        let samples = p.sink.received().samples;
        samples.iter().rfind(|(topic, _)| topic == "/odom").map(|(_, s)| (s.id, s.payload.clone())).unwrap()
    };
    assert_eq!(last(&a), last(&b));
}

#[test]
fn invalid_lines_in_the_input_log_are_ignored() {
    let (_dir, path) = log_file();
    let mut long = vec![b'x'; 200_000];
    long.push(b'\n');
    let good = format!("{{\"at_unix_ns\":{EPOCH_NS},\"topic\":\"/emergency_stop\",\"data\":true}}\n");
    let content =
        [b"\xff\xfe\n{}\n\n".as_slice(), &long, b"{\"at_unix_ns\":\n", good.as_bytes(), b"{\"at_"].concat();
    fs::write(&path, content).unwrap();
    let mut process = Process::start(1.0, Some(path.clone()), &["/emergency_stop"]);
    assert_eq!(process.sink.received().samples[0].1.payload[4], 1);
    // The rest of a torn line arrives, and is another input.
    let rest =
        format!("unix_ns\":{},\"topic\":\"/emergency_stop\",\"data\":false}}\n", EPOCH_NS + 1_000_000_000);
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(rest.as_bytes()).unwrap();
    process.poll(1.01);
    for i in 102..=300 {
        process.poll(f64::from(i) / 100.0);
    }
    assert_eq!(process.sink.received().samples.last().unwrap().1.payload[4], 0);
}

#[test]
fn inputs_in_memory_work_the_same() {
    let mut process = Process::start(0.0, None, &["/emergency_stop"]);
    process.source.control().publish(stop_message(true)).unwrap();
    for i in 0..=30 {
        process.poll(f64::from(i) / 100.0);
    }
    let received = process.sink.received().samples;
    let at: Vec<(i64, u8)> =
        received.iter().map(|(_, s)| ((s.source_time_ns - EPOCH_NS) / 10_000_000, s.payload[4])).collect();
    assert!(at.contains(&(20, 1)) && at.iter().all(|(tick, on)| (*on == 1) == (*tick >= 20)), "{at:?}");
    assert!(
        process
            .source
            .control()
            .publish(Publication { topic: "/chatter".into(), ..stop_message(true) })
            .is_err()
    );
}

#[test]
fn after_a_suspend_only_current_samples_and_changes_are_delivered() {
    let (_dir, path) = log_file();
    let mut frozen = Process::start(0.0, Some(path.clone()), &[]);
    let mut awake = Process::start(0.0, Some(path), &[]);
    for i in 0..=100 {
        frozen.poll(f64::from(i) / 100.0);
    }
    for i in 0..=3_000 {
        awake.poll(f64::from(i) / 100.0);
        if i == 1_000 {
            awake.source.control().publish(stop_message(true)).unwrap();
        }
    }
    let before = frozen.sink.received().samples.len();
    frozen.poll(30.0);
    let burst = frozen.sink.received().samples.split_off(before);
    assert!(burst.len() < 30, "{}", burst.len());
    assert!(burst.iter().any(|(topic, s)| topic == "/emergency_stop" && s.payload[4] == 1));
    assert_eq!(agree(&frozen, &awake), frozen.sink.by_id().len());
    // A short stall is caught up completely.
    let before = frozen.sink.received().samples.len();
    frozen.poll(30.85);
    let imu =
        frozen.sink.received().samples.split_off(before).iter().filter(|(t, _)| t == "/imu/data").count();
    assert_eq!(imu, 85);
}
