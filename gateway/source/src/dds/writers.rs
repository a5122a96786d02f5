//! The writers of a participant, made on demand and kept.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use roverline_protocol::{Guid, SampleId};
use rustdds::dds::WriteError;
use rustdds::mio1::Waker;
use rustdds::no_key::DataWriter;
use rustdds::rpc::SampleIdentity;
use rustdds::{DomainParticipant, GUID, RTPSEntity, Timestamp, WriteOptionsBuilder};

use crate::dds::catalog::Offer;
use crate::dds::names::{dds_topic, dds_type};
use crate::dds::node_announcer::open;
use crate::dds::raw::{Raw, RawAdapter, WANTED, is_plain_little_endian, nanoseconds, timestamp};
use crate::{PublishError, Qos, RawSample};

/// Writers beyond this are refused: a client could otherwise make one per message.
const MAX_WRITERS: usize = 256;
/// Topics that one participant may publish in its life.
const MAX_NAMES: usize = 4_096;
/// Warnings about messages that could not be sent come at most this often.
const WARN_GAP: Duration = Duration::from_secs(5);

/// Our own messages that wait to be handed to the reading side.
const MAX_ECHO: usize = 256;

/// What the reading side needs to know of our own writers. Discovery does not list them, and whether
/// a participant hears itself depends on the network; so the writing side says what it wrote, and
/// this endpoint's clients see it under the identity that every other endpoint sees.
#[derive(Default)]
pub(super) struct Own {
    state: Mutex<OwnState>,
    waker: OnceLock<Waker>,
}

#[derive(Default)]
struct OwnState {
    offers: Vec<Offer>,
    offers_changed: bool,
    echo: VecDeque<(String, RawSample)>,
}

impl Own {
    /// Whom to wake; without anybody, nothing is kept.
    pub(super) fn wake_with(&self, waker: Waker) {
        let _ = self.waker.set(waker);
    }

    /// Our writers as any other participant sees them.
    pub(super) fn offers(&self) -> Vec<Offer> {
        self.lock().offers.clone()
    }

    /// Their ids.
    pub(super) fn ids(&self) -> Vec<GUID> {
        self.lock().offers.iter().map(|offer| offer.writer).collect()
    }

    /// Whether there are other writers than before, and what was written.
    pub(super) fn news(&self) -> (bool, VecDeque<(String, RawSample)>) {
        let mut state = self.lock();
        (std::mem::take(&mut state.offers_changed), std::mem::take(&mut state.echo))
    }

    /// What is served has changed.
    pub(super) fn changed(&self) {
        self.lock().offers_changed = true;
        self.wake();
    }

    fn replaced(&self, gone: Option<GUID>, offer: Option<Offer>) {
        let mut state = self.lock();
        state.offers.retain(|known| Some(known.writer) != gone);
        state.offers.extend(offer);
        state.offers_changed = true;
        drop(state);
        self.wake();
    }

    fn wrote(&self, topic: String, id: SampleIdentity, payload: Bytes, source_time_ns: i64) {
        if self.waker.get().is_none() {
            return;
        }
        let source = Guid(id.writer_guid.to_bytes());
        let seq = u64::try_from(i64::from(id.sequence_number)).unwrap_or(0);
        let id = SampleId { source, seq };
        let receive_time_ns = nanoseconds(Timestamp::now());
        let mut state = self.lock();
        if state.echo.len() == MAX_ECHO {
            state.echo.pop_front();
        }
        state.echo.push_back((topic, RawSample { id, source_time_ns, receive_time_ns, payload }));
        drop(state);
        self.wake();
    }

