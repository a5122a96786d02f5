//! Status messages to a client, with repetitions suppressed: a mistake made five hundred times a second
//! is reported once.

use std::collections::HashSet;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use crate::connection::outbox::Outbox;
use crate::dialect::foxglove::server_message::{Level, ServerMessage};
use crate::limits;

/// Status messages for one foxglove client; more are counted.
const FOXGLOVE_STATUS_MESSAGES_PER_S: usize = 20;

const DEDUP_WINDOW: Duration = Duration::from_secs(1);

/// The status messages of one session.
pub(super) struct StatusReporter {
    outbox: Arc<Outbox>,
    window_start: Duration,
    reported: HashSet<String>,
    suppressed: u64,
}

impl StatusReporter {
    pub(super) fn new(outbox: Arc<Outbox>) -> StatusReporter {
        StatusReporter { outbox, window_start: Duration::ZERO, reported: HashSet::new(), suppressed: 0 }
    }

    /// Reports a message, unless the same one or too many were reported within the current window.
    pub(super) fn report(&mut self, level: Level, message: impl Display) {
        let message: String = message.to_string().chars().take(limits::FOXGLOVE_STATUS_CHARS).collect();
        if self.reported.len() >= FOXGLOVE_STATUS_MESSAGES_PER_S || self.reported.contains(&message) {
            self.suppressed += 1;
            return;
        }
        self.outbox
            .control(ServerMessage::Status { level: level as u8, message: &message, id: None }.frame());
        self.reported.insert(message);
    }

    /// Reports a message that replaces the previous one of the same id.
    pub(super) fn set(&self, level: Level, message: &str, id: &str) {
        self.outbox.control(ServerMessage::Status { level: level as u8, message, id: Some(id) }.frame());
    }

    /// Withdraws the message of this id.
    pub(super) fn clear(&self, id: &str) {
        self.outbox.control(ServerMessage::RemoveStatus { status_ids: &[id] }.frame());
    }

    /// Starts a new window if the current one is over at `now` (monotonic), and reports how many
    /// messages were suppressed.
    pub(super) fn reset_window(&mut self, now: Duration) {
        if now.saturating_sub(self.window_start) < DEDUP_WINDOW {
            return;
        }
        self.window_start = now;
        self.reported.clear();
        let suppressed = std::mem::take(&mut self.suppressed);
        if suppressed > 0 {
            let message = format!("{suppressed} more messages like these were not shown");
            self.set(Level::Info, &message, "unsaid");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_messages_are_reported_once_and_counted() {
        let outbox = Outbox::new();
        let mut reporter = StatusReporter::new(outbox.clone());
        reporter.reset_window(DEDUP_WINDOW);
        for _ in 0..500 {
            reporter.report(Level::Error, "no channel 7");
        }
        assert_eq!(outbox.drain_for_test().len(), 1);
        for n in 0..500 {
            reporter.report(Level::Error, format!("no channel {n}"));
        }
        assert_eq!(outbox.drain_for_test().len(), super::FOXGLOVE_STATUS_MESSAGES_PER_S - 1);
        reporter.reset_window(DEDUP_WINDOW + DEDUP_WINDOW / 2);
        assert!(outbox.drain_for_test().is_empty());
        reporter.reset_window(DEDUP_WINDOW * 2);
        let reported = outbox.drain_for_test();
        let text = String::from_utf8_lossy(&reported[0]).into_owned();
        let suppressed = 1_000 - super::FOXGLOVE_STATUS_MESSAGES_PER_S;
        assert!(reported.len() == 1 && text.contains(&format!("{suppressed} more")), "{text}");
        reporter.report(Level::Error, "no channel 7");
        assert_eq!(outbox.drain_for_test().len(), 1);
    }
}
