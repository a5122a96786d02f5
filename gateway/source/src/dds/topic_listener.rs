//! Listening to one topic apart from the hub: to a goal's feedback, to parameter events.

use rustdds::mio1::event::Source as _;
use rustdds::mio1::{Interest, Registry, Token};
use rustdds::{DomainParticipant, Subscriber, Timestamp};
use tokio::sync::mpsc;

use crate::dds::catalog::Class;
use crate::dds::names::{dds_topic, dds_type};
use crate::dds::reader::{RawReader, create, raw_sample, take};
use crate::dds::service_broker::{Desk, Seat};
use crate::{Listen, RawSample, SourceError};

/// Samples kept until the thread takes them.
const DEPTH: i32 = 64;

/// One subscription.
pub(super) struct Listener {
    reader: RawReader,
    samples: mpsc::Sender<RawSample>,
    /// What a volatile reader finds from before is left over from another one.
    since: Option<Timestamp>,
    _seat: Seat,
}

impl Listener {
    pub(super) fn open(
        listen: Listen,
        seat: Seat,
        participant: &DomainParticipant,
        subscriber: &Subscriber,
        desk: &Desk,
    ) -> Result<Listener, SourceError> {
        let names = dds_topic(&listen.topic).zip(dds_type(&listen.type_name));
        let names = names.ok_or_else(|| SourceError(format!("{} is not a ROS topic", listen.topic)))?;
        let class = if listen.latched { Class::Latched } else { Class::Reliable };
        let since = (!listen.latched).then(Timestamp::now);
        let reader = create(participant, subscriber, &names, class, DEPTH)?;
        desk.add_ear(listen.topic, listen.samples.clone());
        Ok(Listener { reader, samples: listen.samples, since, _seat: seat })
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> Result<(), SourceError> {
        self.reader
            .register(registry, token, Interest::READABLE)
            .map_err(|error| SourceError(format!("cannot wait for a topic: {error}")))
    }

    /// Whether nobody listens any more.
    pub(super) fn is_closed(&self) -> bool {
        self.samples.is_closed()
    }

    /// Hands on what has arrived.
    pub(super) fn drain(&self) {
        let own = self.reader.guid().prefix;
        while take(&self.reader, |change| {
            let stale = self.since.is_some_and(|since| change.receive_instant < since);
            // What we write ourselves is handed on by who writes it.
            if let Some(sample) = raw_sample(change).filter(|(of, _)| !stale && of.prefix != own) {
                // One that is full misses it.
                drop(self.samples.try_send(sample.1));
            }
        }) {}
    }
}
