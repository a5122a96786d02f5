//! Where samples come from. A source runs on a thread of its own, blocks as it likes, and hands
//! raw CDR to a [`Sink`]; nothing past this folder and the schema crate knows ROS.

pub mod clock;

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::SampleId;
use roverline_protocol::routing::Route;
use roverline_protocol::status::UpstreamDocument;
use tokio::sync::oneshot;

pub mod bag;
pub mod dds;
pub mod fanout_sink;
mod graph;
mod playback;
pub mod r2r;
#[cfg(test)]
mod recording_sink;
pub mod ros;
mod service;
pub mod sim;
pub mod upstream;

pub use crate::graph::{Graph, GraphService, GraphTopic, NodeInfo};
pub use crate::playback::{Playback, PlaybackControl, PlaybackStatus};
pub use crate::service::{Call, CallError, Handler, Listen, Reply, Service};

/// The hub's short name for a topic; valid for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicKey(pub u32);

/// What a source knows of a topic when it appears.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicDecl {
    /// The ROS name: `/imu/data`.
    pub name: String,
    /// The ROS type: `sensor_msgs/msg/Imu`.
    pub type_name: String,
    /// What its publishers offer.
    pub qos: Qos,
    /// The message definition with its dependencies, where the source carries it.
    pub schema: Option<SchemaText>,
    /// Where it was put by the gateway that the source reads from; absent: this one's table decides.
    pub route: Option<Route>,
}

/// The part of a publisher's QoS that decides what a late or slow subscriber gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Qos {
    /// Lost samples are sent again.
    pub reliable: bool,
    /// A late subscriber gets the last samples.
    pub transient_local: bool,
}

/// A message definition as a recording carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaText {
    /// `ros2msg` or `ros2idl`.
    pub encoding: String,
    /// The text, dependencies concatenated after lines of `=`.
    pub text: Arc<str>,
}

/// One message as its source yields it, undecoded.
#[derive(Clone, Debug)]
pub struct RawSample {
    /// The same in every process that hears this sample.
    pub id: SampleId,
    /// When the publisher stamped it, nanoseconds since the Unix epoch; 0 where it did not.
    pub source_time_ns: i64,
    /// When this process received it (a recording: when it was recorded), the same unit.
    pub receive_time_ns: i64,
    /// CDR with its 4-byte encapsulation header.
    pub payload: Bytes,
}

/// How a source is doing, for `/health` and the log.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceState {
    /// Not yet producing.
    Starting,
    /// Holding until somebody listens (a recording).
    Waiting,
    /// Producing.
    Running,
    /// It played to its end; the hub keeps the last values.
    Finished,
    /// It does not reach what it reads from, and goes on trying; why.
    Disconnected(String),
    /// It cannot go on; why, and what to do about it.
    Failed(String),
}

/// Where a source puts what it finds. Every method returns at once and may be called from any
/// thread.
pub trait Sink: Send + Sync {
    /// Changes whenever [`Sink::wants`] may answer otherwise than before: an endpoint widens its scopes
    /// to cover another, and narrows them again. A source that sees it change declares its topics
    /// anew; those no longer wanted are refused by [`Sink::topic_up`].
    fn generation(&self) -> u64 {
        0
    }
    /// Whether this endpoint's scopes include the topic; a source does not subscribe to others.
    fn wants(&self, name: &str, type_name: &str) -> bool;
    /// A topic appeared or its declaration changed; `None` when it is not wanted or there is no
    /// room for another one. Repeating it is harmless and returns the same key.
    fn topic_up(&self, decl: TopicDecl) -> Option<TopicKey>;
    /// The last publisher of a topic went away.
    fn topic_down(&self, key: TopicKey);
    /// A message arrived.
    fn sample(&self, key: TopicKey, sample: RawSample);
    /// A message that is this old already: what the gateway that the source reads from had stored. It
    /// is a topic's last value, and no sign that its publisher lives.
    fn stored(&self, key: TopicKey, sample: RawSample, age: Duration) {
        let _ = age;
        self.sample(key, sample);
    }
    /// The ROS graph as it is now known, all of it.
    fn graph(&self, graph: Graph);
    /// The source's own state changed.
    fn state(&self, state: SourceState);
    /// The endpoints of the gateway that the source reads from, as it knows them now.
    fn upstream(&self, endpoints: Vec<UpstreamDocument>) {
        let _ = endpoints;
    }
    /// Where a recording is now, and what it does from there.
    fn playback(&self, playback: Playback) {
        let _ = playback;
    }
    /// Whether a client listens; a recording that waits for its first listener asks this.
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
    /// Offer it transient local, so that late subscribers get it.
    pub latched: bool,
}

