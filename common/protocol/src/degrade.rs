//! What a session gets when its link cannot carry all: a ladder of service levels, and the rule by
//! which a session climbs down and up again.

use serde::{Deserialize, Serialize};

/// A step of the ladder, best first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceLevel {
    /// Everything that was subscribed, as it comes.
    #[default]
    Full,
    /// Everything, at lower rates.
    Reduced,
    /// State and mission, and what is more urgent.
    Mission,
    /// What keeps people and rover safe.
    Safety,
    /// Find it and stop it.
    Critical,
}

impl ServiceLevel {
    /// The word used on the wire and on screen.
    pub const fn word(self) -> &'static str {
        match self {
            ServiceLevel::Full => "full",
            ServiceLevel::Reduced => "reduced",
            ServiceLevel::Mission => "mission",
            ServiceLevel::Safety => "safety",
            ServiceLevel::Critical => "critical",
        }
    }
}
