//! What a program that uses a link gets to see.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::SampleId;
use roverline_protocol::breaker::BreakerState;
use roverline_protocol::native::{Level, TopicInfo};
use roverline_protocol::service_level::ServiceLevel;
use roverline_protocol::status::EventDocument;

use crate::EndpointView;

/// Status of a request whose endpoint was lost before it answered: it may have been done, or not.
pub const REQUEST_LOST: u16 = 599;

/// Something happened on the link.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The endpoints, best first, all of them; on every change and about twice a second.
    Endpoints(Arc<[EndpointView]>),
    /// The endpoint in use changed; `to` is `None` when none is left.
    Failover(FailoverView),
    /// The topics that the endpoint in use has in scope, all of them, by name.
    Topics(Arc<[TopicInfo]>),
    /// A message. Of each writer they come in order and once, whichever endpoints delivered them.
    Sample(LinkSample),
    /// A type's definition, as asked for.
    Schema {
        /// `sensor_msgs/msg/Imu`.
        type_name: String,
        /// `ros2msg` text with its dependencies.
        text: String,
    },
    /// What became of a command.
    Command {
        /// The id that [`crate::Link`] returned.
        id: String,
        /// Whether it was accepted.
        accepted: bool,
        /// Why not, or what happened.
        message: String,
    },
    /// Answer to a request, or to a watch: again whenever it may have changed.
    Response {
        /// The number that [`crate::Link`] returned.
        id: u64,
        /// The status of HTTP (RFC 9110, section 15), or [`REQUEST_LOST`].
        status: u16,
        /// What HTTP has as its body.
        body: serde_json::Value,
    },
    /// An endpoint gives us less than was asked for, because of the link, or all of it again.
    Service {
        /// Which endpoint.
        url: String,
        /// What it gives now.
        level: ServiceLevel,
        /// What it measured.
        reason: String,
        /// Samples it did not send because of that, since the session began.
        shed: u64,
    },
    /// An endpoint will end soon. The link leaves it in time and without loss; nothing is to be
    /// done.
    Drain {
        /// Which endpoint.
        url: String,
        /// How soon.
        deadline: Duration,
    },
    /// An endpoint's circuit breaker changed: it failed too often, or is trusted again.
    Breaker {
        /// Which endpoint.
        url: String,
        /// Where it stands now.
        state: BreakerState,
    },
    /// Every link fell silent at once, which is the radio and no endpoint; or something was heard
    /// again.
    Radio(RadioView),
    /// Something happened at a gateway, as it tells it itself.
    Gateway(EventDocument),
    /// Something the user should know.
    Notice {
        /// How bad.
        level: Level,
        /// A sentence.
        text: String,
    },
}

/// One message as it arrived, undecoded.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkSample {
    /// What it belongs to.
    pub topic: Arc<TopicInfo>,
    /// The same at every endpoint.
    pub id: SampleId,
    /// It is a stored value, sent because this client came late.
    pub stored: bool,
    /// It was sent again, because this client came from another endpoint: it is older than it
    /// would be otherwise, up to [`roverline_protocol::limits::REPLAY_AGE_MS`].
    pub replayed: bool,
    /// Publisher's stamp, nanoseconds since the Unix epoch, 0 where unknown.
    pub source_time_ns: i64,
    /// When the gateway received it.
    pub receive_time_ns: i64,
    /// CDR with its encapsulation header.
    pub payload: Bytes,
}

/// The radio is silent, or is back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RadioView {
    /// Whether nothing is heard at all.
    pub silent: bool,
    /// For how long, so far or in all.
    pub lasted: Duration,
}

/// Why the endpoint in use changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailoverCause {
    /// The first one that answered.
    First,
    /// The connection closed.
    Closed,
    /// Nothing was heard for too long.
    Silent,
    /// A better one was available for long enough.
    Better,
    /// It is about to end: its successor, or another one, took over before.
    Drain,
    /// It has no room for another client.
    Full,
    /// This program was stopped for a while, and everything was connected anew.
    Thawed,
    /// Every endpoint is gone.
    AllDown,
}

impl FailoverCause {
    /// The word shown in the history.
    pub const fn word(self) -> &'static str {
        match self {
            FailoverCause::First => "connected",
            FailoverCause::Closed => "closed",
            FailoverCause::Silent => "silent",
            FailoverCause::Better => "better link",
            FailoverCause::Drain => "drain",
            FailoverCause::Full => "full",
            FailoverCause::Thawed => "thawed",
            FailoverCause::AllDown => "all down",
        }
    }

    /// The word in a [`roverline_protocol::native::SwitchReport`].
    pub const fn code(self) -> &'static str {
        match self {
            FailoverCause::Better => "better",
            FailoverCause::AllDown => "all_down",
            other => other.word(),
        }
    }
}

/// A change of the endpoint in use, told when it is complete: what was missed has been replayed,
/// and the new endpoint delivers.
#[derive(Clone, Debug, PartialEq)]
pub struct FailoverView {
    /// Wall clock, nanoseconds since the Unix epoch, for display.
    pub at_ns: i64,
    /// The one that was in use.
    pub from: Option<String>,
    /// The one that is in use now.
    pub to: Option<String>,
    /// Why.
    pub cause: FailoverCause,
    /// From the last frame on the old link to the first on the new; zero for a planned switch.
    pub blackout: Option<Duration>,
    /// Samples that were missed and replayed.
    pub replayed: u64,
    /// Samples that came twice, of which one was kept.
    pub duplicates: u64,
    /// Samples that nobody could replay: lost.
    pub missing: u64,
}
