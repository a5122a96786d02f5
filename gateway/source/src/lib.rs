//! The source contract, and every implementation of it: live ROS 2, recordings, the built-in rover and
//! another gateway. A source runs on its own thread, may block there, and hands raw CDR to a [`Sink`].
//! Only this crate and the schema crate know ROS.

pub mod clock;

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use roverline_protocol::routing::Route;
use roverline_protocol::status::UpstreamDocument;
use roverline_protocol::{MessageEncoding, SampleId};
use tokio::sync::oneshot;

pub mod bag;
mod command_log;
#[cfg(feature = "dds")]
pub mod dds;
mod dds_options;
#[cfg(not(feature = "dds"))]
mod dds_stub;
#[cfg(not(feature = "dds"))]
pub mod dds {
    //! The DDS source in builds without the `dds` feature.
    pub use crate::dds_stub::*;
}
pub mod fanout_sink;
mod graph;
mod limits;
mod playback;
pub mod r2r;
#[cfg(test)]
mod recording_sink;
pub mod ros;
mod service;
mod shared_clock;
pub mod sim;
pub mod upstream;

pub use crate::graph::{Graph, GraphService, GraphTopic, NodeInfo};
pub use crate::playback::{Playback, PlaybackControl, PlaybackStatus};
pub use crate::service::{Call, CallError, Handler, Reply, RequestFailure, Service, TopicListener};

/// The hub's short id of a topic, valid for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicKey(pub u32);

/// The declaration of a topic by its source.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicDecl {
    /// The ROS name: `/imu/data`.
    pub name: String,
    /// The ROS type: `sensor_msgs/msg/Imu`.
    pub type_name: String,
    /// The QoS that its publishers offer.
    pub qos: Qos,
    /// The encoding of its messages.
    pub encoding: MessageEncoding,
    /// The number of last messages that each publisher keeps for late subscribers, if the topic is transient local.
    pub history_depth: u32,
    /// The message definition with its dependencies, if the source carries it.
    pub schema: Option<SchemaText>,
    /// The route assigned by the gateway that the source reads from; `None` means this gateway's
    /// routing table decides.
    pub route: Option<Route>,
}

/// The part of a publisher's QoS that decides what a late or slow subscriber gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Qos {
    /// Lost samples are retransmitted.
    pub reliable: bool,
    /// A late subscriber receives the last samples.
    pub transient_local: bool,
}

/// A message definition as stored in a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaText {
    /// `ros2msg` or `ros2idl`; for messages that are not CDR, any schema encoding of the MCAP specification.
    pub encoding: String,
    /// The definition. Those of ROS are followed by their dependencies, separated by lines of `=`; binary ones
    /// (`protobuf`, `flatbuffer`) are in base64.
    pub text: Arc<str>,
}

/// One undecoded message.
#[derive(Clone, Debug)]
pub struct RawSample {
    /// The identity of the sample, equal in every process that receives it.
    pub id: SampleId,
    /// The publisher's timestamp, nanoseconds since the Unix epoch; 0 if there is none.
    pub source_time_ns: i64,
    /// When this process received it (for a recording: when it was recorded), nanoseconds since the
    /// Unix epoch.
    pub receive_time_ns: i64,
    /// The message in its topic's encoding: CDR with its 4-byte encapsulation header, unless its declaration says
    /// otherwise.
    pub payload: Bytes,
}

/// The state of a source, for `/health` and the log.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceState {
    /// Not yet producing.
    Starting,
    /// Waiting for the first subscriber (a recording).
    Waiting,
    /// Producing.
    Running,
    /// Played to the end; the hub retains the last values.
    Finished,
    /// Cannot reach what it reads from and keeps retrying; with the reason.
    Disconnected(String),
    /// Cannot continue; with the reason and the remedy.
    Failed(String),
}

