//! Documents of `/api/v2/commands`: what changes the rover, done once, with its outcome.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CommandKind {
    /// Publishes one message.
    Publish,
    /// Calls a service.
    Call,
    /// Sends a goal to an action server, and follows it to its result.
    Goal,
    /// Cancels the goal of another command.
    Cancel,
    /// Sets parameters of a node, and reads them back.
    Parameter,
}

impl CommandKind {
    /// The word used on the wire and in events.
    pub const fn word(self) -> &'static str {
        match self {
            CommandKind::Publish => "publish",
            CommandKind::Call => "call",
            CommandKind::Goal => "goal",
            CommandKind::Cancel => "cancel",
            CommandKind::Parameter => "parameter",
        }
    }
}

/// The state of a command: `accepted → dispatched → verified`, or one of the other ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CommandState {
    /// It is in the journal, and will be dispatched.
    Accepted,
    /// It was handed to the source; the rover has not answered.
    Dispatched,
    /// The rover has answered, as `verified_by` says.
    Verified,
    /// It was tried and failed; `reason` says why.
    Failed,
    /// Its time to live ended before it could be dispatched; it was not done.
    Expired,
}

impl CommandState {
    /// The word used on the wire and in events.
    pub const fn word(self) -> &'static str {
        match self {
            CommandState::Accepted => "accepted",
            CommandState::Dispatched => "dispatched",
            CommandState::Verified => "verified",
            CommandState::Failed => "failed",
            CommandState::Expired => "expired",
        }
    }

    /// Whether it does not change any more.
    pub const fn is_final(self) -> bool {
        matches!(self, CommandState::Verified | CommandState::Failed | CommandState::Expired)
    }
}

/// A command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandRequest {
    /// A UUID (RFC 9562; version 7 is recommended), chosen by the client: the same id is done once, at whichever
    /// endpoint and however often it is sent.
    #[schemars(regex(pattern = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"))]
    pub id: String,
    /// What it does.
    pub kind: CommandKind,
    /// The topic, service, action or node.
    #[schemars(regex(pattern = r"^/[A-Za-z0-9_/]{1,200}$"))]
    pub target: String,
    /// The ROS type; may be left out if the graph knows it.
    #[serde(default, rename = "type")]
    #[schemars(regex(pattern = r"^([A-Za-z0-9_]{1,80}(/[A-Za-z0-9_]{1,80}){1,2})?$"))]
    pub type_name: String,
    /// The message, request or goal as JSON; of a parameter command an object of names and values; of a cancel command
    /// `{"command": "ID"}`.
    #[serde(default)]
    pub body: Value,
    /// Within this time it is dispatched, or not done at all; milliseconds, 10 to 60,000. Default: 5,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 60_000))]
    pub ttl_ms: Option<u64>,
    /// When it left the client, in nanoseconds since the Unix epoch by the endpoint's clock: the way to the endpoint spends
    /// from `ttl_ms`. Without it, `ttl_ms` begins when the endpoint has read the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_ns: Option<i64>,
    /// How long a service may take to answer, milliseconds. Default: 5,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 60_000))]
    pub timeout_ms: Option<u64>,
    /// The name by which the client holds the authority over the target, if it is guarded.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(regex(pattern = r"^[^\x00-\x1f\x7f-\x9f]{0,200}$"))]
    pub client: String,
    /// The fencing token of that authority: refused unless it is the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<u64>,
}

/// A command and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CommandDocument {
    /// Its id.
    pub id: String,
    /// What it does.
    pub kind: CommandKind,
    /// The topic, service, action or node.
    pub target: String,
    /// The ROS type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Its state.
    pub state: CommandState,
    /// Why it has failed or expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What verifies it: `service response`, `action result`, `parameter read back`, or `matched subscribers: N`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_by: Option<String>,
    /// The response of the service, the result of the action, or the parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// The id of the goal, 32 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal_id: Option<String>,
    /// The fencing token under which it was dispatched, if the target is guarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<u64>,
    /// The identity that asked for it.
    pub by: String,
    /// The name that the client declares; it proves nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub client: String,
    /// The endpoint that received it first.
    pub endpoint: String,
    /// When it was received, nanoseconds since the Unix epoch.
    pub received_ns: i64,
    /// When it was dispatched, nanoseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispatched_ns: Option<i64>,
    /// When it ended, nanoseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_ns: Option<i64>,
    /// The trace that it belongs to, 32 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

/// The newest commands, newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CommandList {
    /// The commands.
    pub commands: Vec<CommandDocument>,
}
