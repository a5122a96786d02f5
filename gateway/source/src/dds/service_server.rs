//! Server of one service: a reader of requests and a writer of replies.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use bytes::Bytes;
use roverline_protocol::Guid;

use crate::clock::unix_ns;
use crate::dds::engine::Class;
use crate::dds::engine::wait_set::WaitSet;
use crate::dds::engine::{Participant, Reader, Sample, Writer, prefix};
use crate::dds::names;
use crate::dds::request_correlation::{CorrelationError, RequestId};
use crate::dds::service_broker::{Permit, ResponseTarget, ServiceBroker, ServiceCommand};
use crate::limits;
use crate::{Qos, Reply, Service, SourceError};

/// Pending requests to one service advertised by a client.
const REQUESTS_PER_SERVICE: usize = 64;

/// Requests kept until the thread takes them.
const DEPTH: i32 = 64;
/// How long a reply waits until the client's reader is matched; written earlier, it would reach no
/// reader.
const PARK_TIMEOUT: Duration = Duration::from_millis(300);

/// Why a request was dropped.
#[derive(Debug, thiserror::Error)]
enum RequestError {
    #[error("it is left over from before")]
    Stale,
    #[error("too many wait already")]
    TooManyPending,
    #[error(transparent)]
    Correlation(#[from] CorrelationError),
}

/// One open service.
pub(super) struct ServiceServer {
    number: u64,
    service: Service,
    requests: Box<dyn Reader>,
    replies: Box<dyn Writer>,
    /// Client readers that matched our writer.
    readers: BTreeSet<Guid>,
    parked: Vec<ParkedReply>,
    /// Counts of pending requests: of all services, and of this one.
    waiting: [Arc<AtomicUsize>; 2],
    since: i64,
}

/// A reply that waits for its client's reader to be matched.
struct ParkedReply {
    until: Instant,
    from: Guid,
    request_id: RequestId,
    body: Bytes,
    _permits: Option<[Permit; 2]>,
}

impl ServiceServer {
    /// `waiting` counts the pending requests of all services.
    pub(super) fn open(
        number: u64,
        service: Service,
        participant: &dyn Participant,
        waiting: Arc<AtomicUsize>,
    ) -> Result<ServiceServer, SourceError> {
        let [request, reply] = names::service(&service.name, &service.type_name)
            .ok_or_else(|| SourceError(format!("{} is not a ROS service", service.name)))?;
        let since = unix_ns();
        let qos = Qos { reliable: true, transient_local: false };
        let replies = participant.open_writer(&reply, qos)?;
        let requests = participant.open_reader(&request, Class::Reliable, DEPTH)?;
        let waiting = [waiting, Arc::default()];
        let (readers, parked) = (BTreeSet::new(), Vec::new());
        Ok(ServiceServer { number, service, requests, replies, readers, parked, waiting, since })
    }

    /// Requests and matches wake the set with this token.
    pub(super) fn attach(&mut self, waits: &WaitSet, token: usize) -> Result<(), SourceError> {
        self.requests
            .attach(waits, token)
            .and_then(|()| self.replies.attach_matches(waits, token))
            .map_err(|error| SourceError(format!("cannot wait for requests: {error}")))
    }

    /// The GUIDs of the reader and the writer.
    pub(super) fn ids(&self) -> (Guid, Guid) {
        (self.requests.guid(), self.replies.guid())
    }

    /// When the next timer expires.
    pub(super) fn due(&self) -> Option<Instant> {
        self.parked.iter().map(|parked| parked.until).min()
    }

    /// Processes matches with clients and takes requests.
    pub(super) fn drive(&mut self, broker: &Arc<ServiceBroker>) {
        self.readers = self.replies.matched();
        let mut requests = Vec::new();
        while self.requests.take(&mut |request| requests.push(request)) {}
        for request in requests {
            if let Err(why) = self.on_request(&request, broker) {
                tracing::debug!(service = self.service.name, "a request was not taken: {why}");
            }
        }
        self.poll_timeouts(Instant::now());
    }

    fn on_request(&self, request: &Sample, broker: &Arc<ServiceBroker>) -> Result<(), RequestError> {
        if request.receive_time_ns < self.since {
            return Err(RequestError::Stale);
        }
        let from = request.identity.writer;
        let (request_id, body) = RequestId::read(request.identity, request.related, &request.payload)?;
        let [all, own] = &self.waiting;
        let permits = Permit::try_acquire(all, limits::WAITING_REQUESTS)
            .zip(Permit::try_acquire(own, REQUESTS_PER_SERVICE))
            .ok_or(RequestError::TooManyPending)?;
        let (broker, service, permits) = (broker.clone(), self.number, [permits.0, permits.1]);
        let reply = Reply::new(move |body| {
            let to = ResponseTarget { service, from, request_id };
            if let Err(error) = broker.submit(ServiceCommand::Respond(to, body, Some(permits))) {
                tracing::debug!("a request was not answered: {error}");
            }
        });
        (self.service.handler)(body, reply);
        Ok(())
    }

    /// Sends a response as soon as the client's reader is matched.
    pub(super) fn respond(
        &mut self,
        from: Guid,
        request_id: RequestId,
        body: Bytes,
        permits: Option<[Permit; 2]>,
    ) {
        let now = Instant::now();
        self.parked.push(ParkedReply {
            until: now + PARK_TIMEOUT,
            from,
            request_id,
            body,
            _permits: permits,
        });
        self.poll_timeouts(now);
    }

    /// Sends the replies that are ready.
    pub(super) fn poll_timeouts(&mut self, now: Instant) {
        for parked in std::mem::take(&mut self.parked) {
            let matched = self.readers.iter().any(|reader| prefix(*reader) == prefix(parked.from));
            if matched || parked.until <= now {
                self.write(&parked);
            } else {
                self.parked.push(parked);
            }
        }
    }

    fn write(&mut self, parked: &ParkedReply) {
        let (reply, related) = parked.request_id.reply(&parked.body);
        if let Err(error) = self.replies.write(&reply, 0, related) {
            tracing::debug!(service = self.service.name, "a request was not answered: {error}");
        }
    }
}
