//! What the DDS tests share: a sink that remembers, and a source that runs into it.

#![allow(dead_code, reason = "every test uses its own part")]
#![allow(clippy::unwrap_used, reason = "in a test's helper a panic is the report too")]

use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use roverline_protocol::SampleId;
use roverline_source::dds::{DdsOptions, DdsSource};
use roverline_source::{
    Graph, NodeInfo, Publisher, RawSample, Sink, Source, SourceError, SourceState, Stop, TopicDecl, TopicKey,
};
use tokio::sync::watch;

pub(crate) mod peer;

/// What a sink heard of one topic.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) decl: Option<TopicDecl>,
    pub(crate) up: bool,
    pub(crate) samples: Vec<(SampleId, usize, Vec<u8>)>,
    /// Publisher's stamp (of a fragmented sample: arrival) to here, nanoseconds.
    pub(crate) delays: Vec<i64>,
}

#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) topics: Mutex<Vec<(String, Heard)>>,
    pub(crate) nodes: Mutex<Vec<NodeInfo>>,
    pub(crate) graph: watch::Sender<Arc<Graph>>,
    pub(crate) ignore: Vec<&'static str>,
    /// Nothing is wanted.
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
            topics.push((decl.name.clone(), Heard::default()));
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
        // A fragmented sample comes without its publisher's stamp; it is timed from its last fragment.
        let sent = if sample.source_time_ns == 0 { sample.receive_time_ns } else { sample.source_time_ns };
        let delay = now_ns() - sent;
        let head = sample.payload[..sample.payload.len().min(64)].to_vec();
        let heard = &mut self.topics.lock().unwrap()[key.0 as usize].1;
        heard.delays.push(delay);
        heard.samples.push((sample.id, sample.payload.len(), head));
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
    pub(crate) fn with<T>(&self, topic: &str, f: impl FnOnce(&Heard) -> T) -> Option<T> {
        self.topics.lock().unwrap().iter().find(|(name, _)| name == topic).map(|(_, heard)| f(heard))
    }

    pub(crate) fn count(&self, topic: &str) -> usize {
        self.with(topic, |heard| heard.samples.len()).unwrap_or(0)
    }

    pub(crate) fn ids(&self, topic: &str) -> Vec<SampleId> {
        self.with(topic, |heard| heard.samples.iter().map(|s| s.0).collect()).unwrap_or_default()
    }
}

pub(crate) struct Running {
    pub(crate) sink: Arc<Recorder>,
    pub(crate) stop: Stop,
    pub(crate) publisher: Arc<dyn Publisher>,
    pub(crate) thread: JoinHandle<Result<(), SourceError>>,
}

impl Running {
    pub(crate) fn start(domain: u16, sink: Recorder) -> Running {
        let source = Box::new(DdsSource::new(&options(domain)).unwrap());
        let (sink, stop, publisher) = (Arc::new(sink), Stop::default(), source.publisher());
        let (their_sink, their_stop) = (sink.clone(), stop.clone());
        let thread = std::thread::spawn(move || source.run(their_sink, their_stop));
        Running { sink, stop, publisher, thread }
    }

    /// Returns how long it took.
    pub(crate) fn end(self) -> Duration {
        let start = Instant::now();
        self.stop.set();
        self.thread.join().unwrap().unwrap();
        start.elapsed()
    }
}

pub(crate) fn options(domain_id: u16) -> DdsOptions {
    let node_name = "gateway_under_test".to_owned();
    DdsOptions { domain_id, node_name, localhost_only: true, ..DdsOptions::default() }
}

/// Domains that tests of other processes are unlikely to use at the same time.
pub(crate) fn domain() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let random = (std::process::id() as u16).wrapping_mul(7);
    100 + (random + NEXT.fetch_add(1, Ordering::Relaxed)) % 100
}

pub(crate) fn eventually(what: &str, limit: Duration, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn no_gap(ids: &[SampleId]) -> bool {
    ids.windows(2).all(|pair| pair[0].source == pair[1].source && pair[0].seq + 1 == pair[1].seq)
}
