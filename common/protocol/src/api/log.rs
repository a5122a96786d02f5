//! JSON documents of `/api/v2/log`: the level of the log, and its change while the gateway runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits::{LOG_CHANGE_MAX_S, LOG_FILTER_BYTES};

/// Pattern (ECMA 262) of a filter: levels, and levels of targets.
const FILTER_PATTERN: &str = "^([A-Za-z0-9_.:-]+=)?(off|error|warn|info|debug|trace)\
                              (,[A-Za-z0-9_.:-]+=(off|error|warn|info|debug|trace)){0,15}$";

/// Body of `PUT /api/v2/log`: another level, for a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = LogRequest::example())]
pub struct LogRequest {
    /// `off`, `error`, `warn`, `info`, `debug` or `trace`, and levels of parts of the program:
    /// `info,roverline_gateway::hub=trace`.
    #[schemars(length(min = 1, max = LOG_FILTER_BYTES), regex(pattern = FILTER_PATTERN))]
    pub level: String,
    /// How long, seconds; then the configured level is put back. Absent or null: an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = LOG_CHANGE_MAX_S))]
    pub for_s: Option<u64>,
}

impl LogRequest {
    fn example() -> LogRequest {
        LogRequest { level: "info,roverline_gateway::hub=trace".to_owned(), for_s: Some(600) }
    }
}

/// The level of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogDocument {
    /// The level or filter in effect.
    pub level: String,
    /// The configured one.
    pub configured: String,
    /// Seconds until the configured one is put back; null if it is in effect.
    pub remaining_s: Option<f64>,
    /// Identity of the client that changed the level; null if it is the configured one.
    pub changed_by: Option<String>,
    /// In the answer to a change: the processes that were told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<String>,
}
