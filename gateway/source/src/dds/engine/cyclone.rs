//! The CycloneDDS engine, on the binding of the crate `roverline-cyclone`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use roverline_cyclone as cyclone;
use roverline_protocol::Guid;

use crate::clock::unix_ns;
use crate::dds::engine::Class;
use crate::dds::engine::wait_set::{Trigger, WaitSet};
use crate::dds::engine::{
    BATCH, Discovered, DiscoveryWatch, MAX_BLOCKING_MS, Names, Participant, Reader, SOCKET_BUFFER_BYTES,
    Sample, SampleIdentity, WRITER_DEPTH, WRITER_WINDOW, WriteError, Writer, Written,
};
use crate::dds_options::DdsOptions;
use crate::{Qos, SourceError};

/// The largest message that is received, bytes. CycloneDDS drops what is larger.
const MAX_SAMPLE_BYTES: u32 = 64 * 1024 * 1024;
/// The names of the receiving threads, as far as the kernel keeps them.
const RECEIVING_THREADS: &[&str] = &["recv", "recvMC", "recvUC"];

struct CycloneParticipant(cyclone::Participant);

/// Joins the domain: opens the sockets and starts the threads of the library.
pub(super) fn join(options: &DdsOptions) -> Result<Arc<dyn Participant>, SourceError> {
    cyclone::set_log(log);
    let options = cyclone::Options {
        domain_id: options.domain_id,
        networks: options.networks.clone(),
        localhost_only: options.localhost_only,
        peers: options.peers.clone(),
        multicast: options.multicast,
        receive_buffer_bytes: SOCKET_BUFFER_BYTES,
        max_sample_bytes: MAX_SAMPLE_BYTES,
    };
    let joined = cyclone::Participant::join(&options).map_err(|error| SourceError(error.to_string()))?;
    Ok(Arc::new(CycloneParticipant(joined)))
}

/// The library's own log, which is rate-limited. It warns of every malformed packet.
fn log(level: cyclone::LogLevel, line: &str) {
    match level {
        cyclone::LogLevel::Error => tracing::warn!(target: "cyclone", "{line}"),
        cyclone::LogLevel::Warning => tracing::debug!(target: "cyclone", "{line}"),
        cyclone::LogLevel::Info => tracing::trace!(target: "cyclone", "{line}"),
    }
}

impl Participant for CycloneParticipant {
    fn guid(&self) -> Guid {
        Guid(self.0.guid())
    }

    fn receiving_threads(&self) -> &'static [&'static str] {
        RECEIVING_THREADS
    }

    fn writers(&self) -> Vec<Discovered> {
        self.0.discovered_writers().into_iter().map(discovered).collect()
    }

    fn readers(&self) -> Vec<Discovered> {
        self.0.discovered_readers().into_iter().map(discovered).collect()
    }

    fn watch(&self, waits: &WaitSet, token: usize) -> Result<Box<dyn DiscoveryWatch>, SourceError> {
        let trigger = waits.trigger(token);
        self.0.on_discovery(move || trigger.fire());
        Ok(Box::new(Changed))
    }

    fn open_reader(&self, names: &Names, class: Class, depth: i32) -> Result<Box<dyn Reader>, SourceError> {
        let wake: Arc<std::sync::OnceLock<Trigger>> = Arc::default();
        let on_data = wake.clone();
        let qos = cyclone::ReaderQos {
            reliable: class != Class::BestEffort,
            transient_local: class == Class::Latched,
            depth: depth.unsigned_abs(),
        };
        let fire = move || on_data.get().map_or((), Trigger::fire);
        let reader = self
            .0
            .reader(&names.0, &names.1, qos, fire)
            .map_err(|error| SourceError(format!("cannot subscribe to {}: {error}", names.0)))?;
        Ok(Box::new(CycloneReader { reader, wake }))
    }

    fn open_writer(&self, names: &Names, qos: Qos) -> Result<Box<dyn Writer>, SourceError> {
        let depth = if qos.transient_local { 1 } else { WRITER_DEPTH };
        let qos = cyclone::WriterQos {
            reliable: qos.reliable,
            transient_local: qos.transient_local,
            depth: depth.unsigned_abs(),
            window: WRITER_WINDOW.unsigned_abs(),
            max_blocking: Duration::from_millis(u64::from(MAX_BLOCKING_MS)),
        };
        let writer = self
            .0
            .writer(&names.0, &names.1, qos)
            .map_err(|error| SourceError(format!("cannot publish {}: {error}", names.0)))?;
        Ok(Box::new(CycloneWriter(writer)))
    }
}

