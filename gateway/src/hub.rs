//! The hub: latest values, latched values, and fan-out to the sessions whose subscriptions match.
//!
//! Sources fill the [`Ingress`] from their threads; one task on the endpoint's runtime drains it
//! into [`Hub::handle`]. A sample is encoded at most once per dialect, and the bytes are shared.

mod fanout;
mod ingress;
mod replay;
mod retained;
mod subscription;
mod topic;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roverline_protocol::ScopeSet;
use roverline_protocol::native::TopicInfo;
use roverline_protocol::status::UpstreamDocument;
use roverline_schema::Registry;
use roverline_source::{Graph, SourceState};
use tokio::sync::watch;

pub use crate::hub::fanout::{Encoder, Form};
pub use crate::hub::ingress::{Ingress, Item};
pub use crate::hub::subscription::{Granted, SubscribeError, Subscriber, SubscriberId, Wish};
pub use crate::hub::topic::{Latest, Topic};

/// Everything one endpoint knows of the rover.
pub struct Hub {
    state: Mutex<HubState>,
    registry: Registry,
    /// Apart from the rest, so that it can be asked for while topics are looked at.
    scopes: Mutex<ScopeSet>,
    graph: watch::Sender<Arc<Graph>>,
    topic_changes: watch::Sender<u64>,
}

pub(crate) struct HubState {
    pub(crate) topics: HashMap<u32, Topic>,
    pub(crate) subscribers: HashMap<SubscriberId, Subscriber>,
    pub(crate) source: SourceState,
    pub(crate) samples: u64,
    pub(crate) newest_at: Option<std::time::Duration>,
    /// Bytes that the topics' rings hold together.
    pub(crate) replay_bytes: usize,
    /// Samples replayed, and samples asked for that could not be.
    pub(crate) replayed: u64,
    pub(crate) replay_missing: u64,
    pub(crate) upstream: Vec<UpstreamDocument>,
}

impl Hub {
    /// An empty hub that serves `scopes` and decodes with `registry`.
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
        };
        Arc::new(Hub {
            state: Mutex::new(state),
            registry,
            scopes: Mutex::new(scopes),
            graph: watch::Sender::default(),
            topic_changes: watch::Sender::new(0),
        })
    }

    /// Message definitions.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What this endpoint serves.
    pub fn scopes(&self) -> ScopeSet {
        *self.scopes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves these scopes from now on: the source is asked for more topics or fewer, and those out
    /// of scope go.
    pub fn set_scopes(&self, ingress: &Ingress, scopes: ScopeSet) {
        *self.scopes.lock().unwrap_or_else(PoisonError::into_inner) = scopes;
        let out: Vec<u32> = {
            let state = self.lock();
            state.topics.values().filter(|t| !t.route.scopes.intersects(scopes)).map(|t| t.info.id).collect()
        };
        ingress.set_scopes(scopes);
        self.topic_down(&out);
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, HubState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The topics in scope, by name.
    pub fn topic_infos(&self) -> Vec<TopicInfo> {
        let mut infos: Vec<TopicInfo> = self.lock().topics.values().map(|topic| topic.info.clone()).collect();
        infos.sort_by(|a, b| a.name.cmp(&b.name));
        infos
    }

    /// Runs `read` on the topics while they cannot change.
    pub fn with_topics<R>(&self, read: impl FnOnce(&mut dyn Iterator<Item = &mut Topic>) -> R) -> R {
        read(&mut self.lock().topics.values_mut())
    }

    /// Samples replayed to clients that resumed, and samples that could not be.
    pub fn replays(&self) -> (u64, u64) {
        let state = self.lock();
        (state.replayed, state.replay_missing)
    }

    /// The ROS graph as it is known, whatever this endpoint serves of it; tells when it changes.
    pub fn graph(&self) -> watch::Receiver<Arc<Graph>> {
        self.graph.subscribe()
    }

    /// Changes whenever a topic came, went or was declared anew.
    pub fn topic_changes(&self) -> watch::Receiver<u64> {
        self.topic_changes.subscribe()
    }

    /// The endpoints that the source reads from, where it reads from a gateway.
    pub fn upstream(&self) -> Vec<UpstreamDocument> {
        self.lock().upstream.clone()
    }

    /// The source's state, how many samples it gave, and when the newest came (monotonic).
    pub fn source(&self) -> (SourceState, u64, Option<std::time::Duration>) {
        let state = self.lock();
        (state.source.clone(), state.samples, state.newest_at)
    }
}
