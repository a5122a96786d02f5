//! The hub's state: topics, subscribers, the source's state and the ROS graph, behind one lock.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use roverline_protocol::ScopeSet;
use roverline_protocol::native::TopicInfo;
use roverline_protocol::status::UpstreamDocument;
use roverline_schema::Registry;
use roverline_source::{Graph, SourceState};
use tokio::sync::watch;

use crate::hub::offload::Offload;
use crate::hub::subscriber::Subscriber;
use crate::hub::topic::{SubscriberId, Topic};
use crate::trace::sample_ring::SampleRing;

/// The state that one endpoint holds about the rover.
pub struct Hub {
    state: Mutex<HubState>,
    registry: Registry,
    pub(super) offload: Offload,
    /// Has its own lock so that it can be read while the topics are locked.
    pub(super) scopes: Mutex<ScopeSet>,
    pub(super) graph: watch::Sender<Arc<Graph>>,
    pub(super) topic_changes: watch::Sender<u64>,
    sample_ring: OnceLock<SampleRing>,
}

/// The part of the state that changes with every sample.
pub(super) struct HubState {
    pub(super) topics: HashMap<u32, Topic>,
    pub(super) subscribers: HashMap<SubscriberId, Subscriber>,
    pub(super) source: SourceState,
    pub(super) samples: u64,
    pub(super) newest_at: Option<Duration>,
    /// Total bytes in the replay rings of all topics.
    pub(super) replay_bytes: usize,
    /// Samples replayed, and requested samples that were no longer available.
    pub(super) replayed: u64,
    pub(super) replay_missing: u64,
    pub(super) upstream: Vec<UpstreamDocument>,
    /// New topics that sessions with costly patterns are still to be matched with.
    pub(super) unmatched: VecDeque<(u32, SubscriberId)>,
}

impl Hub {
    /// Creates an empty hub that serves `scopes` and decodes with `registry`.
    pub fn new(scopes: ScopeSet, registry: Registry) -> Arc<Hub> {
        let state = HubState {
            topics: HashMap::new(),
            subscribers: HashMap::new(),
            source: SourceState::Starting,
            samples: 0,
            newest_at: None,
            replay_bytes: 0,
            replayed: 0,
            replay_missing: 0,
            upstream: Vec::new(),
            unmatched: VecDeque::new(),
        };
        Arc::new(Hub {
            state: Mutex::new(state),
            registry,
            offload: Offload::default(),
            scopes: Mutex::new(scopes),
            graph: watch::Sender::default(),
            topic_changes: watch::Sender::new(0),
            sample_ring: OnceLock::new(),
        })
    }

    /// Traces some samples from now on. Can be done once.
    pub fn trace_samples(&self, ring: SampleRing) {
        let _ = self.sample_ring.set(ring);
    }

    /// The traced samples; `None` if none are traced.
    pub fn sample_ring(&self) -> Option<&SampleRing> {
        self.sample_ring.get()
    }

    /// The message definitions.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The scopes that this endpoint serves.
    pub fn scopes(&self) -> ScopeSet {
        *self.scopes.lock()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, HubState> {
        self.state.lock()
    }

    /// The topics in scope, sorted by name.
    pub fn topic_infos(&self) -> Vec<TopicInfo> {
        let mut infos: Vec<TopicInfo> = self.lock().topics.values().map(|topic| topic.info.clone()).collect();
        infos.sort_by(|a, b| a.name.cmp(&b.name));
        infos
    }

    /// Calls `read` with all topics while the hub is locked.
    pub fn with_topics<R>(&self, read: impl FnOnce(&mut dyn Iterator<Item = &mut Topic>) -> R) -> R {
        read(&mut self.lock().topics.values_mut())
    }

    /// Samples replayed to resuming clients, and samples that were no longer available.
    pub fn replays(&self) -> (u64, u64) {
        let state = self.lock();
        (state.replayed, state.replay_missing)
    }

    /// Large samples dropped because too many waited to be encoded, once for each session.
    pub fn encoding_dropped(&self) -> u64 {
        self.offload.dropped()
    }

    /// The whole ROS graph, regardless of scope; the receiver is notified of changes.
    pub fn graph(&self) -> watch::Receiver<Arc<Graph>> {
        self.graph.subscribe()
    }

    /// Is incremented whenever a topic is added, removed or redeclared.
    pub fn topic_changes(&self) -> watch::Receiver<u64> {
        self.topic_changes.subscribe()
    }

    /// The upstream endpoints that the source reads from; empty unless the source is another gateway.
    pub fn upstream(&self) -> Vec<UpstreamDocument> {
        self.lock().upstream.clone()
    }

    /// The source's state, its sample count, and the arrival time of its newest sample (monotonic).
    pub fn source(&self) -> (SourceState, u64, Option<Duration>) {
        let state = self.lock();
        (state.source.clone(), state.samples, state.newest_at)
    }
}
