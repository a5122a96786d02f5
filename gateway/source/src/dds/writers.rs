//! The writers of a participant, created on demand and cached.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::dds::catalog::Offer;
use crate::dds::engine::{Participant, WriteError, Writer};
use crate::dds::first_messages::{FirstMessages, readers_of};
use crate::dds::local_writers::LocalWriters;
use crate::dds::names::{dds_topic, dds_type};
use crate::dds::outgoing::Outgoing;
use crate::{Qos, SourceError};

/// The maximum number of open writers; otherwise a client could open one per message.
const MAX_WRITERS: usize = 256;
/// Topic names that one participant may ever publish.
const MAX_NAMES: usize = 4_096;
/// The shortest interval between two warnings about unpublished messages.
const WARN_GAP: Duration = Duration::from_secs(5);

/// Why a message was not published.
#[derive(Debug, thiserror::Error)]
enum WriterError {
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("it is already published as {0}")]
    OtherType(String),
    #[error("{MAX_WRITERS} topics are published already")]
    TooManyWriters,
    #[error("{MAX_NAMES} topics have been published already")]
    TooManyNames,
    #[error("it has no DDS name")]
    NoDdsName,
    #[error("it has no writer")]
    NoWriter,
    #[error(transparent)]
    Open(#[from] SourceError),
}

/// An open writer and when it was last used.
struct OpenWriter {
    type_name: String,
    qos: Qos,
    writer: Box<dyn Writer>,
    used: Instant,
    /// Whether it retains a message for late subscribers, if it is transient local.
    has_written: bool,
    /// While one of these lives it stays open.
    keepers: Vec<Weak<()>>,
}

impl OpenWriter {
    fn is_kept(&self) -> bool {
        self.keepers.iter().any(|keeper| keeper.strong_count() > 0)
    }
}

/// The cache of writers. Owned by the publishing thread, since a reliable write may block.
pub(super) struct Writers {
    participant: Arc<dyn Participant>,
    own: Arc<LocalWriters>,
    open: HashMap<String, OpenWriter>,
    /// Every topic that ever had a writer; the library never frees one.
    names: HashSet<String>,
    /// Writers unused for this long are closed.
    idle: Option<Duration>,
    /// The topic exempt from the limits.
    reserved_topic: String,
    first: FirstMessages,
    failures: u64,
    warned: Option<Instant>,
}

impl Writers {
    pub(super) fn new(participant: Arc<dyn Participant>, own: Arc<LocalWriters>) -> Writers {
        let (open, names) = (HashMap::new(), HashSet::new());
        let reserved_topic = String::new();
        let first = FirstMessages::default();
        Writers {
            participant,
            own,
            open,
            names,
            idle: None,
            reserved_topic,
            first,
            failures: 0,
            warned: None,
        }
    }

    /// Closes writers that were unused for `idle`, except those that retain a message for late
    /// subscribers.
    pub(super) fn close_after(self, idle: Duration) -> Writers {
        Writers { idle: Some(idle), ..self }
    }

    /// Exempts this topic from the limits.
    pub(super) fn with_reserved_topic(self, reserved_topic: String) -> Writers {
        Writers { reserved_topic, ..self }
    }

    /// Closes the writers that have been idle too long.
    pub(super) fn close_idle(&mut self, now: Instant) {
        let Some(idle) = self.idle else { return };
        let unused = |open: &OpenWriter| now.saturating_duration_since(open.used) >= idle;
        let (open, own) = (&mut self.open, &self.own);
        open.retain(|_, open| {
            let retains = open.qos.transient_local && open.has_written;
            let keep = retains || open.is_kept() || !unused(open);
            if !keep {
                own.replace_offer(Some(open.writer.guid()), None);
            }
            keep
        });
    }

    /// Publishes a message, at once or when the known readers match its new writer.
    pub(super) fn send(&mut self, message: Outgoing) {
        let (topic, type_name, qos) = (message.topic.clone(), message.type_name.clone(), message.qos);
        match self.writer(&topic, &type_name, qos) {
            Err(problem) => return self.report(&topic, &problem),
            Ok(open) if message.keeper.strong_count() > 0 => {
                open.keepers.retain(|keeper| keeper.strong_count() > 0);
                open.keepers.push(message.keeper.clone());
            }
            Ok(_) => {}
        }
        for message in self.first.hold(message) {
            self.write(message);
        }
    }

    /// Publishes what has waited for its readers; returns whether something still waits.
    pub(super) fn send_held(&mut self, now: Instant) -> bool {
        let open = &mut self.open;
        let matched = |topic: &str| open.get_mut(topic).map(|open| open.writer.matched()).unwrap_or_default();
        for message in self.first.ready(now, matched) {
            self.write(message);
        }
        !self.first.is_empty()
    }

    /// Writes a message; failures are logged.
    fn write(&mut self, message: Outgoing) {
        let topic = message.topic.clone();
        if let Err(problem) = self.try_write(message) {
            self.report(&topic, &problem);
        }
    }

    /// Logs a failure, rate-limited.
    fn report(&mut self, topic: &str, problem: &WriterError) {
        self.failures += 1;
        if self.warned.is_none_or(|at| at.elapsed() >= WARN_GAP) {
            tracing::warn!(failures = self.failures, "a message to {topic} was not published: {problem}");
            self.warned = Some(Instant::now());
            self.failures = 0;
        }
    }

    fn try_write(&mut self, message: Outgoing) -> Result<(), WriterError> {
        let Outgoing { topic, type_name, qos, payload, source_time_ns, .. } = message;
        let open = self.writer(&topic, &type_name, qos)?;
        let Some(payload) = payload else { return Ok(()) };
        let written = open.writer.write(&payload, source_time_ns, None)?;
        open.has_written = true;
        self.own.record_write(topic, written, payload);
        Ok(())
    }