/// Discovery of CycloneDDS only says that something changed.
struct Changed;

impl DiscoveryWatch for Changed {
    fn drain(&mut self) -> bool {
        true
    }
}

struct CycloneReader {
    reader: cyclone::Reader,
    wake: Arc<std::sync::OnceLock<Trigger>>,
}

impl Reader for CycloneReader {
    fn guid(&self) -> Guid {
        Guid(self.reader.guid())
    }

    /// Samples that arrived before are reported too.
    fn attach(&mut self, waits: &WaitSet, token: usize) -> std::io::Result<()> {
        let trigger = waits.trigger(token);
        trigger.fire();
        let _ = self.wake.set(trigger);
        Ok(())
    }

    fn attach_matches(&mut self, waits: &WaitSet, token: usize) -> std::io::Result<()> {
        let trigger = waits.trigger(token);
        self.reader.on_matched(move || trigger.fire());
        Ok(())
    }

    fn take(&mut self, each: &mut dyn FnMut(Sample)) -> bool {
        let taken = self.reader.take(BATCH, &mut |received| each(sample(received)));
        match taken {
            Ok(taken) => taken == BATCH,
            Err(error) => {
                tracing::debug!("samples could not be read: {error}");
                false
            }
        }
    }

    fn deepen(&mut self, depth: i32) {
        if let Err(error) = self.reader.deepen(depth.unsigned_abs()) {
            tracing::debug!("the history stays as it is: {error}");
        }
    }

    fn matched(&mut self) -> BTreeSet<Guid> {
        self.reader.matched_writers().into_iter().map(Guid).collect()
    }
}

struct CycloneWriter(cyclone::Writer);

impl Writer for CycloneWriter {
    fn guid(&self) -> Guid {
        Guid(self.0.guid())
    }

    fn attach_matches(&mut self, waits: &WaitSet, token: usize) -> std::io::Result<()> {
        let trigger = waits.trigger(token);
        self.0.on_matched(move || trigger.fire());
        Ok(())
    }

    fn write(
        &mut self,
        message: &Bytes,
        source_time_ns: i64,
        related: Option<SampleIdentity>,
    ) -> Result<Written, WriteError> {
        let source_time_ns = if source_time_ns > 0 { source_time_ns } else { unix_ns() };
        let related = related.map(|SampleIdentity { writer: Guid(writer), sequence_number }| {
            cyclone::SampleIdentity { writer, sequence_number }
        });
        match self.0.write(message, Some(source_time_ns), related) {
            Ok(written) => Ok(Written { identity: identity(written), source_time_ns }),
            Err(cyclone::Error::WindowFull) => Err(WriteError::NotAcknowledged),
            Err(error) => Err(WriteError::Failed(error.to_string())),
        }
    }

    fn matched(&mut self) -> BTreeSet<Guid> {
        self.0.matched_readers().into_iter().map(Guid).collect()
    }
}

fn discovered(endpoint: cyclone::DiscoveredEndpoint) -> Discovered {
    let qos = Qos { reliable: endpoint.reliable, transient_local: endpoint.transient_local };
    let history_depth = endpoint.history_depth;
    Discovered {
        id: Guid(endpoint.guid),
        topic: endpoint.topic,
        type_name: endpoint.type_name,
        qos,
        history_depth,
    }
}

fn identity(id: cyclone::SampleIdentity) -> SampleIdentity {
    SampleIdentity { writer: Guid(id.writer), sequence_number: id.sequence_number }
}

fn sample(received: cyclone::Sample) -> Sample {
    Sample {
        identity: identity(received.identity),
        related: received.related.map(identity),
        source_time_ns: received.source_time_ns,
        receive_time_ns: received.receive_time_ns,
        payload: received.payload,
    }
}
