//! The native dialect, subprotocol `roverline.v1`: JSON text for control, binary for samples.
//!
//! A client says `subscribe` and receives `topics` (what the endpoint has in scope), samples and
//! heartbeats. Unknown operations and fields are answered with a `status`, never with a close, so
//! that both sides can grow.

use serde::{Deserialize, Serialize};

mod binary;

pub use crate::native::binary::{
    Binary, BinaryError, FLAG_REPLAYED, FLAG_STORED, HEARTBEAT_BYTES, KIND_HEARTBEAT, KIND_SAMPLE,
    SAMPLE_HEADER_BYTES, SampleHeader,
};
use crate::service_level::ServiceLevel;
use crate::status::{EndpointDocument, EventDocument};
use crate::{Delivery, Guid, Priority, ScopeSet, Tier};

/// The WebSocket subprotocol (RFC 6455, section 1.9).
pub const SUBPROTOCOL: &str = "roverline.v1";
/// What a client says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum ClientMessage {
    /// Who the client is; optional, for the operators' lists. May be said again.
    Hello {
        /// A name a person recognizes.
        client: String,
        /// Interval of heartbeats in an otherwise silent session, 100 to 5000. Absent: as it was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        heartbeat_ms: Option<u64>,
    },
    /// Proves who the client is, where it could not with its handshake (a browser); answered with
    /// `status`, code `role` or `denied`.
    Auth {
        /// As it was handed out.
        token: String,
    },
    /// What this client has received, at whichever endpoint. Topics that the session subscribes
    /// from now on are replayed from there; each `subscribe` is then answered with `resumed`.
    Resume {
        /// The newest sample of every writer.
        cursors: Vec<Cursor>,
        /// How long ago the client was last up to date, milliseconds: of a writer that it does not
        /// name, it misses what is younger than that. A duration, so that no two clocks must agree.
        age_ms: u64,
    },
    /// Deliver the topics that match, now and when they appear later.
    Subscribe {
        /// Echoed in the answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        /// Topic globs: `/imu/data`, `/motor/*`, `**`.
        topics: Vec<String>,
        /// At most this many samples per second and topic; the newest is kept. Absent: all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_rate_hz: Option<f64>,
        /// Only topics that are about one of these. Absent: all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scopes: Option<ScopeSet>,
    },
    /// Takes subscriptions back; patterns as they were given.
    Unsubscribe {
        /// The patterns to remove.
        topics: Vec<String>,
    },
    /// Asks for the definition of a message type.
    Schema {
        /// `sensor_msgs/msg/Imu`.
        type_name: String,
    },
    /// Time exchange (RFC 5905, section 8): the client's clock when it asked.
    Time {
        /// Client time, nanoseconds, any epoch.
        t0_ns: i64,
    },
    /// Stop the rover; any tier, any client that may.
    EmergencyStop {
        /// The command's identity: repeating it does nothing more.
        id: String,
        /// True engages, false releases.
        #[serde(default = "yes")]
        engage: bool,
        /// Why, for the log.
        #[serde(default)]
        reason: String,
    },
    /// What a switch of endpoints cost the client, for the gateway's events and metrics.
    Switched(SwitchReport),
    /// Send no more than this to this session; the endpoint's own budgets hold as well.
    Budget {
        /// Bytes per second, headers of TCP and IP included; 0 takes the wish back.
        bytes_per_s: u64,
    },
    /// Asks what the HTTP API answers (`/api/v2/openapi.json`), with the rights of this session;
    /// answered with `response`. Requests are answered as they are done, not in their order.
    Request {
        /// Echoed in the answer.
        id: u64,
        /// `GET`, `POST`, ...
        #[serde(default = "get")]
        method: String,
        /// With its query: `/api/v2/locks`, `/api/v2/kv/poi?linearizable=true`.
        path: String,
        /// What is sent with it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<serde_json::Value>,
    },
    /// Asks for what a path answers now, and again whenever that may have changed: what the team
    /// shares, such as `/api/v2/locks`. Each time it is answered with `response`.
    Watch {
        /// Echoed in the answers; one that is in use watches the other path from now on.
        id: u64,
        /// With its query.
        path: String,
    },
    /// Ends a `watch`.
    Unwatch {
        /// Which.
        id: u64,
    },
}

