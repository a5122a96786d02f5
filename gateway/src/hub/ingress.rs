//! A bounded queue from the source's thread to the hub's task; it never blocks the source.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use roverline_protocol::status::UpstreamDocument;
use roverline_protocol::writer_progress::WriterProgress;
use roverline_protocol::{Guid, Routing, ScopeSet};
use roverline_source::clock::monotonic;
use roverline_source::{Graph, Playback, RawSample, Sink, SourceState, TopicDecl, TopicKey};
use tokio::sync::{Notify, watch};

use crate::hub::arrival_latency::ArrivalLatency;
use crate::hub::writer_progress::{FellSilent, WriterTable};
use crate::limits;

/// Samples queued between a source and the hub.
const INGRESS_SAMPLES: usize = 8_192;
/// Bytes of the list of writers for another endpoint; its answer may have 64 KiB.
const LISTED_BYTES: usize = 24 << 10;
/// Bytes of an entry beside its names.
const PROGRESS_BYTES: usize = 96;
/// Bytes queued between a source and the hub.
const INGRESS_BYTES: usize = 64 << 20;

/// An event from the source.
#[derive(Clone, Debug)]
pub enum SourceEvent {
    /// A topic appeared or its declaration changed.
    TopicUp(TopicKey, TopicDecl),
    /// A topic disappeared.
    TopicDown(TopicKey),
    /// A live sample, and when it was queued (monotonic).
    Sample(TopicKey, RawSample, Duration),
    /// The next sample of the topic is traced by the gateway that the source reads from.
    TraceNext(TopicKey),
    /// A retained sample from an upstream gateway, with its age.
    Stored(TopicKey, RawSample, Duration),
    /// The ROS graph changed.
    Graph(Graph),
    /// The source's state changed.
    State(SourceState),
    /// The status of the upstream endpoints that the source reads from.
    Upstream(Vec<UpstreamDocument>),
}

/// The [`Sink`] that feeds a hub.
pub struct Ingress {
    routing: Arc<Routing>,
    queue: Mutex<Queue>,
    generation: AtomicU64,
    notify: Notify,
    has_listener: AtomicBool,
    dropped: AtomicU64,
    /// When the source gave its last sign of life (monotonic, milliseconds); 0: it gives none.
    alive_ms: AtomicU64,
    playback: watch::Sender<Option<Playback>>,
    writers: Mutex<WriterTable>,
    latency: ArrivalLatency,
}

#[derive(Default)]
struct Queue {
    scopes: ScopeSet,
    /// The events, and when they came (monotonic).
    items: VecDeque<(SourceEvent, Duration)>,
    samples: usize,
    bytes: usize,
    known: HashMap<String, (TopicKey, TopicDecl)>,
    next_key: u32,
}

impl Ingress {
    /// Creates an empty queue for an endpoint that serves `scopes`.
    pub fn new(routing: Arc<Routing>, scopes: ScopeSet) -> Arc<Ingress> {
        Arc::new(Ingress {
            routing,
            queue: Mutex::new(Queue { scopes, ..Queue::default() }),
            generation: AtomicU64::new(0),
            notify: Notify::new(),
            has_listener: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            alive_ms: AtomicU64::new(0),
            playback: watch::Sender::new(None),
            writers: Mutex::default(),
            latency: ArrivalLatency::default(),
        })
    }

    /// The routing table, which assigns each topic its scopes.
    pub fn routing(&self) -> &Routing {
        &self.routing
    }

    /// Changes the scopes that are accepted. A topic that returns to scope keeps its earlier key, so a
    /// source that did not notice the change keeps delivering.
    pub fn set_scopes(&self, scopes: ScopeSet) {
        let back: Vec<SourceEvent> = {
            let mut queue = self.lock();
            let before = std::mem::replace(&mut queue.scopes, scopes);
            let comes_back = |decl: &TopicDecl| {
                let route = decl.route.unwrap_or_else(|| self.routing.route(&decl.name, &decl.type_name));
                let topic = route.scopes;
                topic.intersects(scopes) && !topic.intersects(before)
            };
            let known = queue.known.values().filter(|(_, decl)| comes_back(decl));
            known.map(|(key, decl)| SourceEvent::TopicUp(*key, decl.clone())).collect()
        };
        back.into_iter().for_each(|item| self.push(item));
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock()
    }

    /// Signals the source that a client has subscribed.
    pub fn listener_arrived(&self) {
        self.has_listener.store(true, Ordering::Relaxed);
    }