    /// The writer of a topic. One whose QoS is weaker than requested is replaced.
    fn writer(&mut self, topic: &str, type_name: &str, qos: Qos) -> Result<&mut OpenWriter, WriterError> {
        let known = self.open.get(topic);
        if let Some(other) = known.filter(|open| open.type_name != type_name) {
            return Err(WriterError::OtherType(other.type_name.clone()));
        }
        let strong_enough = known.is_some_and(|open| {
            open.qos.reliable >= qos.reliable && open.qos.transient_local >= qos.transient_local
        });
        if !strong_enough {
            self.open(topic, type_name, qos)?;
        }
        let open = self.open.get_mut(topic).ok_or(WriterError::NoWriter)?;
        open.used = Instant::now();
        Ok(open)
    }

    fn open(&mut self, topic: &str, type_name: &str, qos: Qos) -> Result<(), WriterError> {
        let reserved_topic = topic == self.reserved_topic;
        if !reserved_topic && self.open.len() >= MAX_WRITERS && !self.open.contains_key(topic) {
            return Err(WriterError::TooManyWriters);
        }
        if !reserved_topic && self.names.len() >= MAX_NAMES && !self.names.contains(topic) {
            return Err(WriterError::TooManyNames);
        }
        self.names.insert(topic.to_owned());
        let names = dds_topic(topic).zip(dds_type(type_name)).ok_or(WriterError::NoDdsName)?;
        let before = self.open.remove(topic);
        let replaced = before.as_ref().map(|open| open.writer.guid());
        let keepers = before.map(|open| open.keepers).unwrap_or_default();
        let writer = self.participant.open_writer(&names, qos)?;
        // Of latched messages, only readers that ask for them get what was written before they matched; the stop is
        // repeated, and is not to wait.
        if !qos.transient_local {
            let readers = readers_of(self.participant.readers(), &names, qos);
            self.first.opened(topic, readers, Instant::now());
        }
        let offer = Offer {
            writer: writer.guid(),
            topic: topic.to_owned(),
            type_name: type_name.to_owned(),
            qos,
            history_depth: 1,
        };
        self.own.replace_offer(replaced, Some(offer));
        let (type_name, used) = (type_name.to_owned(), Instant::now());
        let open = OpenWriter { type_name, qos, writer, used, has_written: false, keepers };
        self.open.insert(topic.to_owned(), open);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::dds::{DdsOptions, engine};

    fn message(topic: &str, transient_local: bool) -> Outgoing {
        let (topic, type_name) = (topic.to_owned(), "std_msgs/msg/Bool".to_owned());
        let qos = Qos { reliable: true, transient_local };
        let payload = Some(Bytes::from_static(&[0, 1, 0, 0, 1]));
        Outgoing { topic, type_name, qos, payload, source_time_ns: 0, keeper: Weak::new() }
    }

    #[test]
    fn idle_writers_are_closed_except_latched_ones() {
        let options = DdsOptions { domain_id: 231, localhost_only: true, ..DdsOptions::default() };
        let own = Arc::new(LocalWriters::default());
        let idle = Duration::from_secs(60);
        let mut writers = Writers::new(engine::join(&options).unwrap(), own.clone()).close_after(idle);
        writers.send(message("/now", false));
        writers.send(message("/latched", true));
        writers.close_idle(Instant::now());
        assert_eq!(own.offers().len(), 2);
        writers.close_idle(Instant::now() + idle);
        let topics: Vec<String> = own.offers().into_iter().map(|offer| offer.topic).collect();
        assert_eq!(topics, ["/latched"]);
        writers.send(message("/now", false));
        assert_eq!(own.offers().len(), 2, "it is opened again");
    }

    #[test]
    fn an_advertised_topic_has_a_writer_until_it_is_withdrawn() {
        let options = DdsOptions { domain_id: 231, localhost_only: true, ..DdsOptions::default() };
        let own = Arc::new(LocalWriters::default());
        let idle = Duration::from_secs(60);
        let mut writers = Writers::new(engine::join(&options).unwrap(), own.clone()).close_after(idle);
        let keeper = Arc::new(());
        for (topic, transient_local) in [("/feedback", false), ("/status", true)] {
            let keeper = Arc::downgrade(&keeper);
            writers.send(Outgoing { payload: None, keeper, ..message(topic, transient_local) });
        }
        writers.close_idle(Instant::now() + idle);
        assert_eq!(own.offers().len(), 2);
        // A client that wants it latched replaces the writer; the advertisement stays.
        writers.send(Outgoing { payload: None, ..message("/feedback", true) });
        writers.close_idle(Instant::now() + idle);
        assert_eq!(own.offers().len(), 2);
        drop(keeper);
        writers.close_idle(Instant::now() + idle);
        assert!(own.offers().is_empty(), "nothing was written, so nothing is retained");
    }

    #[test]
    fn the_emergency_stop_finds_room_where_clients_left_none() {
        let options = DdsOptions { domain_id: 231, localhost_only: true, ..DdsOptions::default() };
        let own = Arc::new(LocalWriters::default());
        let writers = Writers::new(engine::join(&options).unwrap(), own.clone());
        let mut writers = writers.with_reserved_topic("/emergency_stop".to_owned());
        writers.names = (0..MAX_NAMES).map(|at| format!("/t{at}")).collect();
        writers.send(message("/one/more", true));
        assert!(own.offers().is_empty());
        writers.send(message("/emergency_stop", true));
        assert_eq!(own.offers().len(), 1);
    }
}
