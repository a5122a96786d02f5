//! A topic subscription that bypasses the hub, for a goal's feedback or parameter events.

use tokio::sync::mpsc;

use crate::clock::unix_ns;
use crate::dds::engine::Class;
use crate::dds::engine::wait_set::WaitSet;
use crate::dds::engine::{Participant, Reader, prefix};
use crate::dds::names::{dds_topic, dds_type};
use crate::dds::reader::raw_sample;
use crate::dds::service_broker::{Permit, ServiceBroker};
use crate::{RawSample, SourceError, TopicListener};

/// Samples kept until the thread takes them.
const DEPTH: i32 = 64;

/// One subscription.
pub(super) struct Listener {
    reader: Box<dyn Reader>,
    samples: mpsc::Sender<RawSample>,
    /// A volatile reader ignores older samples, which are left over in the topic's cache.
    since: Option<i64>,
    _permit: Permit,
}

impl Listener {
    pub(super) fn open(
        listen: TopicListener,
        permit: Permit,
        participant: &dyn Participant,
        broker: &ServiceBroker,
    ) -> Result<Listener, SourceError> {
        let names = dds_topic(&listen.topic).zip(dds_type(&listen.type_name));
        let names = names.ok_or_else(|| SourceError(format!("{} is not a ROS topic", listen.topic)))?;
        let class = if listen.latched { Class::Latched } else { Class::Reliable };
        let since = (!listen.latched).then(unix_ns);
        let reader = participant.open_reader(&names, class, DEPTH)?;
        broker.add_local_listener(listen.topic, listen.samples.clone());
        Ok(Listener { reader, samples: listen.samples, since, _permit: permit })
    }

    pub(super) fn attach(&mut self, waits: &WaitSet, token: usize) -> Result<(), SourceError> {
        self.reader
            .attach(waits, token)
            .map_err(|error| SourceError(format!("cannot wait for a topic: {error}")))
    }

    /// Whether the receiver is gone.
    pub(super) fn is_closed(&self) -> bool {
        self.samples.is_closed()
    }

    /// Delivers what has arrived.
    pub(super) fn drain(&mut self) {
        let own = prefix(self.reader.guid());
        let (since, samples) = (self.since, &self.samples);
        while self.reader.take(&mut |sample| {
            let stale = since.is_some_and(|since| sample.receive_time_ns < since);
            // The publishing side delivers what we write ourselves.
            let wanted = !stale && prefix(sample.identity.writer) != own;
            if let Some(sample) = raw_sample(sample).filter(|_| wanted) {
                // A full channel drops the sample.
                drop(samples.try_send(sample));
            }
        }) {}
    }
}
