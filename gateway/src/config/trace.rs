//! Settings of traces.

use serde::{Deserialize, Serialize};

/// Most samples that are traced of a topic, samples per second.
const SAMPLES_PER_S_MAX: u32 = 1_000;

/// Settings of traces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TraceSettings {
    /// Whether requests, and what they cause, are recorded as spans.
    pub enabled: bool,
    /// Samples of each topic whose way is traced, samples per second; 0: none.
    pub samples_per_s: u32,
}

impl Default for TraceSettings {
    fn default() -> Self {
        TraceSettings { enabled: true, samples_per_s: 1 }
    }
}

impl TraceSettings {
    /// The key that has no valid value, and why.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        match self.samples_per_s {
            0..=SAMPLES_PER_S_MAX => Ok(()),
            _ => Err(("samples_per_s", format!("write a number from 0 to {SAMPLES_PER_S_MAX}"))),
        }
    }
}
