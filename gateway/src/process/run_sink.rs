//! The sink of one run of the source. Samples of a run that is being replaced still count; its topics, graph and
//! state are ignored.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use roverline_protocol::status::UpstreamDocument;
use roverline_source::{Graph, Playback, RawSample, Sink, SourceState, TopicDecl, TopicKey};

/// The phase of a run decides which of its reports count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It joins the graph beside another run: its topics and samples count.
    Joining,
    /// Everything counts.
    Current,
    /// Another run joins: this one removes no topics any more.
    Leaving,
    /// Only samples that are still on their way count.
    Replaced,
}

/// Passes what a run says on to the endpoint's sink, as far as it counts.
pub(super) struct RunSink {
    inner: Arc<dyn Sink>,
    state: Mutex<RunState>,
}

struct RunState {
    phase: Phase,
    topics: BTreeSet<TopicKey>,
    /// The graph that the run found while it joined.
    graph: Option<Graph>,
}

impl RunSink {
    /// The sink of a run that replaces another one, or of the only one.
    pub(super) fn new(inner: Arc<dyn Sink>, joins: bool) -> Arc<RunSink> {
        let phase = if joins { Phase::Joining } else { Phase::Current };
        let state = Mutex::new(RunState { phase, topics: BTreeSet::new(), graph: None });
        Arc::new(RunSink { inner, state })
    }

    /// Another run joins the graph beside this one.
    pub(super) fn leave(&self) {
        self.state.lock().phase = Phase::Leaving;
    }

    /// The next run has ended early: this one goes on.
    pub(super) fn stay(&self) {
        self.state.lock().phase = Phase::Current;
    }

    /// The next run takes over: the topics that only this one had are removed.
    pub(super) fn hand_over(&self, next: &RunSink) {
        let own = {
            let mut state = self.state.lock();
            state.phase = Phase::Replaced;
            std::mem::take(&mut state.topics)
        };
        // Locked until the topics are removed: one of them may just be found.
        let mut state = next.state.lock();
        state.phase = Phase::Current;
        own.difference(&state.topics).for_each(|key| self.inner.topic_down(*key));
        state.graph.take().into_iter().for_each(|graph| self.inner.graph(graph));
    }

    fn phase(&self) -> Phase {
        self.state.lock().phase
    }
}

impl Sink for RunSink {
    fn generation(&self) -> u64 {
        self.inner.generation()
    }

    fn wants(&self, name: &str, type_name: &str) -> bool {
        self.inner.wants(name, type_name)
    }

    fn topic_up(&self, decl: TopicDecl) -> Option<TopicKey> {
        let mut state = self.state.lock();
        if state.phase == Phase::Replaced {
            return None;
        }
        let key = self.inner.topic_up(decl)?;
        state.topics.insert(key);
        Some(key)
    }

    fn topic_down(&self, key: TopicKey) {
        let mut state = self.state.lock();
        if state.phase == Phase::Joining || state.phase == Phase::Current {
            state.topics.remove(&key);
        }
        if state.phase == Phase::Current {
            self.inner.topic_down(key);
        }
    }

    fn sample(&self, key: TopicKey, sample: RawSample) {
        self.inner.sample(key, sample);
    }

    fn trace_next(&self, key: TopicKey) {
        self.inner.trace_next(key);
    }

    fn stored(&self, key: TopicKey, sample: RawSample, age: Duration) {
        self.inner.stored(key, sample, age);
    }

    fn alive(&self) {
        if self.phase() != Phase::Replaced {
            self.inner.alive();
        }
    }

    fn graph(&self, graph: Graph) {
        let mut state = self.state.lock();
        match state.phase {
            Phase::Joining => state.graph = Some(graph),
            Phase::Current | Phase::Leaving => self.inner.graph(graph),
            Phase::Replaced => {}
        }
    }

    fn state(&self, state: SourceState) {
        if self.phase() == Phase::Current {
            self.inner.state(state);
        }
    }

    fn upstream(&self, endpoints: Vec<UpstreamDocument>) {
        self.inner.upstream(endpoints);
    }

    fn playback(&self, playback: Playback) {
        self.inner.playback(playback);
    }

    fn has_listener(&self) -> bool {
        self.inner.has_listener()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use roverline_protocol::{Routing, Tier};
    use roverline_source::Qos;

    use super::*;
    use crate::hub::Ingress;

    fn decl(name: &str) -> TopicDecl {
        TopicDecl {
            name: name.into(),
            type_name: "std_msgs/msg/String".into(),
            qos: Qos::default(),
            encoding: Default::default(),
            history_depth: 1,
            schema: None,
            route: None,
        }
    }

    #[test]
    fn topics_stay_that_the_next_run_has_found_too() {
        let ingress = Ingress::new(Arc::new(Routing::default()), Tier::Primary.scopes());
        let (old, new) = (RunSink::new(ingress.clone(), false), RunSink::new(ingress.clone(), true));
        let both = old.topic_up(decl("/both")).unwrap();
        let gone = old.topic_up(decl("/gone")).unwrap();
        old.leave();
        assert_eq!(new.topic_up(decl("/both")), Some(both), "the same topic");
        old.topic_down(both);
        new.topic_down(gone);
        assert_eq!(ingress.topic_up(decl("/gone")), Some(gone), "nothing is removed yet");
        old.hand_over(&new);
        assert_eq!(old.topic_up(decl("/late")), None);
        // A topic that is still known keeps its key; one that was removed gets another.
        assert_eq!(new.topic_up(decl("/both")), Some(both));
        assert_ne!(new.topic_up(decl("/gone")), Some(gone));
    }
}
