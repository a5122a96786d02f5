//! The publisher of the emergency stop: it publishes the latch's state into ROS.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use roverline_schema::cdr;
use roverline_source::{Publication, PublishError, SourceControl};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::emergency_stop::state::StopState;

/// Pause between two attempts while the source takes nothing.
const RETRY: Duration = Duration::from_millis(50);
/// Interval at which an engaged stop is published again: a graph may gain late subscribers.
const REPEAT: Duration = Duration::from_secs(1);

/// The newest state that the source has accepted.
#[derive(Debug, Default)]
pub(crate) struct Published {
    engaged: Option<bool>,
}

impl Published {
    /// Whether the source has this state. A rover that was never stopped needs no message.
    pub(crate) fn has(&self, engaged: bool) -> bool {
        self.engaged.unwrap_or(false) == engaged
    }
}

/// Publishes each change until the source accepts it, and if `repeated` once a second while engaged.
pub(crate) async fn run(
    mut changes: watch::Receiver<StopState>,
    publisher: Arc<dyn SourceControl>,
    topic: &str,
    repeated: bool,
    published: &Mutex<Published>,
) {
    let (mut known, mut published_at, mut failing) = (false, Instant::now(), false);
    loop {
        let engaged = changes.borrow_and_update().engaged;
        let repeat = repeated && engaged && published_at.elapsed() >= REPEAT;
        if engaged != known || repeat {
            let result = publisher.publish(publication(topic, engaged));
            if let Err(error) = &result
                && !failing
            {
                tracing::warn!(%error, "emergency stop was not published");
            }
            failing = result.is_err();
            if result.is_ok() {
                published.lock().engaged = Some(engaged);
            }
            // If the publisher is busy, it is tried again; a recording never accepts it.
            if matches!(result, Ok(()) | Err(PublishError::ReadOnly(_))) {
                (known, published_at) = (engaged, Instant::now());
            }
        }
        let next = if engaged != known { RETRY } else { REPEAT.saturating_sub(published_at.elapsed()) };
        tokio::select! {
            changed = changes.changed() => if changed.is_err() {
                // The latch is gone, and the endpoint with it.
                return;
            },
            () = tokio::time::sleep(next), if engaged != known || (repeated && engaged) => {}
        }
    }
}

fn publication(topic: &str, engaged: bool) -> Publication {
    let mut writer = cdr::Writer::new();
    writer.bool(engaged);
    Publication {
        topic: topic.to_owned(),
        type_name: "std_msgs/msg/Bool".to_owned(),
        payload: Bytes::from(writer.finish()),
        latched: true,
    }
}
