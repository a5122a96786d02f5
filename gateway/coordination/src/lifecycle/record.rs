//! The stored records of robots and endpoints, and their keys.

use std::fmt;

use roverline_protocol::lifecycle::{LifecycleStatus, State};
use serde::{Deserialize, Serialize};

use crate::lifecycle::{Description, LifecycleError};
use crate::limits;
use crate::name;
use crate::store::{Entry, Revision};

/// Prefix of all lifecycle keys.
pub const PREFIX: &str = "lifecycle";
/// One key per robot or endpoint.
pub(super) const ENTITIES_PREFIX: &str = "lifecycle/";
/// One leased key per robot or endpoint and heartbeat sender.
pub(super) const HEARTBEATS_PREFIX: &str = "lifecycle-beat/";
/// The leased key of the process that runs the monitor.
pub(super) const MONITOR_KEY: &str = "lifecycle-monitor";

/// The kind of an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntityKind {
    /// An endpoint of a gateway.
    Endpoint,
    /// A robot.
    Robot,
}

impl EntityKind {
    /// The names of all kinds.
    pub const NAMES: [&'static str; 2] = ["endpoint", "robot"];

    /// The name in keys and documents.
    pub const fn name(self) -> &'static str {
        match self {
            EntityKind::Robot => "robot",
            EntityKind::Endpoint => "endpoint",
        }
    }

    /// Parses a name.
    pub fn named(name: &str) -> Option<EntityKind> {
        [EntityKind::Endpoint, EntityKind::Robot].into_iter().find(|kind| kind.name() == name)
    }
}

/// The identity of a robot or an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityId {
    /// The kind.
    pub kind: EntityKind,
    /// The name within its kind.
    pub id: String,
}

impl EntityId {
    /// The identity of a robot.
    pub fn robot(id: impl Into<String>) -> EntityId {
        EntityId { kind: EntityKind::Robot, id: id.into() }
    }

    /// The identity of an endpoint.
    pub fn endpoint(id: impl Into<String>) -> EntityId {
        EntityId { kind: EntityKind::Endpoint, id: id.into() }
    }

    /// `kind/id`; sorts like the identities themselves.
    pub fn path(&self) -> String {
        format!("{}/{}", self.kind.name(), self.id)
    }

    /// The key of its record.
    pub(super) fn key(&self) -> String {
        format!("{ENTITIES_PREFIX}{}", self.path())
    }

    /// The key of its heartbeat by one sender.
    pub(super) fn heartbeat_key(&self, sender: &str) -> String {
        format!("{HEARTBEATS_PREFIX}{}/{sender}", self.path())
    }

    /// Rejects what cannot be part of a key.
    pub(super) fn check(&self) -> Result<(), LifecycleError> {
        check_name(&self.id)
    }

    fn parse(kind: &str, id: &str) -> Option<EntityId> {
        Some(EntityId { kind: EntityKind::named(kind)?, id: id.to_owned() })
    }

    /// Parses the key of a record.
    pub(super) fn from_key(key: &str) -> Option<EntityId> {
        let (kind, id) = key.strip_prefix(ENTITIES_PREFIX)?.split_once('/')?;
        EntityId::parse(kind, id)
    }

    /// Parses the key of a heartbeat: the entity and the sender.
    pub(super) fn from_heartbeat_key(key: &str) -> Option<(EntityId, String)> {
        let (kind, rest) = key.strip_prefix(HEARTBEATS_PREFIX)?.split_once('/')?;
        let (id, sender) = rest.split_once('/')?;
        Some((EntityId::parse(kind, id)?, sender.to_owned()))
    }
}

impl fmt::Display for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.name(), self.id)
    }
}

pub(super) fn check_name(name: &str) -> Result<(), LifecycleError> {
    match name::is_valid(name, limits::LIFECYCLE_NAME_BYTES) {
        true => Ok(()),
        false => Err(LifecycleError::InvalidName),
    }
}

/// The kind of the last transition of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transition {
    /// Registered for the first time.
    Discovered,
    /// The type, the address or the heartbeat timeout changed.
    Described,
    /// Moved from one state to another.
    Moved,
    /// Failed once more, for good if the state is `Failed` now.
    Failure,
    /// Recovered from failures.
    Recovered,
}

impl Transition {
    /// The name in records and events.
    pub const fn name(self) -> &'static str {
        match self {
            Transition::Discovered => "discovered",
            Transition::Described => "described",
            Transition::Moved => "moved",
            Transition::Failure => "failure",
            Transition::Recovered => "recovered",
        }
    }
}

/// One robot or endpoint with its last transition: each value of its key is one transition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The current state.
    pub state: State,
    /// The state before the last transition; equal to `state` if that changed only other fields.
    pub previous: State,
    /// The kind of the last transition.
    #[serde(rename = "fact")]
    pub transition: Transition,
    /// When it entered its state, by the author's clock, nanoseconds since the Unix epoch; for display.
    pub since_ns: i64,
    /// When the last transition happened, nanoseconds since the Unix epoch, never before an earlier
    /// one; for display.
    pub at_ns: i64,
    /// The type, such as a robot's model.
    #[serde(rename = "type")]
    pub type_name: String,
    /// The network address, if known.
    pub address: Option<String>,
    /// Failures in a row.
    pub failures: u32,
    /// The reason of the last transition.
    pub reason: String,
    /// The identity of the author of the last transition.
    pub by: String,
    /// The unverified name that the author's client declares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Whether an operator set the state; automatic transitions then leave it alone.
    pub manual: bool,
    /// Heartbeat timeout; `None`: no heartbeats are expected.
    pub heartbeat_ms: Option<u64>,
}

impl Record {
    /// The part that the state machine acts on.
    pub fn status(&self) -> LifecycleStatus {
        LifecycleStatus { state: self.state, failures: self.failures }
    }

    /// Whether an operator pinned the state.
    pub fn is_pinned(&self) -> bool {
        // Provisioning and active entities are handed over to automatic transitions.
        self.manual && !matches!(self.state, State::Discovered | State::Provisioning | State::Active)
    }

    /// Whether the record already has this description.
    pub fn is_described_by(&self, description: &Description) -> bool {
        (&self.type_name, &self.address, self.heartbeat_ms)
            == (&description.type_name, &description.address, description.heartbeat_ms)
    }

    /// Parses an entry; `None` for a foreign value.
    pub(super) fn parse(entry: &Entry) -> Option<Record> {
        serde_json::from_slice(&entry.value).ok()
    }
}

/// A robot or an endpoint at some revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The identity.
    pub entity: EntityId,
    /// The record.
    pub record: Record,
    /// The revision at which it was registered.
    pub created: Revision,
    /// The revision of the last transition.
    pub modified: Revision,
    /// The processes that send heartbeats for it.
    pub senders: Vec<String>,
}

impl View {
    /// Whether it has a heartbeat, or needs none.
    pub fn is_alive(&self) -> bool {
        self.record.heartbeat_ms.is_none() || !self.senders.is_empty()
    }

    /// Whether it is ready or active, alive and without failures.
    pub fn is_healthy(&self) -> bool {
        matches!(self.record.state, State::Ready | State::Active)
            && self.record.failures == 0
            && self.is_alive()
    }

    /// Whether it can be assigned work: ready and healthy.
    pub fn is_deployable(&self) -> bool {
        self.record.state == State::Ready && self.is_healthy()
    }
}
