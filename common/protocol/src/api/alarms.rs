//! JSON documents of `/api/v2/alarms`: conditions that need an operator, and what operators did about them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Tier;

/// Most characters of a comment or a reason.
pub const ALARM_NOTE_CHARS: usize = 200;
/// Shortest time for which an alarm can be shelved, seconds.
pub const SHELF_MIN_S: u64 = 1;
/// Longest time for which an alarm can be shelved, seconds.
pub const SHELF_MAX_S: u64 = 86_400;
/// Time for which an alarm is shelved unless the request gives another, seconds.
pub const SHELF_DEFAULT_S: u64 = 600;

/// How bad an alarm is; the words of Yamcs, least first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum AlarmSeverity {
    /// Worth an eye.
    Watch,
    /// Needs attention soon.
    #[default]
    Warning,
    /// Needs attention now.
    Distress,
    /// The run is at risk.
    Critical,
    /// People or the rover are at risk.
    Severe,
}

impl AlarmSeverity {
    /// All severities, least first.
    pub const ALL: [AlarmSeverity; 5] = [
        AlarmSeverity::Watch,
        AlarmSeverity::Warning,
        AlarmSeverity::Distress,
        AlarmSeverity::Critical,
        AlarmSeverity::Severe,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            AlarmSeverity::Watch => "watch",
            AlarmSeverity::Warning => "warning",
            AlarmSeverity::Distress => "distress",
            AlarmSeverity::Critical => "critical",
            AlarmSeverity::Severe => "severe",
        }
    }

    /// The severity of this name.
    pub fn named(name: &str) -> Option<AlarmSeverity> {
        AlarmSeverity::ALL.into_iter().find(|severity| severity.name() == name)
    }
}

/// What raises an alarm.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum AlarmSource {
    /// A limit on a field of a topic: `[[alarm]]` and its defaults.
    #[default]
    Limit,
    /// A status on `/diagnostics`.
    Diagnostics,
    /// An expected topic that is missing or slow.
    Topic,
    /// Endpoints that are down or stand by for none.
    Redundancy,
    /// A computer's clock.
    Clock,
    /// A queue whose messages nobody takes.
    Queue,
    /// A disk that is nearly full.
    Disk,
}

impl AlarmSource {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            AlarmSource::Limit => "limit",
            AlarmSource::Diagnostics => "diagnostics",
            AlarmSource::Topic => "topic",
            AlarmSource::Redundancy => "redundancy",
            AlarmSource::Clock => "clock",
            AlarmSource::Queue => "queue",
            AlarmSource::Disk => "disk",
        }
    }
}

/// The state of an alarm, after ISA 18.2. Shelving does not change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AlarmState {
    /// Nobody has acknowledged it, or not since it became worse. The condition may be over, see `latched`.
    Raised,
    /// Somebody has acknowledged it, and the condition persists.
    Acknowledged,
    /// The condition is over, and nothing is left to acknowledge.
    Cleared,
}

impl AlarmState {
    /// All states, the most urgent first.
    pub const ALL: [AlarmState; 3] = [AlarmState::Raised, AlarmState::Acknowledged, AlarmState::Cleared];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            AlarmState::Raised => "raised",
            AlarmState::Acknowledged => "acknowledged",
            AlarmState::Cleared => "cleared",
        }
    }

    /// The state of this name.
    pub fn named(name: &str) -> Option<AlarmState> {
        AlarmState::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// How far an alarm's value can be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AlarmQuality {
    /// The value is valid and recent.
    #[default]
    Good,
    /// The newest value is NaN, infinite or absent; it neither raises nor clears the alarm.
    Invalid,
    /// No value has arrived for some time; the alarm stays as it was.
    Stale,
    /// The answering endpoint does not evaluate this alarm: the value is that of the last transition.
    Remote,
}

/// Who acknowledged an alarm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AcknowledgementDocument {
    /// Identity: a token's name, or the address of a client without one.
    pub by: String,
    /// The unverified name that the client of that identity declares; null if it declares none.
    pub client: Option<String>,
    /// When, nanoseconds since the Unix epoch.
    pub at_ns: i64,
    /// Seconds since then.
    pub age_s: f64,
    /// Severity that was acknowledged. An alarm that becomes worse is raised again.
    pub severity: AlarmSeverity,
    /// The comment; empty if there is none.
    pub comment: String,
}

/// Who shelved an alarm, and until when. Its state goes on changing, but it does not count as open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ShelfDocument {
    /// Identity: a token's name, or the address of a client without one.
    pub by: String,
    /// The unverified name that the client of that identity declares; null if it declares none.
    pub client: Option<String>,
    /// When, nanoseconds since the Unix epoch.
    pub at_ns: i64,
    /// When it ends, nanoseconds since the Unix epoch.
    pub until_ns: i64,
    /// Seconds until then.
    pub remaining_s: f64,
    /// The reason.
    pub reason: String,
}

