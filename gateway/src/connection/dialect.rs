//! The name of the protocol that a WebSocket client speaks.

/// The dialect of a session. Each folder of `dialect/` defines one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect(&'static str);

impl Dialect {
    /// A dialect of this name, as shown in `/status` and as a metric's label.
    pub const fn new(name: &'static str) -> Dialect {
        Dialect(name)
    }

    /// The name shown in `/status`.
    pub const fn name(self) -> &'static str {
        self.0
    }
}