    fn wake(&self) {
        if let Some(Err(error)) = self.waker.get().map(Waker::wake) {
            tracing::debug!("the reading thread was not woken: {error}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, OwnState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message on its way out.
pub(super) struct Outgoing {
    pub(super) topic: String,
    pub(super) type_name: String,
    pub(super) qos: Qos,
    /// `None` only opens the writer, so that subscribers can find it before the first message.
    pub(super) payload: Option<Bytes>,
    /// 0 for now.
    pub(super) source_time_ns: i64,
}

impl Outgoing {
    /// Refuses what could not be published, in words for whoever sent it.
    pub(super) fn check(&self) -> Result<(), PublishError> {
        let problem = if dds_topic(&self.topic).is_none() {
            format!("{:?} is not a ROS topic name", self.topic)
        } else if dds_type(&self.type_name).is_none() {
            format!("{:?} is not a ROS type: it reads package/msg/Name", self.type_name)
        } else if self.payload.as_ref().is_some_and(|payload| !is_plain_little_endian(payload)) {
            WANTED.to_owned()
        } else {
            return Ok(());
        };
        Err(PublishError::Failed(problem))
    }
}

struct Open {
    type_name: String,
    qos: Qos,
    writer: DataWriter<Raw, RawAdapter>,
    used: Instant,
}

/// The cache of writers; belongs to the publishing thread, since a reliable write may block.
pub(super) struct Writers {
    participant: DomainParticipant,
    own: Arc<Own>,
    open: HashMap<String, Open>,
    /// Every topic there ever was a writer for: the library forgets none.
    names: HashSet<String>,
    /// A writer that nobody used for this long is closed.
    idle: Option<Duration>,
    /// The topic for which there is always room.
    vital: String,
    failures: u64,
    warned: Option<Instant>,
}

impl Writers {
    pub(super) fn new(participant: DomainParticipant, own: Arc<Own>) -> Writers {
        let (open, names) = (HashMap::new(), HashSet::new());
        let vital = String::new();
        Writers { participant, own, open, names, idle: None, vital, failures: 0, warned: None }
    }

    /// Closes writers that nobody used for so long, but for those that keep a message for late
    /// subscribers.
    pub(super) fn close_after(self, idle: Duration) -> Writers {
        Writers { idle: Some(idle), ..self }
    }

    /// There is always room for this topic.
    pub(super) fn reserving(self, vital: String) -> Writers {
        Writers { vital, ..self }
    }

    /// Closes what is due.
    pub(super) fn look_after(&mut self, now: Instant) {
        let Some(idle) = self.idle else { return };
        let unused = |open: &Open| now.saturating_duration_since(open.used) >= idle;
        let (open, own) = (&mut self.open, &self.own);
        open.retain(|_, open| {
            let keep = open.qos.transient_local || !unused(open);
            if !keep {
                own.replaced(Some(open.writer.guid()), None);
            }
            keep
        });
    }

    /// Sends a message; what goes wrong is logged, not too often.
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

    fn try_send(&mut self, message: Outgoing) -> Result<(), String> {
        let Outgoing { topic, type_name, qos, payload, source_time_ns } = message;
        let writer = self.writer(&topic, &type_name, qos)?;
        let Some(payload) = payload else { return Ok(()) };
        let stamp = timestamp(source_time_ns).unwrap_or_else(Timestamp::now);
        let options = WriteOptionsBuilder::new().source_timestamp(stamp).build();
        match writer.write_with_options(Raw(payload.clone()), options) {
            Ok(id) => {
                self.own.wrote(topic, id, payload, nanoseconds(stamp));
                Ok(())
            }
            Err(WriteError::WouldBlock { .. }) => Err("a subscriber has stopped acknowledging".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The writer of a topic. One that offers less than asked for is replaced.
    fn writer(
        &mut self,
        topic: &str,
        type_name: &str,
        qos: Qos,
    ) -> Result<&DataWriter<Raw, RawAdapter>, String> {
        let known = self.open.get(topic);
        if let Some(other) = known.filter(|open| open.type_name != type_name) {
            return Err(format!("it is already published as {}", other.type_name));
        }
        let enough = known.is_some_and(|open| {
            open.qos.reliable >= qos.reliable && open.qos.transient_local >= qos.transient_local
        });
        if !enough {
            self.make(topic, type_name, qos)?;
        }
        let open = self.open.get_mut(topic).ok_or_else(|| "it has no writer".to_owned())?;
        open.used = Instant::now();
        Ok(&open.writer)
    }

    fn make(&mut self, topic: &str, type_name: &str, qos: Qos) -> Result<(), String> {
        let vital = topic == self.vital;
        if !vital && self.open.len() >= MAX_WRITERS && !self.open.contains_key(topic) {
            return Err(format!("{MAX_WRITERS} topics are published already"));
        }
        if !vital && self.names.len() >= MAX_NAMES && !self.names.contains(topic) {
            return Err(format!("{MAX_NAMES} topics have been published already"));
        }
        self.names.insert(topic.to_owned());
        let names = dds_topic(topic).zip(dds_type(type_name)).ok_or("it has no DDS name")?;
        let gone = self.open.remove(topic).map(|open| open.writer.guid());
        let writer = open(&self.participant, (&names.0, &names.1), qos).map_err(|error| error.to_string())?;
        let offer =
            Offer { writer: writer.guid(), topic: topic.to_owned(), type_name: type_name.to_owned(), qos };
        self.own.replaced(gone, Some(offer));
        let (type_name, used) = (type_name.to_owned(), Instant::now());
        self.open.insert(topic.to_owned(), Open { type_name, qos, writer, used });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dds::{DdsOptions, participant};

    fn message(topic: &str, transient_local: bool) -> Outgoing {
        let (topic, type_name) = (topic.to_owned(), "std_msgs/msg/Bool".to_owned());
        let qos = Qos { reliable: true, transient_local };
        let payload = Some(Bytes::from_static(&[0, 1, 0, 0, 1]));
        Outgoing { topic, type_name, qos, payload, source_time_ns: 0 }
    }

    #[test]
    fn writers_that_nobody_uses_are_closed_but_for_latched_ones() {
        let options = DdsOptions { domain_id: 231, localhost_only: true, ..DdsOptions::default() };
        let own = Arc::new(Own::default());
        let idle = Duration::from_secs(60);
        let mut writers = Writers::new(participant::join(&options).unwrap(), own.clone()).close_after(idle);
        writers.send(message("/now", false));
        writers.send(message("/latched", true));
        writers.look_after(Instant::now());
        assert_eq!(own.offers().len(), 2);
        writers.look_after(Instant::now() + idle);
        let topics: Vec<String> = own.offers().into_iter().map(|offer| offer.topic).collect();
        assert_eq!(topics, ["/latched"]);
        writers.send(message("/now", false));
        assert_eq!(own.offers().len(), 2, "it is opened again");
    }

    #[test]
    fn the_emergency_stop_finds_room_where_clients_left_none() {
        let options = DdsOptions { domain_id: 231, localhost_only: true, ..DdsOptions::default() };
        let own = Arc::new(Own::default());
        let writers = Writers::new(participant::join(&options).unwrap(), own.clone());
        let mut writers = writers.reserving("/emergency_stop".to_owned());
        writers.names = (0..MAX_NAMES).map(|at| format!("/t{at}")).collect();
        writers.send(message("/one/more", true));
        assert!(own.offers().is_empty());
        writers.send(message("/emergency_stop", true));
        assert_eq!(own.offers().len(), 1);
    }
}
