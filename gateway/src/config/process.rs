//! Settings of each endpoint process.

use serde::{Deserialize, Serialize};

/// Memory of an endpoint process, unless it is configured. Serving needs 20 to 40 MiB; four processes at
/// this limit still fit into a small computer.
const PROCESS_MEMORY_MIB: u64 = 512;
/// Below this an endpoint cannot start.
const LEAST_PROCESS_MEMORY_MIB: u64 = 64;

/// Settings of each endpoint process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProcessSettings {
    /// Most memory for data, MiB; 0: no limit. A process that would need more ends and is restarted.
    pub memory_mib: u64,
}

impl Default for ProcessSettings {
    fn default() -> Self {
        ProcessSettings { memory_mib: PROCESS_MEMORY_MIB }
    }
}

impl ProcessSettings {
    /// Checks the values; an error is a key and a message.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        match self.memory_mib {
            0 | LEAST_PROCESS_MEMORY_MIB..=1_048_576 => Ok(()),
            _ => {
                Err(("memory_mib", format!("write {LEAST_PROCESS_MEMORY_MIB} to 1048576, or 0 for no limit")))
            }
        }
    }
}
