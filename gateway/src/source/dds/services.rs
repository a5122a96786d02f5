//! Services offered into the ROS graph: a reader of requests and a writer of replies, and who asked
//! told apart in the two ways that RMW implementations have.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use rustdds::mio1::{Events, Interest, Poll, Token, event::Source as _};
use rustdds::no_key::{DataWriter, DeserializedCacheChange};
use rustdds::rpc::SampleIdentity;
use rustdds::{DomainParticipant, Subscriber, WriteOptionsBuilder};

use super::announce::open;
use super::catalog::Class;
use super::names;
use super::participant::reader_qos;
use super::publisher::Queue;
use super::raw::{HEADER, Raw, RawAdapter};
use super::reader::{RawReader, create, take};
use crate::source::{Qos, Reply, Service, SourceError, Stop};

/// Requests kept until they are answered, as ROS keeps them by default.
const DEPTH: i32 = 10;
/// How soon a service that is opened or closed, and a stop, are noticed.
const TICK: Duration = Duration::from_millis(100);
/// The first two bytes of a CycloneDDS participant's GUID (RTPS 2.5, section 8.3.3.1.3).
const CYCLONE: [u8; 2] = [1, 16];
/// What CycloneDDS's RMW puts ahead of every request and reply: the client's id and a number.
const CYCLONE_HEADER: usize = 16;

/// The thread of a participant's services, until `stop` is set.
pub(super) fn work(queue: &Queue, participant: &DomainParticipant, stop: &Stop) {
    // The library answers a bug of its own with a panic: it ends the services, not the telemetry.
    match catch_unwind(AssertUnwindSafe(|| serve(queue, participant, stop))) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!("services are not offered: {error}"),
        Err(_) => tracing::error!("services are offered no longer: the DDS library failed"),
    }
}

fn serve(queue: &Queue, participant: &DomainParticipant, stop: &Stop) -> Result<(), SourceError> {
    let broken = |error: std::io::Error| SourceError(format!("cannot wait for requests: {error}"));
    let mut poll = Poll::new().map_err(broken)?;
    let mut events = Events::with_capacity(16);
    let subscriber = participant
        .create_subscriber(&reader_qos(Class::Reliable, DEPTH))
        .map_err(|error| SourceError(format!("cannot subscribe in DDS: {error}")))?;
    let mut servers: BTreeMap<usize, ServiceServer> = BTreeMap::new();
    while !stop.is_set() {
        for (at, service) in queue.services().into_iter().enumerate() {
            let wanted = service.open.load(Ordering::Relaxed);
            if !wanted && let Some(mut server) = servers.remove(&at) {
                let _ = server.requests.deregister(poll.registry());
            } else if wanted && !servers.contains_key(&at) {
                let mut server = ServiceServer::open(participant, &subscriber, service)?;
                server.requests.register(poll.registry(), Token(at), Interest::READABLE).map_err(broken)?;
                servers.insert(at, server);
            }
        }
        match poll.poll(&mut events, Some(TICK)) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => return Err(broken(error)),
            _ => servers.values().for_each(ServiceServer::answer),
        }
    }
    Ok(())
}

/// One open service.
struct ServiceServer {
    service: Service,
    requests: RawReader,
    replies: DataWriter<Raw, RawAdapter>,
}

impl ServiceServer {
    fn open(
        participant: &DomainParticipant,
        subscriber: &Subscriber,
        service: Service,
    ) -> Result<ServiceServer, SourceError> {
        let [request, reply] = names::service(&service.name, &service.type_name)
            .ok_or_else(|| SourceError(format!("{} is not a ROS service", service.name)))?;
        let requests = create(participant, subscriber, &request, Class::Reliable, DEPTH)?;
        let qos = Qos { reliable: true, transient_local: false };
        let replies = open(participant, (&reply.0, &reply.1), qos)?;
        Ok(ServiceServer { service, requests, replies })
    }

    fn answer(&self) {
        take(&self.requests, |change| {
            if let Err(why) = self.reply(&change) {
                tracing::debug!(service = self.service.name, "a request was not answered: {why}");
            }
        });
    }

