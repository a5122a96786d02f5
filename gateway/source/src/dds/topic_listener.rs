//! A topic subscription that bypasses the hub, for a goal's feedback or parameter events.

use rustdds::mio1::event::Source as _;
use rustdds::mio1::{Interest, Registry, Token};
use rustdds::{DomainParticipant, Subscriber, Timestamp};
use tokio::sync::mpsc;

use crate::dds::catalog::Class;
use crate::dds::names::{dds_topic, dds_type};
use crate::dds::reader::{RawReader, create, raw_sample, take};
use crate::dds::service_broker::{Permit, ServiceBroker};
use crate::{RawSample, SourceError, TopicListener};

/// Samples kept until the thread takes them.
const DEPTH: i32 = 64;

/// One subscription.
pub(super) struct Listener {
    reader: RawReader,
    samples: mpsc::Sender<RawSample>,
    /// A volatile reader ignores older samples, which are left over in the topic's cache.
    since: Option<Timestamp>,
    _permit: Permit,
}

impl Listener {
    pub(super) fn open(
        listen: TopicListener,
        permit: Permit,
        participant: &DomainParticipant,
        subscriber: &Subscriber,
        broker: &ServiceBroker,
    ) -> Result<Listener, SourceError> {
        let names = dds_topic(&listen.topic).zip(dds_type(&listen.type_name));
        let names = names.ok_or_else(|| SourceError(format!("{} is not a ROS topic", listen.topic)))?;
        let class = if listen.latched { Class::Latched } else { Class::Reliable };
        let since = (!listen.latched).then(Timestamp::now);
        let reader = create(participant, subscriber, &names, class, DEPTH)?;
        broker.add_local_listener(listen.topic, listen.samples.clone());
        Ok(Listener { reader, samples: listen.samples, since, _permit: permit })
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> Result<(), SourceError> {
        self.reader
            .register(registry, token, Interest::READABLE)
            .map_err(|error| SourceError(format!("cannot wait for a topic: {error}")))
    }

    /// Whether the receiver is gone.
    pub(super) fn is_closed(&self) -> bool {
        self.samples.is_closed()
    }

    /// Delivers what has arrived.
    pub(super) fn drain(&self) {
        let own = self.reader.guid().prefix;
        while take(&self.reader, |change| {
            let stale = self.since.is_some_and(|since| change.receive_instant < since);
            // The publishing side delivers what we write ourselves.
            if let Some(sample) = raw_sample(change).filter(|(of, _)| !stale && of.prefix != own) {
                // A full channel drops the sample.
                drop(self.samples.try_send(sample.1));
            }
        }) {}
    }
}
