//! The log of an export: a line when it begins to fail and when it works again, and only some of these if a collector
//! changes all the time.

use std::collections::VecDeque;
use std::time::Duration;

/// Lines within [`EXPORT_LOG_WINDOW_MS`].
const EXPORT_LOG_LINES: usize = 4;
/// The time within which their number is limited.
const EXPORT_LOG_WINDOW_MS: u64 = 120_000;

/// The state of an export as the log has it.
#[derive(Debug)]
pub(super) struct ExportLog {
    address: String,
    /// Whether the last line says that it fails.
    fails: Option<bool>,
    /// When the last lines were written.
    lines: VecDeque<Duration>,
}

impl ExportLog {
    /// The log of an export to this address.
    pub(super) fn new(address: &str) -> ExportLog {
        ExportLog { address: address.to_owned(), fails: None, lines: VecDeque::new() }
    }

    /// Notes the outcome of a request, `failure` or success, and logs a change.
    pub(super) fn note(&mut self, failure: Option<&str>, now: Duration) {
        match (self.is_due(failure.is_some(), now), failure) {
            (true, Some(reason)) => {
                tracing::warn!(collector = self.address, reason, "traces are not exported");
            }
            (true, None) => tracing::info!(collector = self.address, "traces are exported"),
            (false, _) => {}
        }
    }

    /// Whether there is a change, and a line to say it.
    fn is_due(&mut self, fails: bool, now: Duration) -> bool {
        let window = Duration::from_millis(EXPORT_LOG_WINDOW_MS);
        while self.lines.front().is_some_and(|at| now.saturating_sub(*at) >= window) {
            self.lines.pop_front();
        }
        let is_due = self.fails != Some(fails) && self.lines.len() < EXPORT_LOG_LINES;
        if is_due {
            self.fails = Some(fails);
            self.lines.push_back(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_logged_once() {
        let mut log = ExportLog::new("http://a/v1/traces");
        let second = Duration::from_secs(1);
        assert!(log.is_due(true, second));
        assert!((2..1_000).all(|at| !log.is_due(true, at * second)));
        assert!(log.is_due(false, 1_000 * second) && !log.is_due(false, 1_001 * second));
        assert!(log.is_due(true, 1_002 * second));
    }

    #[test]
    fn a_collector_that_changes_all_the_time_fills_no_log() {
        let mut log = ExportLog::new("http://a/v1/traces");
        let lines = (0..1_200).filter(|at| log.is_due(at % 2 == 0, Duration::from_secs(*at))).count();
        assert_eq!(lines, EXPORT_LOG_LINES * 10);
    }
}