/// An alarm that was raised at least once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AlarmDocument {
    /// Its id: `motor-temperature/motor/front_left/temperature`, `redundancy`.
    pub id: String,
    /// Its name for people: `motor temperature`.
    pub name: String,
    /// What raises it.
    pub source: AlarmSource,
    /// Topic of the value, of the status or of the samples that are missed.
    pub topic: Option<String>,
    /// Field of the value.
    pub field: Option<String>,
    /// Severity of the condition now; of its worst while it is over.
    pub severity: AlarmSeverity,
    /// The worst severity since it was raised.
    pub worst: AlarmSeverity,
    /// Its state.
    pub state: AlarmState,
    /// Whether the condition persists.
    pub active: bool,
    /// Whether the condition is over and the alarm waits for an acknowledgement.
    pub latched: bool,
    /// Who shelved it; null if it is not shelved.
    pub shelved: Option<ShelfDocument>,
    /// The value; null if there is none, or it is NaN or infinite.
    pub value: Option<f64>,
    /// Unit of value and limit; empty if it is not known.
    pub unit: String,
    /// The limit that the value exceeds, or exceeded last; null if there is none.
    pub limit: Option<f64>,
    /// How far the value can be trusted.
    pub quality: AlarmQuality,
    /// What is the matter: `111 °C > 85 °C`.
    pub text: String,
    /// When it was raised, nanoseconds since the Unix epoch.
    pub raised_ns: i64,
    /// Seconds since then.
    pub age_s: f64,
    /// When the condition began, ended or changed its severity last, nanoseconds since the Unix epoch.
    pub changed_ns: i64,
    /// When the condition ended, nanoseconds since the Unix epoch; null while it persists.
    pub ended_ns: Option<i64>,
    /// The newest acknowledgement since it was raised; null if there is none.
    pub acknowledgement: Option<AcknowledgementDocument>,
    /// Number of the occurrence: how often it was raised after it was cleared. An acknowledgement is of one.
    pub occurrence: u64,
    /// How often the condition began in this occurrence.
    pub triggers: u64,
    /// Endpoint that evaluated it last.
    pub evaluated_by: Option<Tier>,
    /// Trace of the sample that raised it, if it was traced.
    pub trace_id: Option<String>,
    /// Whether it is in the shared store. Acknowledging needs that.
    pub shared: bool,
}

/// Numbers of alarms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlarmTotals {
    /// Alarms that are raised or acknowledged, without the shelved ones.
    pub open: usize,
    /// Open alarms that nobody has acknowledged.
    pub unacknowledged: usize,
    /// Open alarms whose condition is over.
    pub latched: usize,
    /// Shelved alarms that would be open otherwise.
    pub shelved: usize,
    /// Cleared alarms.
    pub cleared: usize,
    /// Open alarms by severity; all severities are there.
    pub by_severity: BTreeMap<AlarmSeverity, usize>,
    /// The worst severity of the open ones; null if none is open.
    pub worst: Option<AlarmSeverity>,
}

/// All alarms: the unshelved first, then by state (raised, acknowledged, cleared), severity (the worst first) and
/// time (the newest first).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AlarmList {
    /// The alarms that match.
    pub alarms: Vec<AlarmDocument>,
    /// Numbers of all alarms, whether they match or not.
    pub totals: AlarmTotals,
    /// Why alarms are not shared at present, so that they cannot be acknowledged; null if they are.
    pub unshared: Option<String>,
    /// Alarms that are left out because there are too many.
    pub dropped: usize,
    /// When this list was made, nanoseconds since the Unix epoch.
    pub at_ns: i64,
}

/// Body of `POST /api/v2/alarms/{id}/acknowledge`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(example = AcknowledgeRequest::example())]
pub struct AcknowledgeRequest {
    /// A comment.
    #[schemars(length(max = 200))]
    pub comment: String,
    /// Occurrence that the operator saw. If the alarm was raised anew since, nothing is acknowledged. Absent: the
    /// present one.
    #[schemars(range(max = 9_007_199_254_740_991_u64))]
    pub occurrence: Option<u64>,
}

impl AcknowledgeRequest {
    /// A valid example.
    pub fn example() -> AcknowledgeRequest {
        AcknowledgeRequest { comment: "smells burnt, stopping".to_owned(), occurrence: None }
    }
}

/// Body of `POST /api/v2/alarms/{id}/shelve`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = ShelveRequest::example())]
pub struct ShelveRequest {
    /// The reason.
    #[schemars(length(min = 1, max = 200))]
    pub reason: String,
    /// For how long, seconds; 600 if absent.
    #[serde(default = "default_shelf_s")]
    #[schemars(range(min = 1, max = 86_400))]
    pub duration_s: u64,
}

impl ShelveRequest {
    /// A valid example.
    pub fn example() -> ShelveRequest {
        ShelveRequest { reason: "sensor is broken".to_owned(), duration_s: SHELF_DEFAULT_S }
    }
}

const fn default_shelf_s() -> u64 {
    SHELF_DEFAULT_S
}

/// Body of `POST /api/v2/alarms/{id}/unshelve`: an empty object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnshelveRequest {}
