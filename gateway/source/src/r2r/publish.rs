//! The publishers of the node.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use r2r::qos::{DurabilityPolicy, ReliabilityPolicy};
use r2r::{PublisherUntyped, QosProfile};

use crate::r2r::HISTORY_DEPTH;
use crate::{Advertisement, Publication, Qos};

/// The maximum number of published topics.
const MAX_PUBLISHERS: usize = 256;
/// The shortest interval between two warnings about unpublished messages.
const WARN_GAP: Duration = Duration::from_secs(5);

/// Why a message was not published.
#[derive(Debug, thiserror::Error)]
enum PublisherError {
    #[error("it is already published as {0}")]
    OtherType(String),
    #[error("{MAX_PUBLISHERS} topics are published already")]
    TooMany,
    #[error(transparent)]
    Ros(#[from] r2r::Error),
}

/// The publishers, created on demand and cached: by topic, with their type and whether they are
/// latched.
#[derive(Default)]
pub(super) struct Publishers {
    open: HashMap<String, (String, bool, PublisherUntyped)>,
    warned: Option<Instant>,
}

impl Publishers {
    /// Publishes a message; failures are logged, rate-limited.
    pub(super) fn publish(&mut self, node: &mut r2r::Node, publication: Publication) {
        let topic = publication.topic.clone();
        let Err(problem) = self.try_publish(node, publication) else { return };
        if self.warned.is_none_or(|at| at.elapsed() >= WARN_GAP) {
            tracing::warn!("a message to {topic} was not published: {problem}");
            self.warned = Some(Instant::now());
        }
    }

    /// Opens the publisher of a topic, which stays open.
    pub(super) fn advertise(&mut self, node: &mut r2r::Node, advertisement: &Advertisement) {
        let Advertisement { topic, type_name, latched, .. } = advertisement;
        if let Err(problem) = self.open(node, topic, type_name, *latched) {
            tracing::warn!("{topic} was not advertised: {problem}");
        }
    }

    fn try_publish(&mut self, node: &mut r2r::Node, publication: Publication) -> Result<(), PublisherError> {
        let Publication { topic, type_name, payload, latched } = publication;
        self.open(node, &topic, &type_name, latched)?;
        let publisher = self.open.get(&topic).map(|(.., publisher)| publisher);
        publisher.map_or(Ok(()), |publisher| Ok(publisher.publish_raw(&payload)?))
    }

    fn open(
        &mut self,
        node: &mut r2r::Node,
        topic: &str,
        type_name: &str,
        latched: bool,
    ) -> Result<(), PublisherError> {
        let known = self.open.get(topic);
        if let Some((other, ..)) = known.filter(|(known, ..)| *known != type_name) {
            return Err(PublisherError::OtherType(other.clone()));
        }
        if !known.is_some_and(|(_, was_latched, _)| *was_latched || !latched) {
            if known.is_none() && self.open.len() >= MAX_PUBLISHERS {
                return Err(PublisherError::TooMany);
            }
            if let Some((_, _, weaker)) = self.open.remove(topic) {
                node.destroy_publisher_untyped(weaker);
            }
            let qos = Qos { reliable: true, transient_local: latched };
            let publisher = node.create_publisher_untyped(
                topic,
                type_name,
                profile(qos, if latched { 1 } else { HISTORY_DEPTH }),
            )?;
            self.open.insert(topic.to_owned(), (type_name.to_owned(), latched, publisher));
        }
        Ok(())
    }
}

/// A QoS profile that requests or offers `qos`.
pub(super) fn profile(qos: Qos, depth: usize) -> QosProfile {
    QosProfile {
        depth,
        reliability: if qos.reliable { ReliabilityPolicy::Reliable } else { ReliabilityPolicy::BestEffort },
        durability: if qos.transient_local {
            DurabilityPolicy::TransientLocal
        } else {
            DurabilityPolicy::Volatile
        },
        ..QosProfile::default()
    }
}
