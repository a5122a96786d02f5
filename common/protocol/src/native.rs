//! The native dialect, subprotocol `roverline.v1`: JSON text for control, binary for samples.
//!
//! A client sends `subscribe` and receives `topics` (those in the endpoint's scopes), samples and
//! heartbeats. Unknown operations and fields are answered with a `status`, never with a close, so
//! that both sides can evolve.
//!
//! ```
//! use roverline_protocol::native::ClientMessage;
//! let text = r#"{"op":"subscribe","id":1,"topics":["/imu/*"],"max_rate_hz":10.0}"#;
//! let message: ClientMessage = serde_json::from_str(text)?;
//! let ClientMessage::Subscribe { topics, .. } = message else { panic!("not a subscribe") };
//! assert_eq!(topics, ["/imu/*"]);
//! # Ok::<(), serde_json::Error>(())
//! ```

use serde::{Deserialize, Serialize};

mod binary;
mod client_identity;
mod level;
mod publish_message;

pub use crate::native::binary::{
    Binary, BinaryError, FLAG_REPLAYED, FLAG_STORED, FLAG_TRACED, HEARTBEAT_BYTES, KIND_HEARTBEAT,
    KIND_SAMPLE, SAMPLE_HEADER_BYTES, SampleHeader,
};
pub use crate::native::client_identity::ClientIdentity;
pub use crate::native::level::Level;
pub use crate::native::publish_message::PublishMessage;
use crate::service_level::ServiceLevel;
use crate::status::{EndpointDocument, EndpointEvent};
use crate::trace::{ReportedSpan, SampleTimes};
use crate::{Delivery, Guid, MessageEncoding, Priority, ScopeSet, Tier};

/// The WebSocket subprotocol (RFC 6455, section 1.9).
pub const SUBPROTOCOL: &str = "roverline.v1";
/// A message from a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum ClientMessage {
    /// Introduces the client; optional, for the session lists. May be repeated.
    Hello {
        /// A name a person recognizes.
        client: String,
        /// Heartbeat interval in an otherwise silent session, 100 to 5000. Absent: unchanged.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        heartbeat_ms: Option<u64>,
    },
    /// Authenticates a client that could not do so in its handshake (a browser); answered with
    /// `status`, code `role` or `denied`, which counts as a malformed message.
    Auth {
        /// The token.
        token: String,
    },
    /// Cursors of this client, from whichever endpoint. Later subscriptions of the session are
    /// replayed from there; each `subscribe` is then answered with `resumed`. Topics of `every` delivery that the
    /// session is subscribed to already are replayed as well, if a `subscribe` names them again and its link carries
    /// everything: so a client gets what expired in its outbox.
    Resume {
        /// The newest sample of every writer.
        cursors: Vec<Cursor>,
        /// Milliseconds since the client was last up to date: of a writer without a cursor, it
        /// misses the samples younger than that. A duration, so that no clocks must agree.
        age_ms: u64,
        /// The span of the client's change to this endpoint (W3C `traceparent`); the next `subscribe` belongs to it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        traceparent: Option<String>,
    },
    /// Subscribes to matching topics, present and future.
    Subscribe {
        /// Echoed in the answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        /// Topic globs: `/imu/data`, `/motor/*`, `**`.
        topics: Vec<String>,
        /// At most this many samples per second and topic; the newest is kept. Absent: all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_rate_hz: Option<f64>,
        /// Only topics with one of these scopes. Absent: all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scopes: Option<ScopeSet>,
    },
    /// Removes subscriptions; patterns as they were given.
    Unsubscribe {
        /// The patterns to remove.
        topics: Vec<String>,
    },
    /// Requests the definition of a message type.
    Schema {
        /// `sensor_msgs/msg/Imu`.
        type_name: String,
    },
    /// Time exchange (RFC 5905, section 8): the client's clock at departure.
    Time {
        /// Client time, nanoseconds, any epoch.
        t0_ns: i64,
    },
    /// Engages or releases the emergency stop; any tier, any client with permission.
    EmergencyStop {
        /// Command id: repeating it has no further effect.
        id: String,
        /// True engages, false releases.
        #[serde(default = "yes")]
        engage: bool,
        /// Reason, for the log.
        #[serde(default)]
        reason: String,
        /// The span that causes it (W3C `traceparent`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        traceparent: Option<String>,
    },
    /// Reports the cost of a switch of endpoints, for the gateway's events and metrics.
    Switched(SwitchReport),
    /// Limits the bandwidth of this session; the endpoint's own budgets apply as well.
    Budget {
        /// Bytes per second, TCP and IP headers included; 0 removes the limit.
        bytes_per_s: u64,
    },
    /// A request to the HTTP API (`/api/v2/openapi.json`) with the permissions of this session;
    /// answered with `response`. Responses arrive as they complete, not in order.
    Request {
        /// Echoed in the response.
        id: u64,
        /// `GET`, `POST`, ...
        #[serde(default = "get")]
        method: String,
        /// With its query: `/api/v2/locks`, `/api/v2/kv/poi?linearizable=true`.
        path: String,
        /// Request body.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<serde_json::Value>,
        /// The span that causes it (W3C `traceparent`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        traceparent: Option<String>,
    },
    /// Watches an API path of the coordination store, such as `/api/v2/locks`: its result is sent
    /// now and whenever it may have changed, each time as a `response`. `/api/v2/metrics` is sent once a second,
    /// `/api/v2/alarms` when an alarm changes.
    Watch {
        /// Echoed in the responses; an id in use is moved to the new path.
        id: u64,
        /// With its query.
        path: String,
    },
    /// Ends a `watch`.
    Unwatch {
        /// Its id.
        id: u64,
    },
    /// Publishes a message. What is not published is answered with a `status` (`refused`, `expired`, `bad_command`), once
    /// a second at most.
    Publish(PublishMessage),
    /// Spans of the client itself, for `GET /api/v2/traces`. Only if `hello` says `traces`.
    Spans {
        /// At most [`REPORTED_SPANS`](crate::limits::REPORTED_SPANS); more are dropped.
        spans: Vec<ReportedSpan>,
    },
    /// When traced samples arrived at this client, for `GET /api/v2/traces`. Only of samples with
    /// [`FLAG_TRACED`], and only if `hello` says `traces`.
    SampleTimes {
        /// At most [`REPORTED_SAMPLES`](crate::limits::REPORTED_SAMPLES); more are dropped.
        samples: Vec<SampleTimes>,
    },
}

