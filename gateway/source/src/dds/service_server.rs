//! Server of one service: a reader of requests and a writer of replies.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustdds::mio1::event::Source as _;
use rustdds::mio1::{Interest, Registry, Token};
use rustdds::no_key::{DataWriter, DeserializedCacheChange};
use rustdds::rpc::SampleIdentity;
use rustdds::{
    DataWriterStatus, DomainParticipant, GUID, RTPSEntity, StatusEvented, Subscriber, Timestamp,
    WriteOptionsBuilder,
};

use crate::dds::catalog::Class;
use crate::dds::names;
use crate::dds::node_announcer::open;
use crate::dds::raw::{Raw, RawAdapter};
use crate::dds::reader::{RawReader, create, take};
use crate::dds::request_correlation::{CorrelationError, RequestId};
use crate::dds::service_broker::{Permit, ResponseTarget, ServiceBroker, ServiceCommand};
use crate::dds::service_client::track_match;
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
    requests: RawReader,
    replies: DataWriter<Raw, RawAdapter>,
    /// Client readers that matched our writer.
    readers: BTreeSet<GUID>,
    parked: Vec<ParkedReply>,
    /// Counts of pending requests: of all services, and of this one.
    waiting: [Arc<AtomicUsize>; 2],
    since: Timestamp,
}

/// A reply that waits for its client's reader to be matched.
struct ParkedReply {
    until: Instant,
    from: GUID,
    request_id: RequestId,
    body: Bytes,
    _permits: Option<[Permit; 2]>,
}

impl ServiceServer {
    /// `waiting` counts the pending requests of all services.
    pub(super) fn open(
        number: u64,
        service: Service,
        participant: &DomainParticipant,
        subscriber: &Subscriber,
        waiting: Arc<AtomicUsize>,
    ) -> Result<ServiceServer, SourceError> {
        let [request, reply] = names::service(&service.name, &service.type_name)
            .ok_or_else(|| SourceError(format!("{} is not a ROS service", service.name)))?;
        let since = Timestamp::now();
        let qos = Qos { reliable: true, transient_local: false };
        let replies = open(participant, (&reply.0, &reply.1), qos)?;
        let requests = create(participant, subscriber, &request, Class::Reliable, DEPTH)?;
        let waiting = [waiting, Arc::default()];
        let (readers, parked) = (BTreeSet::new(), Vec::new());
        Ok(ServiceServer { number, service, requests, replies, readers, parked, waiting, since })
    }

    /// `token` is the first of two.
    pub(super) fn register(&mut self, registry: &Registry, token: usize) -> Result<(), SourceError> {
        let readable = Interest::READABLE;
        self.requests
            .register(registry, Token(token), readable)
            .and_then(|()| {
                self.replies.as_status_source_mio1().register(registry, Token(token + 1), readable)
            })
            .map_err(|error| SourceError(format!("cannot wait for requests: {error}")))
    }

    /// The GUIDs of the reader and the writer.
    pub(super) fn ids(&self) -> (GUID, GUID) {
        (self.requests.guid(), self.replies.guid())
    }

    /// When the next timer expires.
    pub(super) fn due(&self) -> Option<Instant> {
        self.parked.iter().map(|parked| parked.until).min()
    }

    /// Processes matches with clients and takes requests.
    pub(super) fn drive(&mut self, broker: &Arc<ServiceBroker>) {
        while let Some(status) = self.replies.try_recv_status() {
            if let DataWriterStatus::PublicationMatched { current, reader, .. } = status {
                track_match(&mut self.readers, reader, current.count_change());
            }
        }
        let mut requests = Vec::new();
        while take(&self.requests, |change| requests.push(change)) {}
        for change in requests {
            if let Err(why) = self.on_request(&change, broker) {
                tracing::debug!(service = self.service.name, "a request was not taken: {why}");
            }
        }
        self.poll_timeouts(Instant::now());
    }

    fn on_request(
        &self,
        change: &DeserializedCacheChange<Raw>,
        broker: &Arc<ServiceBroker>,
    ) -> Result<(), RequestError> {
        if change.receive_instant < self.since {
            return Err(RequestError::Stale);
        }
        let from = change.writer_guid;
        let sample = SampleIdentity { writer_guid: from, sequence_number: change.sequence_number };
        let related = change.write_options.related_sample_identity();
        let (request_id, body) = RequestId::read(sample, related, &change.sample.0)?;
        let [all, own] = &self.waiting;
        let permits = Permit::try_acquire(all, limits::WAITING_REQUESTS)
            .zip(Permit::try_acquire(own, REQUESTS_PER_SERVICE))
            .ok_or(RequestError::TooManyPending)?;
        let (broker, service, permits) = (broker.clone(), self.number, [permits.0, permits.1]);
        let reply = Reply::new(move |body| {
            let to = ResponseTarget::Remote { service, from, request_id };
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
        from: GUID,
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
            let matched = self.readers.iter().any(|reader| reader.prefix == parked.from.prefix);
            if matched || parked.until <= now {
                self.write(&parked);
            } else {
                self.parked.push(parked);
            }
        }
    }

    fn write(&self, parked: &ParkedReply) {
        let (reply, related) = parked.request_id.reply(&parked.body);
        let mut options = WriteOptionsBuilder::new();
        if let Some(related) = related {
            options = options.related_sample_identity(related);
        }
        if let Err(error) = self.replies.write_with_options(Raw(reply), options.build()) {
            tracing::debug!(service = self.service.name, "a request was not answered: {error}");
        }
    }
}