    /// Samples dropped here because the hub was too slow.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// How long a source has given no sign of life; `None` if it gives none at all.
    pub fn source_silence(&self, now: Duration) -> Option<Duration> {
        match self.alive_ms.load(Ordering::Relaxed) {
            0 => None,
            at => Some(now.saturating_sub(Duration::from_millis(at))),
        }
    }

    /// The playback state of a recording; `None` if the source has no playback control.
    pub fn playback(&self) -> watch::Receiver<Option<Playback>> {
        self.playback.subscribe()
    }

    /// Waits until the queue is not empty, then moves up to `max` items into `batch`.
    pub async fn take(&self, batch: &mut Vec<SourceEvent>, max: usize) {
        loop {
            let notified = self.notify.notified();
            {
                let mut queue = self.lock();
                let n = queue.items.len().min(max);
                if n > 0 {
                    let now = monotonic();
                    let Queue { items, samples, bytes, .. } = &mut *queue;
                    for (item, came_at) in items.drain(..n) {
                        if let SourceEvent::Sample(_, sample, _) | SourceEvent::Stored(_, sample, _) = &item {
                            *samples -= 1;
                            *bytes -= sample.payload.len();
                            self.latency.record_ingress(now.saturating_sub(came_at));
                        }
                        batch.push(item);
                    }
                    return;
                }
            }
            notified.await;
        }
    }

    /// How long samples took until the hub had them.
    pub fn latency(&self) -> &ArrivalLatency {
        &self.latency
    }

    /// The newest sample of each writer, most recent first.
    pub fn writer_progress(&self) -> Vec<WriterProgress> {
        let newest = self.writers.lock().newest();
        let queue = self.lock();
        let topics: HashMap<TopicKey, &TopicDecl> =
            queue.known.values().map(|(key, decl)| (*key, decl)).collect();
        let listed = newest.into_iter().filter_map(|(writer, sample)| {
            let decl = topics.get(&sample.topic)?;
            let (topic, type_name) = (decl.name.clone(), decl.type_name.clone());
            let latched = decl.qos.transient_local;
            Some(WriterProgress { topic, type_name, writer, seq: sample.seq, latched })
        });
        let mut bytes = 0;
        let fits = |progress: &WriterProgress| {
            bytes += progress.topic.len() + progress.type_name.len() + PROGRESS_BYTES;
            bytes <= LISTED_BYTES
        };
        listed.take_while(fits).collect()
    }

    /// A writer of a topic that came steadily and has fallen silent, once for each silence. `watched` says for a topic
    /// and its type whether it matters.
    pub(crate) fn fell_silent(&self, watched: impl Fn(&TopicDecl) -> bool) -> Option<(String, FellSilent)> {
        let mut writers = self.writers.lock();
        let queue = self.lock();
        let of = |key: TopicKey| queue.known.values().find(|(known, _)| *known == key).map(|(_, decl)| decl);
        let found = writers.fell_silent(monotonic(), |key| of(key).is_some_and(&watched))?;
        Some((of(found.topic)?.name.clone(), found))
    }

    /// The sequence number of a writer's newest sample.
    pub fn newest_seq(&self, writer: Guid) -> Option<u64> {
        self.writers.lock().seq(writer)
    }

    fn push(&self, item: SourceEvent) {
        self.push_at(item, monotonic());
    }

    fn push_at(&self, item: SourceEvent, now: Duration) {
        let mut queue = self.lock();
        if let SourceEvent::Sample(_, sample, _) | SourceEvent::Stored(_, sample, _) = &item {
            queue.samples += 1;
            queue.bytes += sample.payload.len();
        }
        queue.items.push_back((item, now));
        while queue.samples > INGRESS_SAMPLES || queue.bytes > INGRESS_BYTES {
            if !queue.drop_oldest_sample() {
                break;
            }
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        drop(queue);
        self.notify.notify_one();
    }
}

impl Queue {
    fn drop_oldest_sample(&mut self) -> bool {
        // Items other than samples are rare, so the oldest sample is at or near the front.
        let Some(at) = self
            .items
            .iter()
            .position(|(item, _)| matches!(item, SourceEvent::Sample(..) | SourceEvent::Stored(..)))
        else {
            return false;
        };
        if let Some((SourceEvent::Sample(_, sample, _) | SourceEvent::Stored(_, sample, _), _)) =
            self.items.remove(at)
        {
            self.samples -= 1;
            self.bytes -= sample.payload.len();
        }
        true
    }
}

impl Sink for Ingress {
    fn rejoined(&self) {
        self.writers.lock().rejoined(monotonic());
    }

