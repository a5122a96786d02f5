//! Services of the ROS graph, from both sides, and listening to one topic: what actions and
//! parameters are made of. Bodies are CDR with their 4-byte encapsulation header, and those that we
//! send are little-endian.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::RawSample;

/// A call of a service.
#[derive(Debug)]
pub struct Call {
    /// The ROS name: `/mission/start`.
    pub service: String,
    /// The ROS type: `std_srvs/srv/Trigger`.
    pub type_name: String,
    /// CDR of the request.
    pub request: Bytes,
    /// How long to wait for a server and its answer.
    pub timeout: Duration,
    /// CDR of the response, or why there is none.
    pub answer: oneshot::Sender<Result<Bytes, CallError>>,
}

/// Why a call came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Nobody serves it.
    #[error("no node serves {0}")]
    NoServer(String),
    /// No answer in time.
    #[error("{service} did not answer within {timeout:?}")]
    Timeout {
        /// The service.
        service: String,
        /// How long it had.
        timeout: Duration,
    },
    /// Anything else, in words.
    #[error("{0}")]
    Failed(String),
}

/// A service that is offered into the graph.
#[derive(Clone)]
pub struct Service {
    /// The ROS name: `/websocket_redundancy/status`.
    pub name: String,
    /// The ROS type: `std_srvs/srv/Trigger`.
    pub type_name: String,
    /// Whether it is there to be asked now.
    pub open: Arc<AtomicBool>,
    /// Takes CDR of the request, and gives CDR of the response to its [`Reply`], now or later. Called
    /// on the source's thread, and returns at once.
    pub handler: Arc<Handler>,
}

/// From a request to its response; see [`Service::handler`].
pub type Handler = dyn Fn(Bytes, Reply) + Send + Sync;

/// Where the response to one request goes. Dropped unused, the client gets none.
pub struct Reply(Box<dyn FnOnce(Bytes) + Send>);

impl Reply {
    /// Hands the response to `send`, from whichever thread it comes.
    pub fn new(send: impl FnOnce(Bytes) + Send + 'static) -> Reply {
        Reply(Box::new(send))
    }

    /// Answers.
    pub fn send(self, response: Bytes) {
        (self.0)(response);
    }
}

/// A subscription apart from the hub.
#[derive(Debug)]
pub struct Listen {
    /// The ROS name: `/fibonacci/_action/feedback`.
    pub topic: String,
    /// The ROS type.
    pub type_name: String,
    /// Wants what its publishers have latched as well.
    pub latched: bool,
    /// Gets the samples; when it is full they are dropped, and when it is closed the subscription ends.
    pub samples: mpsc::Sender<RawSample>,
}