    fn reply(&self, change: &DeserializedCacheChange<Raw>) -> Result<(), String> {
        let related = change.write_options.related_sample_identity();
        let asked = Request::read(change.writer_guid.to_bytes(), related.is_some(), &change.sample.0)?;
        let (send, answered) = mpsc::sync_channel(1);
        (self.service.handler)(asked.body.clone(), Reply::new(move |answer| drop(send.try_send(answer))));
        let answer = answered.try_recv().map_err(|_| "the service has no answer")?;
        let mut options = WriteOptionsBuilder::new();
        if asked.client.is_none() {
            // Who asks may name the reader that waits for the reply; the number is the request's.
            let writer_guid = related.map_or(change.writer_guid, |related| related.writer_guid);
            let sequence_number = change.sequence_number;
            options = options.related_sample_identity(SampleIdentity { writer_guid, sequence_number });
        }
        let reply = Raw(asked.reply(&answer));
        self.replies.write_with_options(reply, options.build()).map_err(|error| error.to_string())?;
        Ok(())
    }
}

/// A request without what only tells who asks.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    /// CDR with its encapsulation header.
    body: Bytes,
    /// CycloneDDS's header, little-endian; elsewhere the sample's own identity does it.
    client: Option<[u8; CYCLONE_HEADER]>,
}

impl Request {
    /// `enhanced`: the request carries a related identity, as Fast DDS's do.
    fn read(writer: [u8; 16], enhanced: bool, message: &Bytes) -> Result<Request, String> {
        if writer[..2] != CYCLONE || enhanced {
            return Ok(Request { body: message.clone(), client: None });
        }
        let (Some(header), Some(client)) =
            (message.first_chunk::<HEADER>(), message.get(HEADER..).and_then(<[u8]>::first_chunk))
        else {
            return Err(format!("a request of {} bytes is too short", message.len()));
        };
        let mut client: [u8; CYCLONE_HEADER] = *client;
        if header[1] & 1 == 0 {
            client[..8].reverse();
            client[8..].reverse();
        }
        let mut body = BytesMut::with_capacity(message.len() - CYCLONE_HEADER);
        body.put_slice(header);
        body.put_slice(&message[HEADER + CYCLONE_HEADER..]);
        Ok(Request { body: body.freeze(), client: Some(client) })
    }

    /// The reply's bytes; `answer` is little-endian CDR with its encapsulation header.
    fn reply(&self, answer: &[u8]) -> Bytes {
        let mut reply = BytesMut::with_capacity(answer.len() + CYCLONE_HEADER);
        let (header, body) = answer.split_at(HEADER.min(answer.len()));
        reply.put_slice(header);
        reply.put_slice(self.client.as_ref().map_or(&[], |client| client.as_slice()));
        reply.put_slice(body);
        reply.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(vendor: [u8; 2]) -> [u8; 16] {
        let mut guid = [9; 16];
        guid[..2].copy_from_slice(&vendor);
        guid
    }

    #[test]
    fn cyclone_carries_its_client_ahead_of_the_body() {
        let message: Vec<u8> = [0, 1, 0, 0].into_iter().chain(1..=16).chain([42]).collect();
        let request = Request::read(writer(CYCLONE), false, &Bytes::from(message)).unwrap();
        assert_eq!(request.body.as_ref(), &[0, 1, 0, 0, 42]);
        let reply = request.reply(&[0, 1, 0, 0, 7]);
        assert_eq!(reply[..4], [0, 1, 0, 0]);
        assert!(reply[4..20].iter().copied().eq(1..=16) && reply[20..] == [7]);
        // The other byte order is turned round, since the reply is little-endian.
        let message: Vec<u8> = [0, 0, 0, 0].into_iter().chain(1..=16).collect();
        let client = Request::read(writer(CYCLONE), false, &Bytes::from(message)).unwrap().client.unwrap();
        assert_eq!((client[0], client[7], client[8], client[15]), (8, 1, 16, 9));
        for short in [0, 4, 19] {
            assert!(Request::read(writer(CYCLONE), false, &Bytes::from(vec![0; short])).is_err(), "{short}");
        }
    }

    #[test]
    fn others_are_known_by_the_samples_identity() {
        for (vendor, enhanced) in [([1, 15], true), ([1, 15], false), (CYCLONE, true)] {
            let message = Bytes::from_static(&[0, 1, 0, 0, 42]);
            let request = Request::read(writer(vendor), enhanced, &message).unwrap();
            assert_eq!((request.body.as_ref(), request.client), (message.as_ref(), None));
            assert_eq!(request.reply(&[0, 1, 0, 0, 7]).as_ref(), &[0, 1, 0, 0, 7]);
        }
    }
}