    fn alive(&self) {
        let now = u64::try_from(monotonic().as_millis()).unwrap_or(u64::MAX);
        self.alive_ms.store(now, Ordering::Relaxed);
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn wants(&self, name: &str, type_name: &str) -> bool {
        self.routing.route(name, type_name).scopes.intersects(self.lock().scopes)
    }

    fn topic_up(&self, decl: TopicDecl) -> Option<TopicKey> {
        let wanted = match decl.route {
            Some(route) => route.scopes.intersects(self.lock().scopes),
            None => self.wants(&decl.name, &decl.type_name),
        };
        if decl.name.len() > limits::TOPIC_NAME_CHARS || !wanted {
            return None;
        }
        let mut queue = self.lock();
        let key = match queue.known.get(&decl.name) {
            Some((key, known)) if *known == decl => return Some(*key),
            Some((key, _)) => *key,
            None if queue.known.len() >= limits::TOPICS => return None,
            None => {
                queue.next_key += 1;
                TopicKey(queue.next_key)
            }
        };
        queue.known.insert(decl.name.clone(), (key, decl.clone()));
        drop(queue);
        self.push(SourceEvent::TopicUp(key, decl));
        Some(key)
    }

    fn topic_down(&self, key: TopicKey) {
        self.lock().known.retain(|_, (known, _)| *known != key);
        self.push(SourceEvent::TopicDown(key));
    }

    fn sample(&self, key: TopicKey, sample: RawSample) {
        let now = monotonic();
        if self.writers.lock().record(key, &sample, now) {
            self.latency.record_source(sample.source_time_ns, sample.receive_time_ns);
            self.push_at(SourceEvent::Sample(key, sample, now), now);
        }
    }

    fn trace_next(&self, key: TopicKey) {
        // No request when the hub is behind: what is queued beside samples has no limit of its own.
        if self.lock().items.len() < INGRESS_SAMPLES {
            self.push(SourceEvent::TraceNext(key));
        }
    }

    fn stored(&self, key: TopicKey, sample: RawSample, age: Duration) {
        self.push(SourceEvent::Stored(key, sample, age));
    }

    fn graph(&self, mut graph: Graph) {
        graph.nodes.truncate(limits::NODES);
        graph.topics.truncate(limits::TOPICS);
        graph.services.truncate(limits::SERVICES);
        self.push(SourceEvent::Graph(graph));
    }

    fn state(&self, state: SourceState) {
        self.push(SourceEvent::State(state));
    }

    fn upstream(&self, endpoints: Vec<UpstreamDocument>) {
        self.push(SourceEvent::Upstream(endpoints));
    }

    // Bypasses the queue: the playback state may change often, and only the newest value matters.
    fn playback(&self, playback: Playback) {
        self.playback.send_replace(Some(playback));
    }

    fn has_listener(&self) -> bool {
        self.has_listener.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use roverline_protocol::Tier;
    use roverline_source::Qos;

    use super::*;
    use crate::hub::encoding::test_encoding::sample;

    fn decl(name: &str, type_name: &str) -> TopicDecl {
        TopicDecl {
            name: name.into(),
            type_name: type_name.into(),
            qos: Qos::default(),
            encoding: Default::default(),
            history_depth: 1,
            schema: None,
            route: None,
        }
    }

    #[tokio::test]
    async fn scopes_are_enforced_and_a_flood_drops_the_oldest() {
        let ingress = Ingress::new(Arc::new(Routing::default()), Tier::Secondary.scopes());
        assert_eq!(ingress.topic_up(decl("/imu/data", "sensor_msgs/msg/Imu")), None);
        let key = ingress.topic_up(decl("/mission/status", "std_msgs/msg/String")).unwrap();
        assert_eq!(ingress.topic_up(decl("/mission/status", "std_msgs/msg/String")), Some(key));
        for seq in 0..super::INGRESS_SAMPLES as u64 + 10 {
            ingress.sample(key, sample(seq, 8));
        }
        assert_eq!(ingress.dropped(), 10);
        let mut batch = Vec::new();
        ingress.take(&mut batch, usize::MAX).await;
        assert!(matches!(batch[0], SourceEvent::TopicUp(..)));
        assert!(matches!(&batch[1], SourceEvent::Sample(_, sample, _) if sample.id.seq == 10));
        for seq in 0..10 {
            ingress.sample(key, sample(seq, super::INGRESS_BYTES / 4));
        }
        assert_eq!(ingress.dropped(), 16);
    }
}
