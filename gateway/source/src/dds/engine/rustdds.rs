//! The RustDDS engine: a participant with two threads of the library, which receive and discover.
//!
//! The library logs through `log` under the target `rustdds` and its children.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use roverline_protocol::Guid;
use rustdds::{
    DomainParticipant, DomainParticipantBuilder, DomainParticipantStatusEvent,
    DomainParticipantStatusListener, GUID, RTPSEntity, StatusEvented, Subscriber, TopicKind,
};

use crate::dds::engine::Class;
use crate::dds::engine::rustdds::qos::{offered, reader_qos, requested, writer_qos};
use crate::dds::engine::rustdds::reader::RustDdsReader;
use crate::dds::engine::rustdds::writer::RustDdsWriter;
use crate::dds::engine::wait_set::WaitSet;
use crate::dds::engine::{
    Discovered, DiscoveryWatch, Names, Participant, Reader, SOCKET_BUFFER_BYTES, Writer,
};
use crate::dds_options::DdsOptions;
use crate::{Qos, SourceError};

mod qos;
mod raw;
mod reader;
mod writer;

/// The names of the receiving threads, as far as the kernel keeps them.
const RECEIVING_THREADS: &[&str] = &["RustDDS Partici"];

struct RustDdsParticipant {
    participant: DomainParticipant,
    subscriber: Subscriber,
}

/// Joins the domain: opens the sockets and starts the two threads of the library.
pub(super) fn join(options: &DdsOptions) -> Result<Arc<dyn Participant>, SourceError> {
    if !options.multicast || !options.peers.is_empty() {
        tracing::warn!(
            "RustDDS finds others by multicast only, and this endpoint uses it: static peers and discovery without \
             multicast need [dds] engine = \"cyclone\""
        );
    }
    let mut builder = DomainParticipantBuilder::new(options.domain_id)
        .socket_receive_buffer_size(SOCKET_BUFFER_BYTES as usize)
        .socket_send_buffer_size(SOCKET_BUFFER_BYTES as usize);
    if options.localhost_only {
        builder = builder.with_only_networks([IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    } else if !options.networks.is_empty() {
        builder = builder.with_only_networks(options.networks.iter().copied());
    }
    let participant = builder.build().map_err(|error| {
        SourceError(format!(
            "cannot join DDS domain {}: {error}; is another program using all of its UDP ports?",
            options.domain_id
        ))
    })?;
    let subscriber = participant
        .create_subscriber(&reader_qos(Class::Latched, 1))
        .map_err(|error| SourceError(format!("cannot subscribe in DDS: {error}")))?;
    Ok(Arc::new(RustDdsParticipant { participant, subscriber }))
}

impl Participant for RustDdsParticipant {
    fn guid(&self) -> Guid {
        guid(self.participant.guid())
    }

    fn receiving_threads(&self) -> &'static [&'static str] {
        RECEIVING_THREADS
    }

    fn writers(&self) -> Vec<Discovered> {
        let known = self.participant.discovered_writers().into_iter();
        let known = known.map(|writer| writer.publication_topic_data).map(|data| Discovered {
            id: guid(data.key),
            qos: offered(&data.qos()),
            // The library does not read the durability service's policy, which has it.
            history_depth: None,
            topic: data.topic_name,
            type_name: data.type_name,
        });
        known.collect()
    }

    fn readers(&self) -> Vec<Discovered> {
        let known = self.participant.discovered_readers().into_iter();
        let known = known.map(|reader| reader.subscription_topic_data).map(|data| Discovered {
            id: guid(data.key()),
            qos: requested(&data.qos()),
            history_depth: None,
            type_name: data.type_name().clone(),
            topic: data.topic_name,
        });
        known.collect()
    }

    fn watch(&self, waits: &WaitSet, token: usize) -> Result<Box<dyn DiscoveryWatch>, SourceError> {
        let mut listener = self.participant.status_listener();
        waits
            .register(&mut listener, token)
            .map_err(|error| SourceError(format!("cannot wait for DDS discovery: {error}")))?;
        Ok(Box::new(StatusWatch(listener)))
    }

    fn open_reader(&self, names: &Names, class: Class, depth: i32) -> Result<Box<dyn Reader>, SourceError> {
        let reader = RustDdsReader::open(&self.participant, &self.subscriber, names, class, depth)?;
        Ok(Box::new(reader))
    }

    fn open_writer(&self, names: &Names, qos: Qos) -> Result<Box<dyn Writer>, SourceError> {
        let qos = writer_qos(qos);
        let writer = self
            .participant
            .create_topic(names.0.clone(), names.1.clone(), &qos, TopicKind::NoKey)
            .and_then(|topic| {
                let publisher = self.participant.create_publisher(&qos)?;
                publisher.create_datawriter_no_key(&topic, Some(qos))
            })
            .map_err(|error| SourceError(format!("cannot publish {}: {error}", names.0)))?;
        Ok(Box::new(RustDdsWriter::new(writer)))
    }
}

/// The participant's status events.
struct StatusWatch(DomainParticipantStatusListener);

impl DiscoveryWatch for StatusWatch {
    fn drain(&mut self) -> bool {
        let mut changed = false;
        while let Some(event) = self.0.try_recv_status() {
            if let DomainParticipantStatusEvent::RemoteWriterQosIncompatible {
                remote_writer,
                requested_qos,
                offered_qos,
                ..
            } = &event
            {
                tracing::warn!(
                    ?remote_writer,
                    ?requested_qos,
                    ?offered_qos,
                    "a publisher cannot be received from: its QoS is incompatible"
                );
            }
            changed = true;
        }
        changed
    }
}

fn guid(id: GUID) -> Guid {
    Guid(id.to_bytes())
}
