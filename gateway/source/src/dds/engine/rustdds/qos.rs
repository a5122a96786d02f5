//! The QoS of RustDDS's readers and writers.

use rustdds::policy::{
    DataRepresentation, Durability, History, Reliability, ResourceLimits, XCDR_DATA_REPRESENTATION,
    XCDR2_DATA_REPRESENTATION,
};
use rustdds::{Duration, QosPolicies, QosPolicyBuilder};

use crate::Qos;
use crate::dds::engine::Class;
use crate::dds::engine::{MAX_BLOCKING_MS, WRITER_DEPTH, WRITER_WINDOW};

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
        Reliability::Reliable { max_blocking_time: Duration::from_millis(i64::from(MAX_BLOCKING_MS)) }
    } else {
        Reliability::BestEffort
    };
    let (durability, depth) = if qos.transient_local {
        (Durability::TransientLocal, 1)
    } else {
        (Durability::Volatile, WRITER_DEPTH)
    };
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

/// The QoS that a discovered reader requests. A reader that does not announce its reliability has the default of
/// readers, which is best effort.
pub(super) fn requested(qos: &QosPolicies) -> Qos {
    Qos {
        reliable: matches!(qos.reliability(), Some(Reliability::Reliable { .. })),
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
}
