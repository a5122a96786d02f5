//! Shared parts of the DDS tests: a recording sink, and a source that runs into it.

#![allow(dead_code, reason = "every test uses its own part")]
#![allow(clippy::unwrap_used, reason = "in a test's helper a panic is the report too")]

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use roverline_protocol::SampleId;
use roverline_source::dds::{DdsEngine, DdsOptions, DdsSource};
use roverline_source::{
    Graph, NodeInfo, RawSample, Sink, Source, SourceControl, SourceError, SourceState, StopFlag, TopicDecl,
    TopicKey,
};
use tokio::sync::watch;

pub(crate) mod peer;
pub(crate) mod program;

/// The samples and declarations that a sink received of one topic.
#[derive(Default)]
pub(crate) struct Received {
    pub(crate) decl: Option<TopicDecl>,
    pub(crate) up: bool,
    pub(crate) samples: Vec<(SampleId, usize, Vec<u8>)>,
    /// From the publisher's timestamp (for a fragmented sample: from its arrival) to the sink,
    /// nanoseconds.
    pub(crate) delays: Vec<i64>,
}

#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) topics: Mutex<Vec<(String, Received)>>,
    pub(crate) nodes: Mutex<Vec<NodeInfo>>,
    pub(crate) graph: watch::Sender<Arc<Graph>>,
    pub(crate) ignore: Vec<&'static str>,
    /// Refuses every topic.
    pub(crate) closed: AtomicBool,
}

pub(crate) fn now_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64
}

impl Sink for Recorder {
    fn wants(&self, name: &str, _: &str) -> bool {
        !self.closed.load(Ordering::Relaxed) && !self.ignore.contains(&name)
    }

    fn topic_up(&self, decl: TopicDecl) -> Option<TopicKey> {
        let mut topics = self.topics.lock().unwrap();
        let index = topics.iter().position(|(name, _)| *name == decl.name).unwrap_or_else(|| {
            topics.push((decl.name.clone(), Received::default()));
            topics.len() - 1
        });
        topics[index].1.up = true;
        topics[index].1.decl = Some(decl);
        Some(TopicKey(index as u32))
    }

    fn topic_down(&self, key: TopicKey) {
        self.topics.lock().unwrap()[key.0 as usize].1.up = false;
    }

    fn sample(&self, key: TopicKey, sample: RawSample) {
        // A fragmented sample has no publisher timestamp; it is timed from its last fragment.
        let sent = if sample.source_time_ns == 0 { sample.receive_time_ns } else { sample.source_time_ns };
        let delay = now_ns() - sent;
        let head = sample.payload[..sample.payload.len().min(64)].to_vec();
        let received = &mut self.topics.lock().unwrap()[key.0 as usize].1;
        received.delays.push(delay);
        received.samples.push((sample.id, sample.payload.len(), head));
    }

    fn graph(&self, graph: Graph) {
        self.graph.send_replace(Arc::new(graph.clone()));
        *self.nodes.lock().unwrap() = graph.nodes;
    }

    fn state(&self, _: SourceState) {}

    fn has_listener(&self) -> bool {
        true
    }
}

impl Recorder {
    pub(crate) fn with<T>(&self, topic: &str, f: impl FnOnce(&Received) -> T) -> Option<T> {
        self.topics.lock().unwrap().iter().find(|(name, _)| name == topic).map(|(_, received)| f(received))
    }

    pub(crate) fn count(&self, topic: &str) -> usize {
        self.with(topic, |received| received.samples.len()).unwrap_or(0)
    }

    pub(crate) fn ids(&self, topic: &str) -> Vec<SampleId> {
        self.with(topic, |received| received.samples.iter().map(|s| s.0).collect()).unwrap_or_default()
    }
}

pub(crate) struct RunningSource {
    pub(crate) sink: Arc<Recorder>,
    pub(crate) stop: StopFlag,
    pub(crate) control: Arc<dyn SourceControl>,
    pub(crate) thread: JoinHandle<Result<(), SourceError>>,
}

impl RunningSource {
    pub(crate) fn start(domain: u16, sink: Recorder) -> RunningSource {
        let source = Box::new(DdsSource::new(&options(domain)).unwrap());
        let (sink, stop, control) = (Arc::new(sink), StopFlag::default(), source.control());
        let (their_sink, their_stop) = (sink.clone(), stop.clone());
        let thread = std::thread::spawn(move || source.run(their_sink, their_stop));
        RunningSource { sink, stop, control, thread }
    }

    /// Stops the source; returns how long that took.
    pub(crate) fn shutdown(self) -> Duration {
        let start = Instant::now();
        self.stop.set();
        self.thread.join().unwrap().unwrap();
        start.elapsed()
    }
}

thread_local! {
    /// The engine of the participants that this thread opens.
    static ENGINE: Cell<DdsEngine> = const { Cell::new(DdsEngine::RustDds) };
}

/// Has the participants that this thread opens from now on use this engine.
pub(crate) fn use_engine(engine: DdsEngine) {
    ENGINE.set(engine);
}

/// Runs each test with each engine of this build.
#[allow(unused_macros, reason = "every test uses its own part")]
macro_rules! each_engine {
    ($($(#[$attribute:meta])* $test:ident),* $(,)?) => {
        mod rustdds {
            $(
                #[test]
                $(#[$attribute])*
                fn $test() {
                    crate::dds_common::use_engine(roverline_source::dds::DdsEngine::RustDds);
                    crate::$test();
                }
            )*
        }

        #[cfg(feature = "cyclone")]
        mod cyclone {
            $(
                #[test]
                $(#[$attribute])*
                fn $test() {
                    crate::dds_common::use_engine(roverline_source::dds::DdsEngine::Cyclone);
                    crate::$test();
                }
            )*
        }
    };
}
#[allow(unused_imports, reason = "every test uses its own part")]
pub(crate) use each_engine;

/// Runs an asynchronous test on this thread, with two more.
pub(crate) fn block_on<T>(test: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().unwrap().block_on(test)
}

pub(crate) fn options(domain_id: u16) -> DdsOptions {
    let node_name = "gateway_under_test".to_owned();
    DdsOptions { engine: ENGINE.get(), domain_id, node_name, localhost_only: true, ..DdsOptions::default() }
}

/// A domain id that tests in other processes are unlikely to use at the same time.
pub(crate) fn domain() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let random = (std::process::id() as u16).wrapping_mul(7);
    100 + (random + NEXT.fetch_add(1, Ordering::Relaxed)) % 100
}

/// How often a condition is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Waits for a condition; panics after `limit`.
pub(crate) fn eventually(what: &str, limit: Duration, condition: impl Fn() -> bool) {
    repeat_until(what, limit, POLL_INTERVAL, || {}, condition);
}

/// Repeats an action at an interval until the condition holds; panics after `limit`.
pub(crate) fn repeat_until(
    what: &str,
    limit: Duration,
    interval: Duration,
    mut action: impl FnMut(),
    condition: impl Fn() -> bool,
) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        action();
        std::thread::sleep(interval);
    }
}

pub(crate) fn no_gap(ids: &[SampleId]) -> bool {
    ids.windows(2).all(|pair| pair[0].source == pair[1].source && pair[0].seq + 1 == pair[1].seq)
}
