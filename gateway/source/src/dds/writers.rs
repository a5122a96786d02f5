//! The writers of a participant, created on demand and cached.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use roverline_protocol::{Guid, SampleId};

use crate::clock::unix_ns;
use crate::dds::catalog::Offer;
use crate::dds::engine::cdr::{REQUIRED_ENCODING, is_plain_little_endian};
use crate::dds::engine::wait_set::Trigger;
use crate::dds::engine::{Participant, WriteError, Writer, Written};
use crate::dds::names::{dds_topic, dds_type};
use crate::{PublishError, Qos, RawSample, SourceError};

/// The maximum number of open writers; otherwise a client could open one per message.
const MAX_WRITERS: usize = 256;
/// Topic names that one participant may ever publish.
const MAX_NAMES: usize = 4_096;
/// The shortest interval between two warnings about unpublished messages.
const WARN_GAP: Duration = Duration::from_secs(5);

/// Our own messages that may wait for the reader thread.
const MAX_ECHO: usize = 256;

/// Our own writers, as the reader thread sees them. Discovery does not list them, and whether a
/// participant receives its own samples depends on the network. So the publishing side records what it
/// wrote, and this endpoint's clients see it under the same identity as clients of the other endpoints.
#[derive(Default)]
pub(super) struct LocalWriters {
    state: Mutex<LocalWritersState>,
    waker: OnceLock<Trigger>,
}

#[derive(Default)]
struct LocalWritersState {
    offers: Vec<Offer>,
    offers_changed: bool,
    echo: VecDeque<(String, RawSample)>,
}

impl LocalWriters {
    /// Sets the waker of the reader thread. Without one, nothing is recorded.
    pub(super) fn wake_with(&self, waker: Trigger) {
        let _ = self.waker.set(waker);
    }

    /// Our writers, as other participants see them.
    pub(super) fn offers(&self) -> Vec<Offer> {
        self.state.lock().offers.clone()
    }

    /// The Guids of our writers.
    pub(super) fn ids(&self) -> Vec<Guid> {
        self.state.lock().offers.iter().map(|offer| offer.writer).collect()
    }

    /// Takes whether the set of writers changed, and what was written since the last call.
    pub(super) fn take_changes(&self) -> (bool, VecDeque<(String, RawSample)>) {
        let mut state = self.state.lock();
        (std::mem::take(&mut state.offers_changed), std::mem::take(&mut state.echo))
    }

    /// Records that the set of served services changed.
    pub(super) fn notify_changed(&self) {
        self.state.lock().offers_changed = true;
        self.wake();
    }

    fn replace_offer(&self, replaced: Option<Guid>, offer: Option<Offer>) {
        let mut state = self.state.lock();
        state.offers.retain(|known| Some(known.writer) != replaced);
        state.offers.extend(offer);
        state.offers_changed = true;
        drop(state);
        self.wake();
    }

    fn record_write(&self, topic: String, written: Written, payload: Bytes) {
        if self.waker.get().is_none() {
            return;
        }
        let Written { identity, source_time_ns } = written;
        let seq = u64::try_from(identity.sequence_number).unwrap_or(0);
        let id = SampleId { source: identity.writer, seq };
        let receive_time_ns = unix_ns();
        let mut state = self.state.lock();
        if state.echo.len() == MAX_ECHO {
            state.echo.pop_front();
        }
        state.echo.push_back((topic, RawSample { id, source_time_ns, receive_time_ns, payload }));
        drop(state);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.fire();
        }
    }
}

/// A message to be published.
pub(super) struct Outgoing {
    pub(super) topic: String,
    pub(super) type_name: String,
    pub(super) qos: Qos,
    /// `None` only opens the writer, so that subscribers match it before the first message.
    pub(super) payload: Option<Bytes>,
    /// 0 means now.
    pub(super) source_time_ns: i64,
}

impl Outgoing {
    /// Rejects a message that could not be published, with the reason.
    pub(super) fn check(&self) -> Result<(), PublishError> {
        let problem = if dds_topic(&self.topic).is_none() {
            format!("{:?} is not a ROS topic name", self.topic)
        } else if dds_type(&self.type_name).is_none() {
            format!("{:?} is not a ROS type: it reads package/msg/Name", self.type_name)
        } else if self.payload.as_ref().is_some_and(|payload| !is_plain_little_endian(payload)) {
            REQUIRED_ENCODING.to_owned()
        } else {
            return Ok(());
        };
        Err(PublishError::Failed(problem))
    }
}

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
    failures: u64,
    warned: Option<Instant>,
}

impl Writers {
    pub(super) fn new(participant: Arc<dyn Participant>, own: Arc<LocalWriters>) -> Writers {
        let (open, names) = (HashMap::new(), HashSet::new());
        let reserved_topic = String::new();
        Writers { participant, own, open, names, idle: None, reserved_topic, failures: 0, warned: None }
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
            let keep = open.qos.transient_local || !unused(open);
            if !keep {
                own.replace_offer(Some(open.writer.guid()), None);
            }
            keep
        });
    }

    /// Publishes a message; failures are logged, rate-limited.
    pub(super) fn send(&mut self, message: Outgoing) {
        let topic = message.topic.clone();
        let Err(problem) = self.try_send(message) else { return };
        self.failures += 1;
        if self.warned.is_none_or(|at| at.elapsed() >= WARN_GAP) {
            tracing::warn!(failures = self.failures, "a message to {topic} was not published: {problem}");
            self.warned = Some(Instant::now());
            self.failures = 0;
        }
    }

    fn try_send(&mut self, message: Outgoing) -> Result<(), WriterError> {
        let Outgoing { topic, type_name, qos, payload, source_time_ns } = message;
        let writer = self.writer(&topic, &type_name, qos)?;
        let Some(payload) = payload else { return Ok(()) };
        let written = writer.write(&payload, source_time_ns, None)?;
        self.own.record_write(topic, written, payload);
        Ok(())
    }

    /// The writer of a topic. One whose QoS is weaker than requested is replaced.
    fn writer(
        &mut self,
        topic: &str,
        type_name: &str,
        qos: Qos,
    ) -> Result<&mut Box<dyn Writer>, WriterError> {
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
        Ok(&mut open.writer)
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
        let replaced = self.open.remove(topic).map(|open| open.writer.guid());
        let writer = self.participant.open_writer(&names, qos)?;
        let offer =
            Offer { writer: writer.guid(), topic: topic.to_owned(), type_name: type_name.to_owned(), qos };
        self.own.replace_offer(replaced, Some(offer));
        let (type_name, used) = (type_name.to_owned(), Instant::now());
        self.open.insert(topic.to_owned(), OpenWriter { type_name, qos, writer, used });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dds::{DdsOptions, engine};

    fn message(topic: &str, transient_local: bool) -> Outgoing {
        let (topic, type_name) = (topic.to_owned(), "std_msgs/msg/Bool".to_owned());
        let qos = Qos { reliable: true, transient_local };
        let payload = Some(Bytes::from_static(&[0, 1, 0, 0, 1]));
        Outgoing { topic, type_name, qos, payload, source_time_ns: 0 }
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