/// Services that one source offers at most.
pub const MAX_SERVICES: usize = 64;

/// The way back: publishing into the graph that a source reads from.
pub trait Publisher: Send + Sync {
    /// Hands a message to the source's own thread; an error says why it cannot be sent.
    fn publish(&self, publication: Publication) -> Result<(), PublishError>;

    /// Offers a service for as long as the source runs, or until it is withdrawn. Another one of the
    /// same name takes its place.
    fn offer(&self, service: Service) -> Result<(), PublishError> {
        Err(PublishError::Failed(format!("{}: this source offers no services", service.name)))
    }

    /// Offers the service of this name no longer, if it is closed: one that took its place stays.
    fn withdraw(&self, name: &str) {
        let _ = name;
    }

    /// Calls a service. An error says why it cannot be; otherwise the call's `answer` will, within its
    /// timeout.
    fn call(&self, call: Call) -> Result<(), PublishError> {
        Err(PublishError::Failed(format!("{}: this source calls no services", call.service)))
    }

    /// Listens to a topic apart from what the hub gets, until the receiver is dropped.
    fn listen(&self, listen: Listen) -> Result<(), PublishError> {
        Err(PublishError::Failed(format!("{}: this source listens to nothing else", listen.topic)))
    }

    /// Steers the recording that is played, here and in the other processes that play it.
    fn control(&self, control: PlaybackControl) -> Result<(), PublishError> {
        let _ = control;
        Err(PublishError::Failed("this source is no recording".to_owned()))
    }

    /// Passes an emergency stop on to the gateway that the source reads from. An error says why it
    /// cannot be; otherwise the order's `answer` will.
    fn forward_stop(&self, order: StopOrder) -> Result<(), PublishError> {
        let _ = order;
        Err(PublishError::Failed("this source leads to no other gateway".to_owned()))
    }
}

/// An emergency stop on its way to the gateway that a source reads from.
#[derive(Debug)]
pub struct StopOrder {
    /// The client's own: the rover carries an id out once.
    pub id: String,
    /// True engages, false releases.
    pub engage: bool,
    /// Why, for the log.
    pub reason: String,
    /// What the rover says: done, or why not.
    pub answer: oneshot::Sender<Result<String, String>>,
}

/// Why a message was not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// A recording does not listen.
    #[error("the {0} source cannot be published to")]
    ReadOnly(&'static str),
    /// The bounded queue to the source's thread is full.
    #[error("the source is busy: {0} messages are waiting to be published")]
    Busy(usize),
    /// Anything else, in words.
    #[error("{0}")]
    Failed(String),
}

/// A source that has been set up and can run.
pub trait Source: Send {
    /// `dds`, `r2r`, `bag`, `sim` or `upstream`.
    fn name(&self) -> &'static str;
    /// The way back, usable from any thread while the source runs.
    fn publisher(&self) -> Arc<dyn Publisher>;
    /// Produces until `stop` is set (then returns within 200 ms) or the source ends.
    fn run(self: Box<Self>, sink: Arc<dyn Sink>, stop: Stop) -> Result<(), SourceError>;
}

/// Why a source could not start or go on; the text says what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

/// A flag to wait on: set once, seen by every clone.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<(Mutex<bool>, Condvar)>);

impl Stop {
    /// Sets the flag and wakes everybody who waits.
    pub fn set(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits up to `timeout`; returns whether the flag is set.
    pub fn wait(&self, timeout: Duration) -> bool {
        let guard = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (guard, _) =
            self.0.1.wait_timeout_while(guard, timeout, |set| !*set).unwrap_or_else(PoisonError::into_inner);
        *guard
    }
}