/// Receives everything that a source produces. Every method returns immediately and may be called from
/// any thread.
pub trait Sink: Send + Sync {
    /// Changes whenever [`Sink::wants`] may give a different answer: an endpoint widens its scopes to
    /// cover for another endpoint and narrows them again. A source that observes a change declares its
    /// topics again; [`Sink::topic_up`] refuses those that are no longer wanted.
    fn generation(&self) -> u64 {
        0
    }
    /// Whether this endpoint's scopes include the topic. A source subscribes to no others.
    fn wants(&self, name: &str, type_name: &str) -> bool;
    /// A topic appeared or its declaration changed. Returns `None` if the topic is not wanted or the
    /// topic limit is reached. Idempotent: a repeated declaration returns the same key.
    fn topic_up(&self, decl: TopicDecl) -> Option<TopicKey>;
    /// The last publisher of a topic went away.
    fn topic_down(&self, key: TopicKey);
    /// A message arrived.
    fn sample(&self, key: TopicKey, sample: RawSample);
    /// The gateway that the source reads from traces the next sample of this topic, so that this one does as well.
    fn trace_next(&self, key: TopicKey) {
        let _ = key;
    }
    /// A message of a known age: a value retained by the gateway that the source reads from. It becomes
    /// the topic's last value but is no evidence that its publisher is alive.
    fn stored(&self, key: TopicKey, sample: RawSample, age: Duration) {
        let _ = age;
        self.sample(key, sample);
    }
    /// Another run of the source has joined the graph beside the present one: what was delivered comes again.
    fn rejoined(&self) {}
    /// A sign of life, several times a second, of a source that may get stuck in its library.
    fn alive(&self) {}
    /// The whole ROS graph as currently known.
    fn graph(&self, graph: Graph);
    /// The source's own state changed.
    fn state(&self, state: SourceState);
    /// The current state of the endpoints of the gateway that the source reads from.
    fn upstream(&self, endpoints: Vec<UpstreamDocument>) {
        let _ = endpoints;
    }
    /// The position and the state of a recording.
    fn playback(&self, playback: Playback) {
        let _ = playback;
    }
    /// Whether a client is subscribed. A recording that waits for its first subscriber polls this.
    fn has_listener(&self) -> bool;
}

/// A message to be published to ROS.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The ROS name: `/emergency_stop`.
    pub topic: String,
    /// The ROS type: `std_msgs/msg/Bool`.
    pub type_name: String,
    /// CDR with its 4-byte encapsulation header.
    pub payload: Bytes,
    /// Offered as transient local, so that late subscribers receive it.
    pub latched: bool,
}

/// A topic that will be published to.
#[derive(Clone, Debug)]
pub struct Advertisement {
    /// The ROS name.
    pub topic: String,
    /// The ROS type.
    pub type_name: String,
    /// Whether late subscribers will receive its messages.
    pub latched: bool,
    /// The topic's writer stays open as long as this lives.
    pub keeper: Weak<()>,
}

/// The maximum number of services that one source offers.
pub const MAX_SERVICES: usize = 64;

/// Controls a running source: publishes, serves and calls in the graph that the source reads from,
/// steers playback, and forwards emergency stops. Nothing here blocks.
pub trait SourceControl: Send + Sync {
    /// Queues a message for the source's thread. An error says why it cannot be sent.
    fn publish(&self, publication: Publication) -> Result<(), PublishError>;

    /// Opens a topic's writer, so that the graph shows it and subscribers match it before the first message.
    fn advertise(&self, advertisement: Advertisement) -> Result<(), PublishError> {
        let _ = advertisement;
        Ok(())
    }

    /// Offers a service until it is withdrawn or the source ends. It replaces a service of the same
    /// name.
    fn offer(&self, service: Service) -> Result<(), PublishError> {
        Err(PublishError::Failed(format!("{}: this source offers no services", service.name)))
    }

    /// Withdraws the service of this name if it is closed; a service that replaced it stays.
    fn withdraw(&self, name: &str) {
        let _ = name;
    }

    /// Calls a service. An error says why the call cannot be made; otherwise the result arrives through
    /// `Call::answer` within the call's timeout.
    fn call(&self, call: Call) -> Result<(), PublishError> {
        Err(PublishError::Failed(format!("{}: this source calls no services", call.service)))
    }

    /// Has the source opened again beside the running one, which then ends: a new participant of the graph. `false`
    /// if the source is not in one.
    fn rejoin(&self) -> bool {
        false
    }

