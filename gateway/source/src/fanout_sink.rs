//! Feeds several endpoints from one source: each receives the topics in its scopes, and all share the
//! payloads.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use roverline_protocol::status::UpstreamDocument;

use crate::{Graph, RawSample, Sink, SourceState, TopicDecl, TopicKey};

/// A [`Sink`] that forwards to several sinks.
pub struct FanoutSink {
    sinks: Vec<Arc<dyn Sink>>,
    topics: Mutex<Topics>,
}

#[derive(Default)]
struct Topics {
    names: HashMap<String, TopicKey>,
    /// By our own key: the key that each sink assigned, or `None` if it does not want the topic.
    keys: HashMap<TopicKey, Arc<[Option<TopicKey>]>>,
    last: u32,
}

impl FanoutSink {
    /// Forwards to `sinks`.
    pub fn new(sinks: Vec<Arc<dyn Sink>>) -> Arc<FanoutSink> {
        Arc::new(FanoutSink { sinks, topics: Mutex::default() })
    }

    /// The sinks that want the topic, each with its own key.
    fn wanting(&self, key: TopicKey) -> impl Iterator<Item = (&Arc<dyn Sink>, TopicKey)> {
        let topics = self.topics.lock();
        let keys = topics.keys.get(&key).cloned();
        drop(topics);
        self.sinks.iter().enumerate().filter_map(move |(at, sink)| Some((sink, keys.as_ref()?[at]?)))
    }
}

impl Sink for FanoutSink {
    fn generation(&self) -> u64 {
        // Every generation only increases, so the sum changes whenever one of them does.
        self.sinks.iter().fold(0, |sum, sink| sum.wrapping_add(sink.generation()))
    }

    fn wants(&self, name: &str, type_name: &str) -> bool {
        self.sinks.iter().any(|sink| sink.wants(name, type_name))
    }

    fn topic_up(&self, decl: TopicDecl) -> Option<TopicKey> {
        let keys: Arc<[_]> = self.sinks.iter().map(|sink| sink.topic_up(decl.clone())).collect();
        let mut topics = self.topics.lock();
        let known = topics.names.get(&decl.name).copied();
        if keys.iter().all(Option::is_none) {
            if let Some(key) = known {
                topics.names.remove(&decl.name);
                topics.keys.remove(&key);
            }
            return None;
        }
        let key = known.unwrap_or_else(|| {
            topics.last += 1;
            TopicKey(topics.last)
        });
        topics.names.insert(decl.name, key);
        topics.keys.insert(key, keys);
        Some(key)
    }

    fn topic_down(&self, key: TopicKey) {
        for (sink, key) in self.wanting(key) {
            sink.topic_down(key);
        }
        let mut topics = self.topics.lock();
        topics.keys.remove(&key);
        topics.names.retain(|_, known| *known != key);
    }

    fn sample(&self, key: TopicKey, sample: RawSample) {
        for (sink, key) in self.wanting(key) {
            sink.sample(key, sample.clone());
        }
    }

    fn trace_next(&self, key: TopicKey) {
        for (sink, key) in self.wanting(key) {
            sink.trace_next(key);
        }
    }

    fn stored(&self, key: TopicKey, sample: RawSample, age: Duration) {
        for (sink, key) in self.wanting(key) {
            sink.stored(key, sample.clone(), age);
        }
    }

    fn graph(&self, graph: Graph) {
        for sink in &self.sinks {
            sink.graph(graph.clone());
        }
    }

    fn state(&self, state: SourceState) {
        for sink in &self.sinks {
            sink.state(state.clone());
        }
    }

    fn upstream(&self, endpoints: Vec<UpstreamDocument>) {
        for sink in &self.sinks {
            sink.upstream(endpoints.clone());
        }
    }

    fn has_listener(&self) -> bool {
        self.sinks.iter().any(|sink| sink.has_listener())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use roverline_protocol::{Routing, SampleId, Tier};

    use super::*;
    use crate::Qos;
    use crate::recording_sink::{RecordingSink, SourceEvent};

    #[test]
    fn each_sink_receives_its_topics_and_payloads_are_shared() {
        let routing = Arc::new(Routing::default());
        let ingresses = Tier::ALL.map(|tier| RecordingSink::new(routing.clone(), tier.scopes()));
        let fan = FanoutSink::new(ingresses.iter().map(|ingress| ingress.clone() as Arc<dyn Sink>).collect());
        let decl = |name: &str, type_name: &str| TopicDecl {
            name: name.into(),
            type_name: type_name.into(),
            qos: Qos::default(),
            encoding: Default::default(),
            history_depth: 1,
            schema: None,
            route: None,
        };
        let imu = fan.topic_up(decl("/imu/data", "sensor_msgs/msg/Imu")).unwrap();
        let stop = fan.topic_up(decl("/emergency_stop", "std_msgs/msg/Bool")).unwrap();
        assert_eq!(fan.topic_up(decl("/imu/data", "sensor_msgs/msg/Imu")), Some(imu));
        let payload = Bytes::from(vec![7; 64]);
        let sample = |seq| RawSample {
            id: SampleId { source: Default::default(), seq },
            source_time_ns: 0,
            receive_time_ns: 0,
            payload: payload.clone(),
        };
        fan.sample(imu, sample(1));
        fan.sample(stop, sample(2));
        for (ingress, expected) in ingresses.iter().zip([&[1, 2][..], &[2], &[2], &[2]]) {
            let batch = ingress.take();
            let samples = batch.iter().filter_map(|item| match item {
                SourceEvent::Sample(sample) => Some(sample),
                _ => None,
            });
            let (seqs, bytes): (Vec<u64>, Vec<_>) =
                samples.map(|sample| (sample.id.seq, sample.payload.as_ptr())).unzip();
            assert_eq!(seqs, expected);
            assert!(bytes.iter().all(|at| *at == payload.as_ptr()), "no payload is copied");
        }
    }
}
