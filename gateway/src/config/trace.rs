//! Settings of traces.

use serde::{Deserialize, Serialize};

/// Settings of traces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TraceSettings {
    /// Whether requests, and what they cause, are recorded as spans.
    pub enabled: bool,
}

impl Default for TraceSettings {
    fn default() -> Self {
        TraceSettings { enabled: true }
    }
}
