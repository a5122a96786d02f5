//! State of the Drive screen.

/// The state.
#[derive(Debug, Default)]
pub struct State {}
