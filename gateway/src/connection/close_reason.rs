//! The reasons for which a session is closed.

/// The reason why a session is closed: a close code (RFC 6455, section 7.4.1) and a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseReason {
    /// The close code.
    pub code: u16,
    /// The reason; at most 123 bytes of it are sent.
    pub reason: String,
}

impl CloseReason {
    /// Creates a close reason.
    pub fn new(code: u16, reason: impl Into<String>) -> CloseReason {
        CloseReason { code, reason: reason.into() }
    }

    /// The socket accepted no data for too long.
    pub fn reader_stalled() -> CloseReason {
        CloseReason::new(1006, "the client stopped reading")
    }
}
