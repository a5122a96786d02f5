//! State of the Preflight screen.

use std::time::Duration;

use roverline_protocol::api::TopicList;
use roverline_protocol::api::kv::KvList;
use roverline_protocol::api::queues::QueueList;

use crate::model::api::Document;

/// Keys of confirmations begin so.
pub const CONFIRMED: &str = "preflight/";
/// A confirmation is valid for this time, milliseconds.
pub const CONFIRMED_TTL_MS: u64 = 3_600_000;
/// What only a person can check: id, name, question.
pub const MANUAL: [(&str, &str, &str); 2] = [
    ("area", "Area", "nobody is near the rover"),
    ("red-button", "Red button", "the button on the rover was pressed, and it stopped"),
];

/// A confirmation by hand, which everybody sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmation {
    /// Who.
    pub by: String,
    /// When, nanoseconds since the Unix epoch.
    pub at_ns: i64,
}

/// The trial of the stop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StopCheck {
    /// Not in this session.
    #[default]
    NotTried,
    /// It was sent.
    Engaging {
        /// When.
        since: Duration,
    },
    /// The rover has said that it is engaged.
    Engaged {
        /// How long it took.
        after: Duration,
    },
    /// It was engaged and released.
    Done {
        /// When it was released, nanoseconds since the Unix epoch.
        at_ns: i64,
        /// How long it took to engage.
        after: Duration,
    },
    /// It did not work.
    Failed(&'static str),
}

/// The state.
#[derive(Debug, Default)]
pub struct State {
    /// Topics with their measured and expected rates.
    pub topics: Document<TopicList>,
    /// Queues.
    pub queues: Document<QueueList>,
    /// Confirmations by hand.
    pub confirmations: Document<KvList>,
    /// The trial of the stop.
    pub stop_check: StopCheck,
    /// Id of the selected check.
    pub cursor: &'static str,
    /// Watches that end when the screen is left.
    pub watches: Vec<u64>,
    /// When the topics were last requested.
    pub requested: Option<Duration>,
}

impl State {
    /// Who has confirmed a check.
    pub fn confirmation(&self, id: &str) -> Option<Confirmation> {
        let values = &self.confirmations.value.as_ref()?.keys;
        let value = values.iter().find(|value| value.key.strip_prefix(CONFIRMED) == Some(id))?;
        let by = value.client.as_ref().filter(|_| crate::format::is_address(&value.by)).unwrap_or(&value.by);
        Some(Confirmation { by: by.clone(), at_ns: value.written_ns })
    }
}