fn get() -> String {
    "GET".to_owned()
}

fn yes() -> bool {
    true
}

/// What an endpoint says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum ServerMessage {
    /// First message of every session.
    Hello {
        /// Major version of this protocol.
        protocol: u32,
        /// The endpoint that speaks, and what it knows of itself.
        endpoint: EndpointDocument,
        /// This session's number, unique in the process.
        session: u64,
        /// Interval of heartbeats in an otherwise silent session.
        heartbeat_ms: u64,
        /// Server time, nanoseconds since the Unix epoch.
        time_ns: i64,
    },
    /// Topics that appeared or changed, and ids of topics that vanished.
    Topics {
        /// New and changed.
        up: Vec<TopicInfo>,
        /// Gone; the id is not used again.
        #[serde(default)]
        down: Vec<u32>,
    },
    /// Answer to `subscribe`.
    Subscribed {
        /// As asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        /// How many topics match now.
        matching: usize,
    },
    /// After a `resume`: what the last `subscribe` replays, and what it cannot.
    Resumed {
        /// Samples that follow, flagged as replayed.
        replayed: u64,
        /// What this endpoint no longer has, or never had.
        #[serde(default)]
        gaps: Vec<Gap>,
    },
    /// This process ends soon, and another will accept at the same address: connect to it anew, or
    /// to one of the alternatives. What it has subscribed goes on until the deadline.
    Drain {
        /// Milliseconds until it closes the session.
        deadline_ms: u64,
        /// Endpoints that would take the client.
        #[serde(default)]
        to: Vec<EndpointDocument>,
    },
    /// The session gets less than it asked for, or all of it again, because of its link.
    Service {
        /// What it gets now.
        level: ServiceLevel,
        /// What was measured.
        reason: String,
        /// Samples not sent because of it, since the session began.
        shed: u64,
    },
    /// Something happened at this endpoint.
    Event(EventDocument),
    /// Answer to `schema`.
    Schema {
        /// As asked.
        type_name: String,
        /// `ros2msg`.
        encoding: String,
        /// The definition, dependencies concatenated.
        text: String,
    },
    /// Answer to `time`.
    Time {
        /// As asked.
        t0_ns: i64,
        /// Server clock when the question arrived, nanoseconds since the Unix epoch.
        t1_ns: i64,
        /// Server clock when the answer left.
        t2_ns: i64,
    },
    /// The endpoints of this gateway as the speaker knows them: all of them when the session becomes
    /// a client's, and then what changes. A standby is told of the speaker alone.
    Directory {
        /// New and changed entries, the speaker's own among them.
        endpoints: Vec<EndpointDocument>,
        /// These are all: whatever was known before is gone.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        complete: bool,
    },
    /// Samples this session did not get, counted since the last such message.
    Dropped {
        /// Per topic.
        topics: Vec<DropCount>,
    },
    /// What became of a command.
    Command {
        /// As given.
        id: String,
        /// Whether it was accepted.
        accepted: bool,
        /// Why not, or what happened.
        message: String,
    },
    /// Answer to `request`, or one of those to `watch`.
    Response {
        /// As asked.
        id: u64,
        /// The status of HTTP (RFC 9110, section 15).
        status: u16,
        /// What HTTP has as its body; a text where that is no JSON.
        #[serde(default)]
        body: serde_json::Value,
    },
    /// Something the client should know; the session goes on.
    Status {
        /// How bad.
        level: Level,
        /// A word for programs: `bad_message`, `unknown_type`, `full`.
        code: String,
        /// A sentence for people.
        message: String,
    },
}