    /// Subscribes to a topic independently of the hub, until the receiver is dropped.
    fn listen(&self, listen: TopicListener) -> Result<(), PublishError> {
        Err(PublishError::Failed(format!("{}: this source listens to nothing else", listen.topic)))
    }

    /// Controls the playback of a recording, in this process and in the others that play it.
    fn control_playback(&self, control: PlaybackControl) -> Result<(), PublishError> {
        let _ = control;
        Err(PublishError::Failed("this source is no recording".to_owned()))
    }

    /// Forwards an emergency stop to the gateway that the source reads from. An error says why it
    /// cannot be sent; otherwise the result arrives through the request's `answer`.
    fn forward_emergency_stop(&self, request: EmergencyStopRequest) -> Result<(), PublishError> {
        let _ = request;
        Err(PublishError::Failed("this source leads to no other gateway".to_owned()))
    }

    /// Sends a request to the HTTP API of the gateway that the source reads from, with the rights of this one's link.
    /// Returns whether it was begun; the response arrives through its `answer`, which is dropped if nothing comes.
    fn request_upstream(&self, request: UpstreamRequest) -> bool {
        drop(request);
        false
    }
}

/// A request to the HTTP API of the gateway that a source reads from.
#[derive(Debug)]
pub struct UpstreamRequest {
    /// `GET`, or `POST` for one that the rover does once however often it is sent.
    pub method: &'static str,
    /// With its query.
    pub path: String,
    /// The body.
    pub body: Option<serde_json::Value>,
    /// The span that causes it (W3C `traceparent`).
    pub traceparent: Option<String>,
    /// The status and the body of the response.
    pub answer: oneshot::Sender<(u16, serde_json::Value)>,
}

/// An emergency stop to be forwarded to the gateway that a source reads from.
#[derive(Debug)]
pub struct EmergencyStopRequest {
    /// The client's id for the request; the rover executes each id once.
    pub id: String,
    /// True engages the stop, false releases it.
    pub engage: bool,
    /// The reason, for the log.
    pub reason: String,
    /// The span that causes it (W3C `traceparent`).
    pub traceparent: Option<String>,
    /// The rover's response: a confirmation, or why the request failed.
    pub answer: oneshot::Sender<Result<String, PublishError>>,
}

/// Why a message was not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The source only reads (a recording).
    #[error("the {0} source cannot be published to")]
    ReadOnly(&'static str),
    /// The bounded queue of the source's thread is full.
    #[error("the source is busy: {0} messages are waiting to be published")]
    Busy(usize),
    /// The rover did not confirm an emergency stop in time.
    #[error(
        "not confirmed by the rover within {} s: it may still arrive",
        Duration::from_millis(limits::STOP_CONFIRM_MS).as_secs()
    )]
    Unconfirmed,
    /// Any other reason, as text.
    #[error("{0}")]
    Failed(String),
}

/// A source that is set up and ready to run.
pub trait Source: Send {
    /// `dds`, `r2r`, `bag`, `sim` or `upstream`.
    fn name(&self) -> &'static str;
    /// The control handle, usable from any thread while the source runs.
    fn control(&self) -> Arc<dyn SourceControl>;
    /// Produces until `stop` is set (it then returns within 200 ms) or until the source ends.
    fn run(self: Box<Self>, sink: Arc<dyn Sink>, stop: StopFlag) -> Result<(), SourceError>;
}

/// Why a source could not start or continue; the text includes the remedy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

/// A shared flag that threads can wait for. Once set it stays set.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<(Mutex<bool>, Condvar)>);

impl StopFlag {
    /// Sets the flag and wakes all waiters.
    pub fn set(&self) {
        *self.0.0.lock() = true;
        self.0.1.notify_all();
    }

    /// Whether the flag is set.
    pub fn is_set(&self) -> bool {
        *self.0.0.lock()
    }

    /// Waits for the flag, at most `timeout`; returns whether it is set.
    pub fn wait(&self, timeout: Duration) -> bool {
        let mut set = self.0.0.lock();
        self.0.1.wait_while_for(&mut set, |set| !*set, timeout);
        *set
    }
}
