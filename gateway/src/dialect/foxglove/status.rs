//! What a client is told in words. One that errs five hundred times a second is told once.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use roverline_protocol::limits;

use crate::connection::outbox::Outbox;
use crate::dialect::foxglove::server_message::{Answer, Level};

const CALM: Duration = Duration::from_secs(1);

/// The status messages of one session.
pub(super) struct Notices {
    outbox: Arc<Outbox>,
    since: Duration,
    said: HashSet<String>,
    unsaid: u64,
}

impl Notices {
    pub(super) fn new(outbox: Arc<Outbox>) -> Notices {
        Notices { outbox, since: Duration::ZERO, said: HashSet::new(), unsaid: 0 }
    }

    /// Tells it, unless the same was told just now, or too much.
    pub(super) fn tell(&mut self, level: Level, message: impl Into<String>) {
        let message: String = message.into();
        let message: String = message.chars().take(limits::FOXGLOVE_STATUS_CHARS).collect();
        if self.said.len() >= limits::FOXGLOVE_STATUS_MESSAGES_PER_S || self.said.contains(&message) {
            self.unsaid += 1;
            return;
        }
        self.outbox.control(Answer::Status { level: level as u8, message: &message, id: None }.frame());
        self.said.insert(message);
    }

    /// Tells something that takes the place of what was told under the same id.
    pub(super) fn keep(&self, level: Level, message: &str, id: &str) {
        self.outbox.control(Answer::Status { level: level as u8, message, id: Some(id) }.frame());
    }

    /// What was told under this id is so no longer.
    pub(super) fn clear(&self, id: &str) {
        self.outbox.control(Answer::RemoveStatus { status_ids: &[id] }.frame());
    }

    /// Begins anew when a while has passed at `now` (monotonic), and says what was not said.
    pub(super) fn calm_down(&mut self, now: Duration) {
        if now.saturating_sub(self.since) < CALM {
            return;
        }
        self.since = now;
        self.said.clear();
        let unsaid = std::mem::take(&mut self.unsaid);
        if unsaid > 0 {
            let message = format!("{unsaid} more messages like these were not shown");
            self.keep(Level::Info, &message, "unsaid");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_once_and_the_rest_is_counted() {
        let outbox = Outbox::new();
        let mut notices = Notices::new(outbox.clone());
        notices.calm_down(CALM);
        for _ in 0..500 {
            notices.tell(Level::Error, "no channel 7");
        }
        assert_eq!(outbox.drain_for_test().len(), 1);
        for n in 0..500 {
            notices.tell(Level::Error, format!("no channel {n}"));
        }
        assert_eq!(outbox.drain_for_test().len(), limits::FOXGLOVE_STATUS_MESSAGES_PER_S - 1);
        notices.calm_down(CALM + CALM / 2);
        assert!(outbox.drain_for_test().is_empty());
        notices.calm_down(CALM * 2);
        let said = outbox.drain_for_test();
        let text = String::from_utf8_lossy(&said[0]).into_owned();
        let unsaid = 1_000 - limits::FOXGLOVE_STATUS_MESSAGES_PER_S;
        assert!(said.len() == 1 && text.contains(&format!("{unsaid} more")), "{text}");
        notices.tell(Level::Error, "no channel 7");
        assert_eq!(outbox.drain_for_test().len(), 1);
    }
}
