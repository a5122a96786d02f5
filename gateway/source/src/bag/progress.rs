//! A progress line on stderr, if it is a terminal.

use std::io::{IsTerminal, Write};

/// Nanoseconds between updates.
const INTERVAL_NS: i64 = 250_000_000;

/// Writes the line if it is enabled and stderr is a terminal.
pub(super) struct Progress {
    enabled: bool,
    last: Option<i64>,
}

impl Progress {
    pub(super) fn new(enabled: bool) -> Progress {
        Progress { enabled: enabled && std::io::stderr().is_terminal(), last: None }
    }

    /// Rewrites the line, at most once per interval.
    pub(super) fn update(&mut self, now: i64, position: i64, total: Option<i64>, messages: u64) {
        if !self.enabled || self.last.is_some_and(|last| now.saturating_sub(last) < INTERVAL_NS) {
            return;
        }
        self.last = Some(now);
        self.write(&format!("\r{}\x1b[K", line(position, total, messages)));
    }

    /// Rewrites the line of a preparation, at most once per interval.
    pub(super) fn update_part(&mut self, now: i64, what: &str, part_done: f64) {
        if self.enabled && self.last.is_none_or(|last| now.saturating_sub(last) >= INTERVAL_NS) {
            self.last = Some(now);
            self.write(&format!("\r{}\x1b[K", part_line(what, part_done)));
        }
    }

    /// Removes the line of a preparation.
    #[cfg_attr(not(feature = "mcap"), allow(dead_code, reason = "used where recordings are unpacked"))]
    pub(super) fn end(&mut self) {
        if self.enabled && self.last.take().is_some() {
            self.write("\r\x1b[K");
        }
    }

    /// Writes the final figures and ends the line.
    pub(super) fn finish(&mut self, position: i64, total: Option<i64>, messages: u64) {
        if self.enabled && self.last.is_some() {
            self.write(&format!("\r{}\x1b[K\n", line(position, total, messages)));
            self.enabled = false;
        }
    }

    fn write(&mut self, text: &str) {
        let mut stderr = std::io::stderr();
        // A terminal that went away is no reason to stop playback.
        if stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()).is_err() {
            self.enabled = false;
        }
    }
}

/// `12.3 / 184.3 s    6.7 %  1234 msgs`
fn line(position: i64, total: Option<i64>, messages: u64) -> String {
    let position = position as f64 / 1e9;
    match total {
        Some(total) if total > 0 => {
            let total = total as f64 / 1e9;
            let percent = (100.0 * position / total).clamp(0.0, 100.0);
            format!("{position:.1} / {total:.1} s  {percent:5.1} %  {messages} msgs")
        }
        _ => format!("{position:.1} s  {messages} msgs"),
    }
}

/// `looking for its topics    6.7 %`
fn part_line(what: &str, part_done: f64) -> String {
    format!("{what}  {:5.1} %", 100.0 * part_done.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_shows_the_position() {
        assert_eq!(line(12_300_000_000, Some(184_300_000_000), 1234), "12.3 / 184.3 s    6.7 %  1234 msgs");
        assert_eq!(line(2_000_000_000, None, 5), "2.0 s  5 msgs");
        assert_eq!(line(0, Some(0), 1), "0.0 s  1 msgs");
        assert_eq!(part_line("looking for its topics", 0.067), "looking for its topics    6.7 %");
    }
}
