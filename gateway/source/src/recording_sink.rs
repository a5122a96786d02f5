//! A [`Sink`] for tests: filters topics by scope like an endpoint and records what it receives.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use roverline_protocol::status::UpstreamDocument;
use roverline_protocol::{Routing, ScopeSet};

use crate::{Graph, RawSample, Sink, SourceState, TopicDecl, TopicKey};

/// One call received from a source.
#[derive(Clone, Debug)]
pub(crate) enum SourceEvent {
    TopicUp(TopicKey, TopicDecl),
    TopicDown,
    Sample(RawSample),
    Stored(Duration),
    State(SourceState),
    Upstream(Vec<UpstreamDocument>),
}

/// Records the calls for topics of the given scopes.
pub(crate) struct RecordingSink {
    routing: Arc<Routing>,
    scopes: ScopeSet,
    recorded: Mutex<Recorded>,
}

#[derive(Default)]
struct Recorded {
    events: Vec<SourceEvent>,
    topics: HashMap<String, (TopicKey, TopicDecl)>,
}

impl RecordingSink {
    /// An empty recording.
    pub(crate) fn new(routing: Arc<Routing>, scopes: ScopeSet) -> Arc<RecordingSink> {
        Arc::new(RecordingSink { routing, scopes, recorded: Mutex::default() })
    }

    /// Takes everything recorded since the last call.
    pub(crate) fn take(&self) -> Vec<SourceEvent> {
        std::mem::take(&mut self.recorded.lock().events)
    }

    fn record(&self, event: SourceEvent) {
        self.recorded.lock().events.push(event);
    }
}

impl Sink for RecordingSink {
    fn wants(&self, name: &str, type_name: &str) -> bool {
        self.routing.route(name, type_name).scopes.intersects(self.scopes)
    }

    fn topic_up(&self, decl: TopicDecl) -> Option<TopicKey> {
        let wanted = match decl.route {
            Some(route) => route.scopes.intersects(self.scopes),
            None => self.wants(&decl.name, &decl.type_name),
        };
        if !wanted {
            return None;
        }
        let mut recorded = self.recorded.lock();
        let key = match recorded.topics.get(&decl.name) {
            Some((key, known)) if *known == decl => return Some(*key),
            Some((key, _)) => *key,
            None => TopicKey(u32::try_from(recorded.topics.len()).unwrap_or(u32::MAX)),
        };
        recorded.topics.insert(decl.name.clone(), (key, decl.clone()));
        recorded.events.push(SourceEvent::TopicUp(key, decl));
        Some(key)
    }

    fn topic_down(&self, _key: TopicKey) {
        self.record(SourceEvent::TopicDown);
    }

    fn sample(&self, _key: TopicKey, sample: RawSample) {
        self.record(SourceEvent::Sample(sample));
    }

    fn stored(&self, _key: TopicKey, _sample: RawSample, age: Duration) {
        self.record(SourceEvent::Stored(age));
    }

    fn graph(&self, _graph: Graph) {}

    fn state(&self, state: SourceState) {
        self.record(SourceEvent::State(state));
    }

    fn upstream(&self, endpoints: Vec<UpstreamDocument>) {
        self.record(SourceEvent::Upstream(endpoints));
    }

    fn has_listener(&self) -> bool {
        true
    }
}
