//! State of the Topics screen.

pub use crate::screen::topics::fields::{FieldRow, Fields};

/// The state. The list itself is shared: its rows know rate and age.
#[derive(Debug, Default)]
pub struct State {
    /// Fields of the selected topic.
    pub fields: Fields,
}
