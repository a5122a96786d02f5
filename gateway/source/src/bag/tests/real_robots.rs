//! Compares recordings of real robots with an independent reader. The recordings are not part of the
//! project; without them the tests print a note and pass, unless they are required.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roverline_test_support::recordings::recording;
use roverline_test_support::skip::skip;

use crate::bag::tests::support::*;
use crate::bag::{BagOptions, BagSource};
use crate::{Sink, Source, StopFlag};

fn shared(name: &str) -> Option<PathBuf> {
    recording(name).inspect_err(skip).ok()
}

fn mcap_file() -> Option<PathBuf> {
    shared("crab_gait/adya_gait.bag_0.mcap")
}

/// Topic, log time, payload.
fn plain(sink: &CollectingSink) -> Vec<(String, i64, Vec<u8>)> {
    sink.received().into_iter().map(|(topic, _, time, payload)| (topic, time, payload)).collect()
}

#[test]
fn a_hexapod() {
    let Some(path) = mcap_file() else { return };
    let bytes = std::fs::read(&path).unwrap();
    let mut expected_samples: Vec<_> = mcap::MessageStream::new(&bytes)
        .unwrap()
        .map(|message| {
            let message = message.unwrap();
            (message.channel.topic.clone(), message.log_time as i64, message.data.to_vec())
        })
        .collect();
    expected_samples.sort_by_key(|(_, time, _)| *time);
    assert_eq!(expected_samples.len(), 5637);
    for file in [path.as_path(), path.parent().unwrap()] {
        let (sink, result) = play(options(file));
        assert!(result.is_ok(), "{result:?}");
        assert!(plain(&sink) == expected_samples);
        let topics = sink.topics.lock().unwrap();
        assert!(topics.iter().all(|topic| topic.qos.reliable && !topic.qos.transient_local));
        assert!(topics.iter().all(|topic| topic.schema.is_some()));
    }
}

#[test]
fn a_self_driving_car() {
    let Some(directory) = shared("selfdriving_test") else { return };
    let file = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
    let file = file.into_iter().find(|path| path.extension().is_some_and(|e| e == "db3")).unwrap();
    let uri = format!("file:{}?immutable=1", file.display());
    let db = rusqlite::Connection::open(uri).unwrap();
    let mut statement = db
        .prepare("SELECT t.name, m.timestamp, m.data FROM messages m JOIN topics t ON t.id = m.topic_id ORDER BY 2, m.id")
        .unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    let expected_samples: Vec<(String, i64, Vec<u8>)> = rows.map(|row| row.unwrap()).collect();
    assert_eq!(expected_samples.len(), 2724);
    for file in [&file, &directory] {
        let (sink, result) = play(options(file));
        assert!(result.is_ok(), "{result:?}");
        assert!(plain(&sink) == expected_samples);
    }
}

/// Records the arrival time of each sample.
#[derive(Default)]
struct Stamps(CollectingSink, std::sync::Mutex<Vec<(i64, Instant)>>);

impl Sink for Stamps {
    fn wants(&self, name: &str, type_name: &str) -> bool {
        self.0.wants(name, type_name)
    }
    fn topic_up(&self, decl: crate::TopicDecl) -> Option<crate::TopicKey> {
        self.0.topic_up(decl)
    }
    fn topic_down(&self, _: crate::TopicKey) {}
    fn sample(&self, _: crate::TopicKey, sample: crate::RawSample) {
        self.1.lock().unwrap().push((sample.receive_time_ns, Instant::now()));
    }
    fn graph(&self, _: crate::Graph) {}
    fn state(&self, _: crate::SourceState) {}
    fn has_listener(&self) -> bool {
        true
    }
}

/// Takes 13 s and needs a quiet machine; run by hand with `--ignored --nocapture`.
#[test]
#[ignore = "plays 13 s in real time"]
fn real_pace() {
    let Some(path) = mcap_file() else { return };
    let sink = Arc::new(Stamps::default());
    let source = BagSource::open(BagOptions { rate: 1.0, ..options(&path) }).unwrap();
    Box::new(source).run(Arc::clone(&sink) as Arc<dyn Sink>, StopFlag::default()).unwrap();
    let stamps = sink.1.lock().unwrap();
    let (first, last) = (stamps[0], stamps[stamps.len() - 1]);
    let (recorded, real) = (Duration::from_nanos((last.0 - first.0) as u64), last.1 - first.1);
    let error = 100.0 * (real.as_secs_f64() / recorded.as_secs_f64() - 1.0);
    let mut late: Vec<f64> = stamps
        .iter()
        .map(|(time, at)| (at.duration_since(first.1).as_secs_f64() - (time - first.0) as f64 / 1e9) * 1e3)
        .collect();
    late.sort_by(f64::total_cmp);
    let at = |share: f64| late[((late.len() - 1) as f64 * share) as usize];
    println!(
        "{} messages in {real:.3?} for {recorded:.3?} recorded: {error:+.4} %; late by p50 {:.3} p99 {:.3} max {:.3} ms",
        stamps.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    assert!(error.abs() < 1.0);
}
