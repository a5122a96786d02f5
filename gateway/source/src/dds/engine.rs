//! The DDS engine contract: what the gateway needs of a DDS implementation. Samples cross as bytes, and carry the
//! identity that the RTPS wire gives them, so that endpoints on different engines agree about every sample.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use roverline_protocol::Guid;

use crate::dds::engine::wait_set::WaitSet;
use crate::dds_options::{DdsEngine, DdsOptions};
use crate::{Qos, SourceError};

pub(super) mod cdr;
#[cfg(feature = "cyclone")]
mod cyclone;
mod network;
mod rustdds;
pub(super) mod wait_set;

/// Samples taken from one reader before the others are served.
pub(super) const BATCH: usize = 256;
/// How long a reliable write waits for a subscriber that stopped acknowledging, milliseconds. Minimal, because an
/// emergency stop may be queued behind it.
const MAX_BLOCKING_MS: u32 = 1;
/// Unacknowledged messages that one writer retains for retransmission. When the window is full no
/// subscriber receives more, so it must cover a command stream until a dead subscriber's lease expires.
const WRITER_WINDOW: i32 = 1024;
/// Messages that a volatile writer keeps.
const WRITER_DEPTH: i32 = 32;
/// Absorbs bursts while the receiving thread is not scheduled, bytes. The kernel caps it at
/// `net.core.rmem_max`; memory is used only while packets wait.
const SOCKET_BUFFER_BYTES: u32 = 4 * 1024 * 1024;

/// The identity of a sample on the wire (DDSI-RTPS 2.5, 8.3.5.4; DDS-RPC 1.0, 7.5.1.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SampleIdentity {
    pub(super) writer: Guid,
    pub(super) sequence_number: i64,
}

/// A received sample.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) identity: SampleIdentity,
    /// The sample that it belongs to: the request of a reply, or the reader that waits for one.
    pub(super) related: Option<SampleIdentity>,
    /// Nanoseconds since the Unix epoch; 0 if the writer gave no time.
    pub(super) source_time_ns: i64,
    /// Nanoseconds since the Unix epoch.
    pub(super) receive_time_ns: i64,
    /// The message with its encapsulation header.
    pub(super) payload: Bytes,
}

/// A reader or writer of another participant.
#[derive(Clone, Debug)]
pub(super) struct Discovered {
    pub(super) id: Guid,
    /// DDS names.
    pub(super) topic: String,
    pub(super) type_name: String,
    pub(super) qos: Qos,
    /// How many samples a writer keeps for late readers, if it announces that.
    pub(super) history_depth: Option<u32>,
}

/// The DDS names of a topic and its type.
pub(super) type Names = (String, String);

/// The QoS class that a reader requests. A writer's samples are delivered only by the reader of its own
/// class: a weaker reader also matches the writer and would deliver them a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    BestEffort,
    Reliable,
    /// Reliable, with the writer's history.
    Latched,
}

impl Class {
    /// The strongest class that a writer supports. Requesting history requires reliability.
    pub(super) fn of(qos: Qos) -> Class {
        match (qos.reliable, qos.transient_local) {
            (false, _) => Class::BestEffort,
            (true, false) => Class::Reliable,
            (true, true) => Class::Latched,
        }
    }
}

/// A participant of a domain.
pub(super) trait Participant: Send + Sync {
    fn guid(&self) -> Guid;
    /// The names of the threads that receive, as far as the kernel keeps them.
    fn receiving_threads(&self) -> &'static [&'static str];
    /// The writers of other participants.
    fn writers(&self) -> Vec<Discovered>;
    /// The readers of other participants.
    fn readers(&self) -> Vec<Discovered>;
    /// Wakes the set when other participants' readers and writers change.
    fn watch(&self, waits: &WaitSet, token: usize) -> Result<Box<dyn DiscoveryWatch>, SourceError>;
    /// Opens a reader that keeps the last `depth` samples until they are taken.
    fn open_reader(&self, names: &Names, class: Class, depth: i32) -> Result<Box<dyn Reader>, SourceError>;
    /// Opens a writer. A latched one keeps its last message for late subscribers.
    fn open_writer(&self, names: &Names, qos: Qos) -> Result<Box<dyn Writer>, SourceError>;
}

/// The changes of discovery since they were last drained.
pub(super) trait DiscoveryWatch: Send {
    /// Drains the changes and logs those that an operator should know of; returns whether there were any.
    fn drain(&mut self) -> bool;
}

/// A reader of raw messages.
pub(super) trait Reader: Send {
    fn guid(&self) -> Guid;
    /// Wakes the set when there are samples.
    fn attach(&mut self, waits: &WaitSet, token: usize) -> std::io::Result<()>;
    /// Wakes the set when a writer matches or leaves.
    fn attach_matches(&mut self, waits: &WaitSet, token: usize) -> std::io::Result<()>;
    /// Takes up to [`BATCH`] samples; returns whether there may be more.
    fn take(&mut self, each: &mut dyn FnMut(Sample)) -> bool;
    /// Keeps the last `depth` samples from now on.
    fn deepen(&mut self, depth: i32);
    /// The writers that match.
    fn matched(&mut self) -> BTreeSet<Guid>;
}

/// A writer of raw messages.
pub(super) trait Writer: Send {
    fn guid(&self) -> Guid;
    /// Wakes the set when a reader matches or leaves.
    fn attach_matches(&mut self, waits: &WaitSet, token: usize) -> std::io::Result<()>;
    /// Publishes a message that has its encapsulation header. `source_time_ns` is 0 for now.
    fn write(
        &mut self,
        message: &Bytes,
        source_time_ns: i64,
        related: Option<SampleIdentity>,
    ) -> Result<Written, WriteError>;
    /// The readers that match.
    fn matched(&mut self) -> BTreeSet<Guid>;
}

/// The identity and the time of a written message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) identity: SampleIdentity,
    /// Nanoseconds since the Unix epoch.
    pub(super) source_time_ns: i64,
}

/// Why a message was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error("a subscriber has stopped acknowledging")]
    NotAcknowledged,
    #[error("{0}")]
    Failed(String),
}

/// Joins the domain with the engine of the options.
pub(super) fn join(options: &DdsOptions) -> Result<Arc<dyn Participant>, SourceError> {
    network::check(options)?;
    match options.engine {
        DdsEngine::RustDds => rustdds::join(options),
        #[cfg(feature = "cyclone")]
        DdsEngine::Cyclone => cyclone::join(options),
        #[cfg(not(feature = "cyclone"))]
        DdsEngine::Cyclone => Err(SourceError(
            "this build has no CycloneDDS: build it with the default features, or set [dds] engine = \"rustdds\""
                .to_owned(),
        )),
    }
}

/// The participant that an endpoint of DDS belongs to: the GUID without its entity id.
pub(super) fn prefix(id: Guid) -> [u8; 12] {
    std::array::from_fn(|at| id.0[at])
}
