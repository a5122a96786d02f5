//! The heartbeats that a native session sends when nothing else was sent.

use roverline_protocol::limits;
use roverline_protocol::native::Binary;
use roverline_source::clock::unix_ns;

use crate::connection::frame;
use crate::connection::outbox::Outbox;

/// Slowest heartbeat a client may request.
const HEARTBEAT_MAX_MS: u64 = 5_000;

/// The heartbeats of one session.
pub(super) struct Heartbeat {
    /// Ticks between two heartbeats.
    every: u32,
    ticks: u32,
    sequence: u32,
    sent_before: u64,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Heartbeat { every: 1, ticks: 0, sequence: 0, sent_before: 0 }
    }
}

impl Heartbeat {
    /// Sends a heartbeat if it is due. Any frame is a sign of life, so it is sent only when nothing else was.
    pub(super) fn send_if_due(&mut self, outbox: &Outbox) {
        self.ticks += 1;
        if self.ticks < self.every {
            return;
        }
        self.ticks = 0;
        let sent = outbox.stats().sent;
        if sent == self.sent_before {
            self.sequence = self.sequence.wrapping_add(1);
            outbox.control(frame::binary(&[&Binary::heartbeat(self.sequence, unix_ns())]));
            self.sent_before = sent + 1;
        } else {
            self.sent_before = sent;
        }
    }

    /// Sets the interval that the client requested, within bounds.
    pub(super) fn set_interval(&mut self, heartbeat_ms: u64) {
        let bounded = heartbeat_ms.clamp(limits::HEARTBEAT_MS, HEARTBEAT_MAX_MS);
        self.every = u32::try_from(bounded / limits::HEARTBEAT_MS).unwrap_or(1);
    }
}
