//! State of the Links screen.

/// The state.
#[derive(Debug, Default)]
pub struct State {
    /// First failover shown.
    pub scroll: usize,
}
