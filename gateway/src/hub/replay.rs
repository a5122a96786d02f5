//! Replay for resuming clients: the samples that a client missed on each topic, sent before anything live.

use std::collections::HashMap;
use std::time::Duration;

use roverline_protocol::native::{Cursor, FLAG_REPLAYED, FLAG_STORED};
use roverline_protocol::service_level::Allowance;

use crate::hub::delivery::deliver;
use crate::hub::encoding::{FrameFormat, SampleEncoder};
use crate::hub::resume::ResumeState;
use crate::hub::state::{Hub, HubState};
use crate::hub::subscriber::Subscriber;
use crate::hub::topic::{SubscriberId, Topic};
use crate::limits;

/// A `resume` applies to subscriptions that follow it within this time.
const RESUME_VALID_MS: u64 = 2_000;

/// How long a `resume` request applies to later subscriptions.
const VALID: Duration = Duration::from_millis(RESUME_VALID_MS);

impl Hub {
    /// Resumes a session: topics that it subscribes to next are replayed from its cursors, or for writers
    /// without a cursor from `age` ago. Returns whether a cursor names a writer that was heard here: then
    /// the client has received telemetry of this rover, here or from another endpoint.
    pub fn resume(&self, id: SubscriberId, cursors: Vec<Cursor>, age: Duration) -> bool {
        let now = roverline_source::clock::monotonic();
        let state = ResumeState::new(cursors, age, now);
        let mut hub = self.lock();
        let HubState { topics, subscribers, .. } = &mut *hub;
        let is_known = topics.values().any(|topic| topic.writers().any(|writer| state.has_cursor_of(writer)));
        if let Some(subscriber) = subscribers.get_mut(&id) {
            subscriber.resumed = Some(state);
        }
        is_known
    }

    /// Sends a session that is subscribed already, and resumed since, the samples that it missed on a topic: they
    /// expired in its outbox, or a lower service level left them out. A budget has no room for that.
    pub(super) fn repair(
        &self,
        topic: &Topic,
        how: (FrameFormat, Option<u32>),
        subscriber: &mut Subscriber,
        throttled: bool,
    ) {
        let level = subscriber.outbox.level();
        let is_full = level.allowance(topic.info.scopes, topic.info.priority) == Allowance::All
            && !subscriber.outbox.has_budget();
        let resumed = subscriber.resumed.as_ref();
        if !is_full || !resumed.is_some_and(|resumed| resumed.may_repair(topic, throttled)) {
            return;
        }
        let now = roverline_source::clock::monotonic();
        subscriber.resumed.take_if(|resumed| now.saturating_sub(resumed.at) > VALID);
        let Some(resumed) = &mut subscriber.resumed else { return };
        let (format, queue_length) = how;
        for sample in resumed.samples_to_repair(topic) {
            let mut encoder = SampleEncoder::new(&topic.info, topic.decoder.as_ref(), &sample, FLAG_REPLAYED);
            deliver(&topic.info, queue_length, &subscriber.outbox, encoder.frame(format), now);
            resumed.replayed += 1;
        }
    }

    /// Sends a new subscriber the samples that it missed on a topic.
    pub(super) fn catch_up(
        &self,
        topic: &Topic,
        how: (FrameFormat, Option<u32>),
        subscriber: &mut Subscriber,
        throttled: bool,
    ) {
        let now = roverline_source::clock::monotonic();
        subscriber.resumed.take_if(|resumed| now.saturating_sub(resumed.at) > VALID);
        let Some(resumed) = &mut subscriber.resumed else {
            for sample in topic.retained() {
                self.send_retained(topic, how, &subscriber.outbox, &sample);
            }
            return;
        };
        for (sample, flag) in resumed.missing_samples(topic, throttled) {
            if flag == FLAG_STORED {
                self.send_retained(topic, how, &subscriber.outbox, &sample);
                continue;
            }
            let mut encoder = SampleEncoder::new(&topic.info, topic.decoder.as_ref(), &sample, flag);
            let (format, queue_length) = how;
            deliver(&topic.info, queue_length, &subscriber.outbox, encoder.frame(format), now);
            if let Some(resumed) = &mut subscriber.resumed {
                resumed.replayed += 1;
            }
        }
    }
}

/// Removes samples until all rings together fit the endpoint's limit, from the least urgent topics first
/// and among those from the fullest. Shrinks to 7/8 of the limit so that it rarely runs.
pub(super) fn shrink_rings(topics: &mut HashMap<u32, Topic>, total: &mut usize) {
    let goal = limits::REPLAY_BYTES / 8 * 7;
    while *total > goal {
        let fullest = |topic: &&mut Topic| (topic.route.priority, topic.ring.bytes());
        let Some(topic) = topics.values_mut().filter(|topic| !topic.ring.is_empty()).max_by_key(fullest)
        else {
            return;
        };
        while *total > goal
            && let Some(freed) = topic.ring.pop()
        {
            *total -= freed;
        }
    }
}

#[cfg(test)]
mod tests;
