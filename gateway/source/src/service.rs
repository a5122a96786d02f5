//! ROS services, as client and as server, and direct topic subscriptions: the building blocks of
//! actions and parameters. Bodies are CDR with their 4-byte encapsulation header; those that we send
//! are little-endian.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::RawSample;

/// A service call.
#[derive(Debug)]
pub struct Call {
    /// The ROS name: `/mission/start`.
    pub service: String,
    /// The ROS type: `std_srvs/srv/Trigger`.
    pub type_name: String,
    /// CDR of the request.
    pub request: Bytes,
    /// The time limit for finding a server and for its response.
    pub timeout: Duration,
    /// Receives the CDR of the response, or the error.
    pub answer: oneshot::Sender<Result<Bytes, CallError>>,
}

/// Why a service call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No node serves it.
    #[error("no node serves {0}")]
    NoServer(String),
    /// No response arrived in time.
    #[error("{service} did not answer within {timeout:?}")]
    Timeout {
        /// The service.
        service: String,
        /// The time limit of the call.
        timeout: Duration,
    },
    /// Any other reason, as text.
    #[error("{0}")]
    Failed(String),
}

/// A service offered to the ROS graph.
#[derive(Clone)]
pub struct Service {
    /// The ROS name: `/websocket_redundancy/status`.
    pub name: String,
    /// The ROS type: `std_srvs/srv/Trigger`.
    pub type_name: String,
    /// Whether the service currently accepts requests.
    pub open: Arc<AtomicBool>,
    /// Receives the CDR of a request and passes the CDR of the response to its [`Reply`], immediately
    /// or later. Runs on the source's thread and must not block.
    pub handler: Arc<Handler>,
}

/// Handles a request; see [`Service::handler`].
pub type Handler = dyn Fn(Bytes, Reply) + Send + Sync;

/// Sends the response to one request. If it is dropped unused, the request has failed.
pub struct Reply(Option<Box<ResponseSender>>);

type ResponseSender = dyn FnOnce(Result<Bytes, RequestFailure>) + Send;

/// Why a request failed, for its caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RequestFailure(pub String);

/// Why a request failed whose reply was dropped.
const DROPPED: &str = "whoever serves it has gone, or takes no more requests";

impl Reply {
    /// A reply that passes the response to `send`, which may be called on any thread. A failure is not passed on:
    /// ROS 2 has no error response, so a remote caller waits for its own timeout.
    pub fn new(send: impl FnOnce(Bytes) + Send + 'static) -> Reply {
        Reply::fallible(|response| response.map_or((), send))
    }

    /// A reply to a caller that learns of a failure as well.
    pub fn fallible(send: impl FnOnce(Result<Bytes, RequestFailure>) + Send + 'static) -> Reply {
        Reply(Some(Box::new(send)))
    }

    /// Sends the response.
    pub fn send(self, response: Bytes) {
        self.end(Ok(response));
    }

    /// Fails the request; `why` is for the caller.
    pub fn fail(self, why: String) {
        self.end(Err(RequestFailure(why)));
    }

    fn end(mut self, response: Result<Bytes, RequestFailure>) {
        if let Some(send) = self.0.take() {
            send(response);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(send) = self.0.take() {
            send(Err(RequestFailure(DROPPED.to_owned())));
        }
    }
}

/// A subscription that bypasses the hub.
#[derive(Debug)]
pub struct TopicListener {
    /// The ROS name: `/fibonacci/_action/feedback`.
    pub topic: String,
    /// The ROS type.
    pub type_name: String,
    /// Also receives the retained samples of transient-local publishers.
    pub latched: bool,
    /// Receives the samples. Samples are dropped while it is full; the subscription ends when it is
    /// closed.
    pub samples: mpsc::Sender<RawSample>,
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn a_request_is_answered_once_however_its_reply_ends() {
        let (sender, received) = sync_channel(4);
        let reply = || {
            let sender = sender.clone();
            Reply::fallible(move |response| sender.send(response).unwrap())
        };
        reply().send(Bytes::from_static(b"x"));
        reply().fail("no".to_owned());
        drop(reply());
        let failed = |why: &str| Err(RequestFailure(why.to_owned()));
        let all: Vec<_> = received.try_iter().collect();
        assert_eq!(all, [Ok(Bytes::from_static(b"x")), failed("no"), failed(DROPPED)]);
        let (sender, received) = sync_channel(4);
        Reply::new(move |response| sender.send(response).unwrap()).fail("no".to_owned());
        assert!(received.recv().is_err(), "a remote caller gets nothing");
    }
}
