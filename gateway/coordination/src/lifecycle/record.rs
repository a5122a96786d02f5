//! What the store holds of a robot or an endpoint, and under which keys.

use std::fmt;

use bytes::Bytes;
use roverline_protocol::lifecycle::{Life, State};
use roverline_protocol::limits;
use serde::{Deserialize, Serialize};

use crate::lifecycle::{Description, LifecycleError};
use crate::store::{Entry, Revision};

/// What all keys of this part begin with.
pub const PREFIX: &str = "lifecycle";
/// One key per robot or endpoint.
pub(super) const THINGS: &str = "lifecycle/";
/// One leased key per robot or endpoint and who speaks for it.
pub(super) const BEATS: &str = "lifecycle-beat/";
/// The leased key of the process that watches over all.
pub(super) const MONITOR: &str = "lifecycle-monitor";

/// What it is that lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An endpoint of a gateway.
    Endpoint,
    /// A robot.
    Robot,
}

impl Kind {
    /// Their names.
    pub const NAMES: [&'static str; 2] = ["endpoint", "robot"];

    /// Its name, as it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Robot => "robot",
            Kind::Endpoint => "endpoint",
        }
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<Kind> {
        [Kind::Endpoint, Kind::Robot].into_iter().find(|kind| kind.name() == name)
    }
}

/// Which robot or endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    /// What it is.
    pub kind: Kind,
    /// What it is called.
    pub id: String,
}

impl Name {
    /// A robot.
    pub fn robot(id: impl Into<String>) -> Name {
        Name { kind: Kind::Robot, id: id.into() }
    }

    /// An endpoint.
    pub fn endpoint(id: impl Into<String>) -> Name {
        Name { kind: Kind::Endpoint, id: id.into() }
    }

    /// Its kind, a slash and what it is called; they are in order as these are.
    pub fn path(&self) -> String {
        format!("{}/{}", self.kind.name(), self.id)
    }

    /// Its key.
    pub(super) fn key(&self) -> String {
        format!("{THINGS}{}", self.path())
    }

    /// The key of one who speaks for it.
    pub(super) fn beat(&self, speaker: &str) -> String {
        format!("{BEATS}{}/{speaker}", self.path())
    }

    /// Refuses what cannot be part of a key.
    pub(super) fn check(&self) -> Result<(), LifecycleError> {
        check_word(&self.id)
    }

    fn of_words(kind: &str, id: &str) -> Option<Name> {
        Some(Name { kind: Kind::named(kind)?, id: id.to_owned() })
    }

    /// The one whose key this is.
    pub(super) fn of_key(key: &str) -> Option<Name> {
        let (kind, id) = key.strip_prefix(THINGS)?.split_once('/')?;
        Name::of_words(kind, id)
    }

    /// For whom is spoken by this key, and by whom.
    pub(super) fn of_beat(key: &str) -> Option<(Name, String)> {
        let (kind, rest) = key.strip_prefix(BEATS)?.split_once('/')?;
        let (id, speaker) = rest.split_once('/')?;
        Some((Name::of_words(kind, id)?, speaker.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.name(), self.id)
    }
}

pub(super) fn check_word(word: &str) -> Result<(), LifecycleError> {
    let bad = word.is_empty()
        || word.len() > limits::LIFECYCLE_NAME_BYTES
        || word.contains(|c: char| c == '/' || c.is_control());
    if bad { Err(LifecycleError::Name) } else { Ok(()) }
}

/// What happened that the record is as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fact {
    /// It was seen for the first time.
    Discovered,
    /// It is of another type, at another address, or is to be heard of otherwise.
    Described,
    /// It was led from one state to another.
    Moved,
    /// It failed once more, and has failed for good if that is its state now.
    Failure,
    /// It does not fail any more.
    Recovered,
}

impl Fact {
    /// Its name, as it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Fact::Discovered => "discovered",
            Fact::Described => "described",
            Fact::Moved => "moved",
            Fact::Failure => "failure",
            Fact::Recovered => "recovered",
        }
    }
}

/// One robot or endpoint, with what led to it being so: each value that its key had is one fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Where it is.
    pub state: State,
    /// Where it was before the newest fact; the same where that moved nothing.
    pub previous: State,
    /// What the newest fact is.
    pub fact: Fact,
    /// Since when it is in its state, by the clock of who led it there; for display.
    pub since_ns: i64,
    /// When the newest fact came about, for display; never before an earlier one.
    pub at_ns: i64,
    /// What sort of robot or endpoint it is.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Where it can be reached.
    pub address: Option<String>,
    /// Failures in a row.
    pub failures: u32,
    /// Why the newest fact came about.
    pub reason: String,
    /// Who brought it about.
    pub by: String,
    /// Whether a person put it into its state: what is automatic leaves it there.
    pub manual: bool,
    /// It is missed when nobody spoke for it for so long; without it, nobody has to.
    pub heartbeat_ms: Option<u64>,
}

impl Record {
    /// The part that has rules.
    pub fn life(&self) -> Life {
        Life { state: self.state, failures: self.failures }
    }

    /// Whether a person wants it to stay where it is.
    pub fn is_kept(&self) -> bool {
        // What is prepared or in use was handed over to what is automatic.
        self.manual && !matches!(self.state, State::Discovered | State::Provisioning | State::Active)
    }

    /// Whether it is what is said here.
    pub fn describes(&self, said: &Description) -> bool {
        (&self.type_name, &self.address, self.heartbeat_ms)
            == (&said.type_name, &said.address, said.heartbeat_ms)
    }

    pub(super) fn bytes(&self) -> Bytes {
        // A record always serializes.
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// What a key holds; what cannot be read is none of ours.
    pub(super) fn of(entry: &Entry) -> Option<Record> {
        serde_json::from_slice(&entry.value).ok()
    }
}

/// A robot or an endpoint as it is, or was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Which.
    pub name: Name,
    /// What is known of it.
    pub record: Record,
    /// The revision at which it became known.
    pub created: Revision,
    /// The revision of the newest fact.
    pub modified: Revision,
    /// Who speaks for it.
    pub speakers: Vec<String>,
}

impl View {
    /// Whether it is heard of, as far as it has to be.
    pub fn is_alive(&self) -> bool {
        self.record.heartbeat_ms.is_none() || !self.speakers.is_empty()
    }

    /// Whether it can be used or is used, and nothing is wrong with it.
    pub fn is_healthy(&self) -> bool {
        matches!(self.record.state, State::Ready | State::Active)
            && self.record.failures == 0
            && self.is_alive()
    }

    /// Whether it can be given something to do: ready, and not failing.
    pub fn is_deployable(&self) -> bool {
        self.record.state == State::Ready && self.is_healthy()
    }
}