/// Severity of a [`ServerMessage::Status`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Good to know.
    Info,
    /// The request was not carried out as asked.
    Warning,
    /// The request failed.
    Error,
}

/// What a client needs to know of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicInfo {
    /// The endpoint's number for it; binary samples carry it.
    pub id: u32,
    /// The ROS name.
    pub name: String,
    /// The ROS type: `sensor_msgs/msg/Imu`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// What it is about.
    pub scopes: ScopeSet,
    /// Its place in the outbox.
    pub priority: Priority,
    /// Whether samples may replace each other.
    pub delivery: Delivery,
    /// Whether late clients get its last value.
    pub latched: bool,
}

/// A topic and how many of its samples were not delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropCount {
    /// The topic's number.
    pub id: u32,
    /// Samples.
    pub count: u64,
}

/// The newest sample that a client has of one writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The writer.
    pub source: Guid,
    /// The sequence number.
    pub seq: u64,
}

/// Samples of a writer that cannot be replayed: those with `after < seq < before`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// [`TopicInfo::id`].
    pub topic: u32,
    /// The writer.
    pub source: Guid,
    /// The newest that the client has.
    pub after: u64,
    /// The oldest that is replayed, or the next to come.
    pub before: u64,
}

impl Gap {
    /// How many sequence numbers are missing.
    pub const fn count(&self) -> u64 {
        self.before.saturating_sub(self.after).saturating_sub(1)
    }
}

/// What a switch of endpoints cost a client.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SwitchReport {
    /// The endpoint that was in use, as the client addresses it.
    #[serde(default)]
    pub from: Option<String>,
    /// The one in use now.
    #[serde(default)]
    pub to: Option<String>,
    /// `connected`, `closed`, `silent`, `better`, `drain`, `all_down`.
    pub cause: String,
    /// From the last frame on the old link to the first on the new, milliseconds.
    #[serde(default)]
    pub blackout_ms: Option<f64>,
    /// Samples that were replayed.
    #[serde(default)]
    pub replayed: u64,
    /// Samples that both endpoints delivered, of which the client kept one.
    #[serde(default)]
    pub duplicates: u64,
    /// Samples that no endpoint could replay.
    #[serde(default)]
    pub missing: u64,
}

/// Query of a WebSocket's address by which a client says that it only stands by: such a session is
/// no client until it subscribes to more than the emergency scope.
pub const STANDBY_QUERY: &str = "session=standby";
/// Close code of a session that must leave because its endpoint drains (RFC 6455, section 7.4.2:
/// 4000 to 4999 are for private use).
pub const CLOSE_DRAIN: u16 = 4_200;
/// Close code of a session whose client gave no sign of life for too long (for private use; after
/// HTTP's 408).
pub const CLOSE_SILENT: u16 = 4_408;
/// Close code of a session for which there is no room (IANA registry: try again later).
pub const CLOSE_TRY_AGAIN: u16 = 1_013;

/// A topic's place in line, and the tier that first carries it, follow from the same scopes.
pub fn tiers_serving(scopes: ScopeSet) -> impl Iterator<Item = Tier> {
    Tier::ALL.into_iter().filter(move |tier| tier.scopes().intersects(scopes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_read_as_documented() {
        let subscribe: ClientMessage = serde_json::from_str(r#"{"op":"subscribe","topics":["**"]}"#).unwrap();
        assert_eq!(
            subscribe,
            ClientMessage::Subscribe { id: None, topics: vec!["**".into()], max_rate_hz: None, scopes: None }
        );
        let stop: ClientMessage = serde_json::from_str(r#"{"op":"emergency_stop","id":"a"}"#).unwrap();
        assert_eq!(
            stop,
            ClientMessage::EmergencyStop { id: "a".into(), engage: true, reason: String::new() }
        );
    }
}
