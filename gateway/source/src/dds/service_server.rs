//! Serving one service: a reader of requests and a writer of replies.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use bytes::Bytes;
use roverline_protocol::limits;
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
use crate::dds::request_correlation::Asker;
use crate::dds::service_broker::{Desk, Order, Seat, To};
use crate::dds::service_client::note;
use crate::{Qos, Reply, Service, SourceError};

/// Requests kept until the thread takes them.
const DEPTH: i32 = 64;
/// A reply waits so long for who asked to be known; written before, it would reach nobody.
const HOLD: Duration = Duration::from_millis(300);

/// One open service.
pub(super) struct Server {
    number: u64,
    service: Service,
    requests: RawReader,
    replies: DataWriter<Raw, RawAdapter>,
    /// Readers that our writer has found.
    readers: BTreeSet<GUID>,
    held: Vec<Held>,
    /// Requests of all services, and of this one, that wait for their answers.
    waiting: [Arc<AtomicUsize>; 2],
    since: Timestamp,
}

/// A reply whose reader is not known yet.
struct Held {
    until: Instant,
    from: GUID,
    asker: Asker,
    body: Bytes,
    _seats: Option<[Seat; 2]>,
}

impl Server {
    /// `waiting` counts the requests of all services.
    pub(super) fn open(
        number: u64,
        service: Service,
        participant: &DomainParticipant,
        subscriber: &Subscriber,
        waiting: Arc<AtomicUsize>,
    ) -> Result<Server, SourceError> {
        let [request, reply] = names::service(&service.name, &service.type_name)
            .ok_or_else(|| SourceError(format!("{} is not a ROS service", service.name)))?;
        let since = Timestamp::now();
        let qos = Qos { reliable: true, transient_local: false };
        let replies = open(participant, (&reply.0, &reply.1), qos)?;
        let requests = create(participant, subscriber, &request, Class::Reliable, DEPTH)?;
        let waiting = [waiting, Arc::default()];
        let (readers, held) = (BTreeSet::new(), Vec::new());
        Ok(Server { number, service, requests, replies, readers, held, waiting, since })
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

    /// The reader and the writer.
    pub(super) fn ids(&self) -> (GUID, GUID) {
        (self.requests.guid(), self.replies.guid())
    }

    /// When something is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.held.iter().map(|held| held.until).min()
    }

    /// Hears of clients and takes requests.
    pub(super) fn drive(&mut self, desk: &Arc<Desk>) {
        while let Some(status) = self.replies.try_recv_status() {
            if let DataWriterStatus::PublicationMatched { current, reader, .. } = status {
                note(&mut self.readers, reader, current.count_change());
            }
        }
        let mut requests = Vec::new();
        while take(&self.requests, |change| requests.push(change)) {}
        for change in requests {
            if let Err(why) = self.request(&change, desk) {
                tracing::debug!(service = self.service.name, "a request was not taken: {why}");
            }
        }
        self.look_after(Instant::now());
    }

    fn request(&self, change: &DeserializedCacheChange<Raw>, desk: &Arc<Desk>) -> Result<(), String> {
        if change.receive_instant < self.since {
            return Err("it is left over from before".to_owned());
        }
        let from = change.writer_guid;
        let sample = SampleIdentity { writer_guid: from, sequence_number: change.sequence_number };
        let related = change.write_options.related_sample_identity();
        let (asker, body) = Asker::read(sample, related, &change.sample.0)?;
        let [all, own] = &self.waiting;
        let seats = Seat::take(all, limits::WAITING_REQUESTS)
            .zip(Seat::take(own, limits::REQUESTS_PER_SERVICE))
            .ok_or("too many wait already")?;
        let (desk, service, seats) = (desk.clone(), self.number, [seats.0, seats.1]);
        let reply = Reply::new(move |body| {
            let to = To::Remote { service, from, asker };
            if let Err(error) = desk.order(Order::Answer(to, body, Some(seats))) {
                tracing::debug!("a request was not answered: {error}");
            }
        });
        (self.service.handler)(body, reply);
        Ok(())
    }

    /// Sends a response as soon as who asked can hear it.
    pub(super) fn answer(&mut self, from: GUID, asker: Asker, body: Bytes, seats: Option<[Seat; 2]>) {
        let now = Instant::now();
        self.held.push(Held { until: now + HOLD, from, asker, body, _seats: seats });
        self.look_after(now);
    }

    /// Sends what may be sent by now.
    pub(super) fn look_after(&mut self, now: Instant) {
        for held in std::mem::take(&mut self.held) {
            let heard = self.readers.iter().any(|reader| reader.prefix == held.from.prefix);
            if heard || held.until <= now {
                self.write(&held);
            } else {
                self.held.push(held);
            }
        }
    }

    fn write(&self, held: &Held) {
        let (reply, related) = held.asker.reply(&held.body);
        let mut options = WriteOptionsBuilder::new();
        if let Some(related) = related {
            options = options.related_sample_identity(related);
        }
        if let Err(error) = self.replies.write_with_options(Raw(reply), options.build()) {
            tracing::debug!(service = self.service.name, "a request was not answered: {error}");
        }
    }
}