fn get() -> String {
    "GET".to_owned()
}

fn yes() -> bool {
    true
}

/// A message from an endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum ServerMessage {
    /// First message of every session.
    Hello {
        /// Major version of this protocol.
        protocol: u32,
        /// The endpoint.
        endpoint: EndpointDocument,
        /// Session number, unique in the process.
        session: u64,
        /// Heartbeat interval in an otherwise silent session.
        heartbeat_ms: u64,
        /// Server time, nanoseconds since the Unix epoch.
        time_ns: i64,
        /// Whether the endpoint records traces and takes `spans`.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        traces: bool,
        /// Who the client is to the endpoint.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client: Option<ClientIdentity>,
    },
    /// Topics that appeared or changed, and ids of topics that vanished.
    Topics {
        /// New and changed.
        up: Vec<TopicInfo>,
        /// Removed; ids are not reused.
        #[serde(default)]
        down: Vec<u32>,
    },
    /// Answer to `subscribe`.
    Subscribed {
        /// As requested.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        /// Number of topics that match now.
        matching: usize,
    },
    /// Follows a `subscribe` after a `resume`: which samples are replayed and which cannot be.
    Resumed {
        /// Samples that follow, flagged as replayed.
        replayed: u64,
        /// Samples this endpoint no longer has, or never had.
        #[serde(default)]
        gaps: Vec<Gap>,
    },
    /// This process shuts down soon and its successor accepts at the same address: reconnect there,
    /// or to one of the alternatives. Subscriptions are served until the deadline.
    Drain {
        /// Milliseconds until it closes the session.
        deadline_ms: u64,
        /// Endpoints that would accept the client.
        #[serde(default)]
        to: Vec<EndpointDocument>,
    },
    /// The service level of the session changed because of its link.
    Service {
        /// The new level.
        level: ServiceLevel,
        /// The measurement that caused it.
        reason: String,
        /// Samples shed because of it since the session began.
        shed: u64,
    },
    /// An event at this endpoint.
    Event(EndpointEvent),
    /// Answer to `schema`.
    Schema {
        /// As requested.
        type_name: String,
        /// `ros2msg`, or for a topic that is not CDR that of its recording.
        encoding: String,
        /// The definition, dependencies concatenated.
        text: String,
    },
    /// Answer to `time`.
    Time {
        /// As requested.
        t0_ns: i64,
        /// Server clock when the request arrived, nanoseconds since the Unix epoch.
        t1_ns: i64,
        /// Server clock when the answer left.
        t2_ns: i64,
    },
    /// Endpoints of this gateway as this one knows them: all of them when the session becomes a
    /// client's, later the changes. A standby only receives the entry of this endpoint.
    Directory {
        /// New and changed entries, including this endpoint.
        endpoints: Vec<EndpointDocument>,
        /// The list is complete: previously known entries are gone.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        complete: bool,
    },
    /// Samples this session did not get, counted since the last such message.
    Dropped {
        /// Per topic.
        topics: Vec<DropCount>,
    },
    /// Result of a command.
    Command {
        /// As given.
        id: String,
        /// Whether it was accepted.
        accepted: bool,
        /// Reason of a rejection, or what happened.
        message: String,
    },
    /// Response to `request`, or one of those to `watch`.
    Response {
        /// As requested.
        id: u64,
        /// HTTP status code (RFC 9110, section 15).
        status: u16,
        /// The HTTP response body; a string if it is not JSON.
        #[serde(default)]
        body: serde_json::Value,
    },
    /// A notice for the client; the session goes on.
    Status {
        /// Severity.
        level: Level,
        /// A code for programs: `bad_message`, `unknown_type`, `full`.
        code: String,
        /// A sentence for people.
        message: String,
    },
}

