//! The DDS participant and the QoS of its readers and writers.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use rustdds::policy::{
    DataRepresentation, Durability, History, Reliability, ResourceLimits, XCDR_DATA_REPRESENTATION,
    XCDR2_DATA_REPRESENTATION,
};
use rustdds::{DomainParticipant, DomainParticipantBuilder, Duration, QosPolicies, QosPolicyBuilder};

use crate::dds::DdsOptions;
use crate::dds::catalog::Class;
use crate::{Qos, SourceError};

/// RTPS computes ports from the domain id; higher ids would not fit into 16 bits.
const LAST_DOMAIN: u16 = 232;
/// Absorbs bursts while the receiving thread is not scheduled. The kernel caps it at
/// `net.core.rmem_max`; memory is used only while packets wait.
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;
/// How long a reliable write waits for a subscriber that stopped acknowledging. Minimal, because an
/// emergency stop may be queued behind it.
const MAX_BLOCKING_MS: i64 = 1;
/// Unacknowledged messages that one writer retains for retransmission. When the window is full no
/// subscriber receives more, so it must cover a command stream until a dead subscriber's lease expires.
const WRITER_WINDOW: i32 = 1024;

/// Joins the domain: opens the sockets and starts the two threads of the library.
pub(super) fn join(options: &DdsOptions) -> Result<DomainParticipant, SourceError> {
    if options.domain_id > LAST_DOMAIN {
        return Err(SourceError(format!(
            "ROS_DOMAIN_ID is {}, but a DDS domain is a number from 0 to {LAST_DOMAIN}",
            options.domain_id
        )));
    }
    check_networks(&options.networks)?;
    let mut builder = DomainParticipantBuilder::new(options.domain_id)
        .socket_receive_buffer_size(SOCKET_BUFFER)
        .socket_send_buffer_size(SOCKET_BUFFER);
    if options.localhost_only {
        builder = builder.with_only_networks([IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    } else if !options.networks.is_empty() {
        builder = builder.with_only_networks(options.networks.iter().copied());
    }
    builder.build().map_err(|error| {
        SourceError(format!(
            "cannot join DDS domain {}: {error}; is another program using all of its UDP ports?",
            options.domain_id
        ))
    })
}

/// The library ignores an address that this computer does not have, and then reaches nobody.
fn check_networks(networks: &[IpAddr]) -> Result<(), SourceError> {
    for address in networks {
        UdpSocket::bind((*address, 0)).map_err(|error| {
            SourceError(format!("DDS cannot use {address}, which is no address of this computer ({error}); see [dds] interfaces"))
        })?;
    }
    Ok(())
}

/// The QoS requested by a reader that keeps the last `depth` samples until they are read. Both versions
/// of CDR are accepted; each sample's header says which one it uses.
pub(super) fn reader_qos(class: Class, depth: i32) -> QosPolicies {
    let reliability = match class {
        Class::BestEffort => Reliability::BestEffort,
        Class::Reliable | Class::Latched => Reliability::Reliable { max_blocking_time: Duration::ZERO },
    };
    let durability = if class == Class::Latched { Durability::TransientLocal } else { Durability::Volatile };
    history(QosPolicyBuilder::new().reliability(reliability).durability(durability), depth, depth)
        .build()
        .with_data_representation(DataRepresentation {
            value: vec![XCDR_DATA_REPRESENTATION, XCDR2_DATA_REPRESENTATION],
        })
}

/// The QoS offered by a writer. A latched one keeps its last message for late subscribers.
pub(super) fn writer_qos(qos: Qos) -> QosPolicies {
    let reliability = if qos.reliable {
        Reliability::Reliable { max_blocking_time: Duration::from_millis(MAX_BLOCKING_MS) }
    } else {
        Reliability::BestEffort
    };
    let (durability, depth) =
        if qos.transient_local { (Durability::TransientLocal, 1) } else { (Durability::Volatile, 32) };
    history(QosPolicyBuilder::new().reliability(reliability).durability(durability), depth, WRITER_WINDOW)
        .build()
}

/// The library uses the larger of the two numbers; without an explicit limit that is 64 for a reader
/// and thousands for a writer.
fn history(builder: QosPolicyBuilder, depth: i32, limit: i32) -> QosPolicyBuilder {
    builder.history(History::KeepLast { depth }).resource_limits(ResourceLimits {
        max_samples: limit,
        max_instances: 1,
        max_samples_per_instance: limit,
    })
}

/// The part of a discovered writer's QoS that determines how to read from it. A writer that does not announce its
/// reliability has the default of writers, which is reliable (DDS 1.4, 2.2.3; CycloneDDS leaves it out).
pub(super) fn offered(qos: &QosPolicies) -> Qos {
    Qos {
        reliable: !matches!(qos.reliability(), Some(Reliability::BestEffort)),
        transient_local: qos.durability().is_some_and(|durability| durability >= Durability::TransientLocal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_that_announces_no_reliability_is_reliable() {
        let reliable = |policies: QosPolicyBuilder| offered(&policies.build()).reliable;
        assert!(reliable(QosPolicyBuilder::new()));
        assert!(reliable(QosPolicyBuilder::new().durability(Durability::TransientLocal)));
        let max_blocking_time = Duration::from_millis(100);
        assert!(reliable(QosPolicyBuilder::new().reliability(Reliability::Reliable { max_blocking_time })));
        assert!(!reliable(QosPolicyBuilder::new().reliability(Reliability::BestEffort)));
    }

    #[test]
    fn an_address_of_another_computer_is_refused_by_name() {
        assert!(check_networks(&[IpAddr::V4(Ipv4Addr::LOCALHOST)]).is_ok());
        let foreign = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let options = DdsOptions { domain_id: 231, networks: vec![foreign], ..DdsOptions::default() };
        let error = join(&options).err().unwrap().to_string();
        assert!(error.contains("192.0.2.1") && error.contains("[dds] interfaces"), "{error}");
    }
}
