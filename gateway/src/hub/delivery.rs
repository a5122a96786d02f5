//! Delivery of one encoded sample to one outbox: size limit, service level, and the topic's delivery mode.

use std::time::Duration;

use roverline_protocol::native::TopicInfo;
use roverline_protocol::service_level::{Allowance, ServiceLevel};
use roverline_protocol::{Delivery, limits};

use crate::connection::outbox::{Outbox, QueuedFrame};

/// Whether the session's service level excludes the topic.
fn is_suppressed(topic: &TopicInfo, level: ServiceLevel) -> bool {
    level != ServiceLevel::Full && level.allowance(topic.scopes, topic.priority) == Allowance::Nothing
}

/// Queues a frame of `topic` at `now` (monotonic), with at most `queue_length` of them waiting.
pub(super) fn deliver(
    topic: &TopicInfo,
    queue_length: Option<u32>,
    outbox: &Outbox,
    frame: impl Into<QueuedFrame>,
    now: Duration,
) {
    let frame = frame.into();
    match topic.delivery {
        // No client accepts a message this large; it is counted and reported as dropped.
        _ if frame.bytes.len() > limits::OUTBOUND_MESSAGE_BYTES => outbox.count_oversized(topic.id),
        // Replays and retained values obey the session's service level too.
        _ if is_suppressed(topic, outbox.level()) => outbox.count_shed(),
        Delivery::Latest => outbox.latest(topic.id, topic.priority, frame, now),
        // A queue of length one is the same as `latest`.
        Delivery::Every if queue_length == Some(1) => outbox.latest(topic.id, topic.priority, frame, now),
        Delivery::Every => {
            outbox.every(topic.id, topic.priority, frame, now);
            if let Some(most) = queue_length {
                outbox.keep_newest(topic.id, topic.priority, most as usize);
            }
        }
    }
}