/// Description of a topic for clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicInfo {
    /// The endpoint's id of the topic, as used in binary samples.
    pub id: u32,
    /// ROS name.
    pub name: String,
    /// ROS type: `sensor_msgs/msg/Imu`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Scopes the topic belongs to.
    pub scopes: ScopeSet,
    /// Its priority in the outbox.
    pub priority: Priority,
    /// Whether samples may replace each other.
    pub delivery: Delivery,
    /// Whether late subscribers get its last value.
    pub latched: bool,
    /// The encoding of its messages; CDR if it is left out.
    #[serde(default, skip_serializing_if = "MessageEncoding::is_cdr")]
    pub encoding: MessageEncoding,
    /// The number of last values of each publisher that a late subscriber of a latched topic gets; 1 if it is left out.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub history_depth: u32,
}

fn one() -> u32 {
    1
}

fn is_one(depth: &u32) -> bool {
    *depth == 1
}

/// Undelivered samples of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropCount {
    /// The topic's id.
    pub id: u32,
    /// Number of samples.
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
    /// The newest sample that the client has.
    pub after: u64,
    /// The oldest that is replayed, or the next to come.
    pub before: u64,
}

impl Gap {
    /// Number of missing sequence numbers.
    pub const fn count(&self) -> u64 {
        self.before.saturating_sub(self.after).saturating_sub(1)
    }
}

/// Cost of a switch of endpoints for a client.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SwitchReport {
    /// The previous endpoint, as the client addresses it.
    #[serde(default)]
    pub from: Option<String>,
    /// The current endpoint.
    #[serde(default)]
    pub to: Option<String>,
    /// `connected`, `closed`, `silent`, `better`, `drain`, `all_down`.
    pub cause: String,
    /// From the last frame on the old link to the first on the new one, milliseconds.
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
    /// The trace of the switch, 32 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

/// Query string by which a WebSocket client declares a standby session, which does not count as a
/// client until it subscribes to more than the emergency scope.
pub const STANDBY_QUERY: &str = "session=standby";
/// Close code of a session that must leave because its endpoint drains (RFC 6455, section 7.4.2:
/// 4000 to 4999 are for private use).
pub const CLOSE_DRAIN: u16 = 4_200;
/// Close code of a session whose client gave no sign of life for too long (for private use; after
/// HTTP's 408).
pub const CLOSE_SILENT: u16 = 4_408;
/// Close code of a session that was rejected because the endpoint is full (IANA registry: try again
/// later).
pub const CLOSE_TRY_AGAIN: u16 = 1_013;

/// Tiers that serve at least one of these scopes.
pub fn tiers_serving(scopes: ScopeSet) -> impl Iterator<Item = Tier> {
    Tier::ALL.into_iter().filter(move |tier| tier.scopes().intersects(scopes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_parse_as_documented() {
        let subscribe: ClientMessage = serde_json::from_str(r#"{"op":"subscribe","topics":["**"]}"#).unwrap();
        assert_eq!(
            subscribe,
            ClientMessage::Subscribe { id: None, topics: vec!["**".into()], max_rate_hz: None, scopes: None }
        );
        let stop: ClientMessage = serde_json::from_str(r#"{"op":"emergency_stop","id":"a"}"#).unwrap();
        assert_eq!(
            stop,
            ClientMessage::EmergencyStop {
                id: "a".into(),
                engage: true,
                reason: String::new(),
                traceparent: None
            }
        );
    }
}
