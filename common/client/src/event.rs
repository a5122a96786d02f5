//! Events that a link reports to the program.

use std::sync::Arc;
use std::time::Duration;

use crate::breaker::BreakerState;
use bytes::Bytes;
use roverline_protocol::SampleId;
use roverline_protocol::native::{Level, TopicInfo};
use roverline_protocol::service_level::ServiceLevel;
use roverline_protocol::status::EndpointEvent;

use crate::{EndpointView, SampleReceipt, StopView};

/// Status of a request whose endpoint was lost before it answered: it may or may not have been
/// executed.
pub const REQUEST_LOST: u16 = 599;

/// An event on the link.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// All endpoints, best first; sent on every change and about twice a second.
    Endpoints(Arc<[EndpointView]>),
    /// The endpoint in use changed; `to` is `None` when none is left.
    Failover(FailoverView),
    /// All topics in scope at the endpoint in use, sorted by name.
    Topics(Arc<[TopicInfo]>),
    /// A message. Samples of one writer arrive in order and once, whichever endpoints delivered
    /// them.
    Sample(LinkSample),
    /// A requested type definition.
    Schema {
        /// `sensor_msgs/msg/Imu`.
        type_name: String,
        /// `ros2msg`, unless messages of the type are not CDR.
        encoding: String,
        /// The definition with its dependencies.
        text: String,
    },
    /// Result of a command.
    Command {
        /// The id that [`crate::Link`] returned.
        id: String,
        /// Whether it was accepted.
        accepted: bool,
        /// Reason of a rejection, or what happened.
        message: String,
    },
    /// An emergency stop that this link was asked for: at each change, and once a second until it is
    /// settled.
    Stop(StopView),
    /// Response to a request, or to a watch: sent again whenever the result may have changed.
    Response {
        /// The number that [`crate::Link`] returned.
        id: u64,
        /// HTTP status code (RFC 9110, section 15), or [`REQUEST_LOST`].
        status: u16,
        /// The HTTP response body.
        body: serde_json::Value,
    },
    /// An endpoint changed our service level because of the link's quality.
    Service {
        /// The endpoint.
        url: String,
        /// The new service level.
        level: ServiceLevel,
        /// The measurement that caused the change.
        reason: String,
        /// Samples shed because of it since the session began.
        shed: u64,
    },
    /// An endpoint will shut down soon. The link moves away in time and without loss; the program
    /// need not do anything.
    Drain {
        /// The endpoint.
        url: String,
        /// Time left.
        deadline: Duration,
    },
    /// An endpoint's certificate was seen for the first time and is remembered, or it is not trusted and the
    /// endpoint is refused ([`crate::TlsOptions`]).
    Certificate {
        /// [`Level::Warning`], or [`Level::Error`] if the endpoint is refused.
        level: Level,
        /// The instruction for the user: fingerprints to compare, and what to do.
        text: String,
    },
    /// An endpoint's circuit breaker changed state: it failed too often, or it is trusted again.
    Breaker {
        /// The endpoint.
        url: String,
        /// The new state.
        state: BreakerState,
    },
    /// All links fell silent at once, which means the radio and not an endpoint; or traffic
    /// resumed.
    Radio(RadioView),
    /// An event reported by a gateway.
    Gateway(EndpointEvent),
    /// A notice for the user.
    Notice {
        /// Severity.
        level: Level,
        /// A sentence.
        text: String,
    },
}

/// One message as it arrived, not decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkSample {
    /// The topic.
    pub topic: Arc<TopicInfo>,
    /// The sample's identity, the same at every endpoint.
    pub id: SampleId,
    /// A stored value, sent because this client subscribed late.
    pub stored: bool,
    /// Replayed because this client came from another endpoint, or missed it at this one: it may be a minute older than
    /// a live sample.
    pub replayed: bool,
    /// Older than one of the same writer that arrived before: it completes the history, and is not the current value.
    pub late: bool,
    /// Publisher's timestamp, nanoseconds since the Unix epoch; 0 if unknown.
    pub source_time_ns: i64,
    /// When the gateway received it, nanoseconds since the Unix epoch.
    pub receive_time_ns: i64,
    /// CDR with its encapsulation header.
    pub payload: Bytes,
    /// True if the endpoint traces this sample ([`FLAG_TRACED`](roverline_protocol::native::FLAG_TRACED)).
    pub traced: bool,
    /// Receipt of a traced sample, for [`crate::Link::report_sample`] when the sample was used; a few a second have one.
    pub receipt: Option<SampleReceipt>,
}

/// Radio outage: it began, or it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RadioView {
    /// Whether no link receives anything.
    pub silent: bool,
    /// Duration so far, or in total.
    pub lasted: Duration,
}

/// Why the endpoint in use changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailoverCause {
    /// The first endpoint that answered.
    First,
    /// The connection closed.
    Closed,
    /// No traffic for too long.
    Silent,
    /// A better endpoint was available for long enough.
    Better,
    /// The endpoint is about to shut down: its successor, or another endpoint, took over first.
    Drain,
    /// The endpoint has no capacity for another client.
    Full,
    /// This program was suspended for a while, and all endpoints were reconnected.
    Suspended,
    /// No endpoint is left.
    AllDown,
}

impl FailoverCause {
    /// The word shown in the failover history.
    pub const fn word(self) -> &'static str {
        match self {
            FailoverCause::First => "connected",
            FailoverCause::Closed => "closed",
            FailoverCause::Silent => "silent",
            FailoverCause::Better => "better link",
            FailoverCause::Drain => "drain",
            FailoverCause::Full => "full",
            FailoverCause::Suspended => "thawed",
            FailoverCause::AllDown => "all down",
        }
    }

    /// The code in a [`roverline_protocol::native::SwitchReport`].
    pub const fn code(self) -> &'static str {
        match self {
            FailoverCause::Better => "better",
            FailoverCause::AllDown => "all_down",
            other => other.word(),
        }
    }
}

/// A completed change of the endpoint in use: missed samples have been replayed and the new
/// endpoint delivers.
#[derive(Clone, Debug, PartialEq)]
pub struct FailoverView {
    /// Wall clock time, nanoseconds since the Unix epoch, for display.
    pub at_ns: i64,
    /// The previous endpoint.
    pub from: Option<String>,
    /// The current endpoint.
    pub to: Option<String>,
    /// The cause.
    pub cause: FailoverCause,
    /// From the last frame on the old link to the first on the new one; zero for a planned switch.
    pub blackout: Option<Duration>,
    /// Missed samples that were replayed.
    pub replayed: u64,
    /// Samples received twice, of which one was kept.
    pub duplicates: u64,
    /// Samples that no endpoint could replay: lost.
    pub missing: u64,
}
