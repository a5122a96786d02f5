//! The publishing side of the node: its bounded queue and its publishers.

use std::collections::HashMap;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, Instant};

use r2r::qos::{DurabilityPolicy, ReliabilityPolicy};
use r2r::{PublisherUntyped, QosProfile};

use crate::r2r::HISTORY_DEPTH;
use crate::{Publication, PublishError, Qos, SourceControl};

/// The maximum number of published topics.
const MAX_PUBLISHERS: usize = 256;
/// Capacity of the queue; also the most messages published between two spins.
pub(super) const QUEUE_MESSAGES: usize = 256;
/// The shortest interval between two warnings about unpublished messages.
const WARN_GAP: Duration = Duration::from_secs(5);

/// The sending end of the queue to the node's thread.
pub(super) struct PublishQueue(pub(super) SyncSender<Publication>);

impl SourceControl for PublishQueue {
    fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        if publication.payload.len() < 4 {
            return Err(PublishError::Failed("the message has no CDR header".to_owned()));
        }
        self.0.try_send(publication).map_err(|error| match error {
            TrySendError::Full(_) => PublishError::Busy(QUEUE_MESSAGES),
            TrySendError::Disconnected(_) => PublishError::Failed("the source has stopped".to_owned()),
        })
    }
}

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

    fn try_publish(&mut self, node: &mut r2r::Node, publication: Publication) -> Result<(), PublisherError> {
        let Publication { topic, type_name, payload, latched } = publication;
        let known = self.open.get(&topic);
        if let Some((other, ..)) = known.filter(|(known, ..)| *known != type_name) {
            return Err(PublisherError::OtherType(other.clone()));
        }
        if !known.is_some_and(|(_, was_latched, _)| *was_latched || !latched) {
            if known.is_none() && self.open.len() >= MAX_PUBLISHERS {
                return Err(PublisherError::TooMany);
            }
            if let Some((_, _, weaker)) = self.open.remove(&topic) {
                node.destroy_publisher_untyped(weaker);
            }
            let qos = Qos { reliable: true, transient_local: latched };
            let publisher = node.create_publisher_untyped(
                &topic,
                &type_name,
                profile(qos, if latched { 1 } else { HISTORY_DEPTH }),
            )?;
            self.open.insert(topic.clone(), (type_name, latched, publisher));
        }
        let publisher = self.open.get(&topic).map(|(.., publisher)| publisher);
        publisher.map_or(Ok(()), |publisher| Ok(publisher.publish_raw(&payload)?))
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
