//! Calling one service of others: a writer of requests and a reader of replies, kept for later calls.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use bytes::Bytes;
use roverline_protocol::limits;
use rustdds::mio1::event::Source as _;
use rustdds::mio1::{Interest, Registry, Token};
use rustdds::no_key::{DataWriter, DeserializedCacheChange};
use rustdds::rpc::SampleIdentity;
use rustdds::{
    DataReaderStatus, DataWriterStatus, DomainParticipant, GUID, RTPSEntity, SequenceNumber, StatusEvented,
    Subscriber, Timestamp, WriteOptionsBuilder,
};
use tokio::sync::oneshot;

use crate::dds::catalog::Class;
use crate::dds::names;
use crate::dds::node_announcer::open;
use crate::dds::raw::{Raw, RawAdapter};
use crate::dds::reader::{RawReader, create, take};
use crate::dds::request_correlation::{Number, cyclone_request, is_cyclone, read_reply};
use crate::dds::service_broker::Seat;
use crate::{Call, CallError, Qos, SourceError};

/// Replies kept until the thread takes them.
const DEPTH: i32 = 64;
/// We find a server before it finds us, and our writer before our reader: what is sent in between would
/// be lost.
const SETTLE: Duration = Duration::from_millis(100);

/// A call and its caller.
pub(super) struct Asked {
    pub(super) service: String,
    pub(super) type_name: String,
    pub(super) request: Bytes,
    pub(super) deadline: Instant,
    since: Instant,
    timeout: Duration,
    answer: oneshot::Sender<Result<Bytes, CallError>>,
    _seat: Seat,
}

impl Asked {
    pub(super) fn new(call: Call, seat: Seat) -> Asked {
        let Call { service, type_name, request, timeout, answer } = call;
        let since = Instant::now();
        // A time beyond what the clock can tell is for ever.
        let deadline = since.checked_add(timeout).unwrap_or(since + Duration::from_secs(1 << 32));
        Asked { service, type_name, request, deadline, since, timeout, answer, _seat: seat }
    }

    /// Answers, if anybody waits for it still.
    pub(super) fn answer(self, answer: Result<Bytes, CallError>) {
        drop(self.answer.send(answer));
    }

    pub(super) fn time_out(self) {
        let (service, timeout) = (self.service.clone(), self.timeout);
        self.answer(Err(CallError::Timeout { service, timeout }));
    }

    /// Whether its time is up, or nobody waits for it any more.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.deadline <= now || self.answer.is_closed()
    }

    /// Answers where nobody has come to serve it; returns it otherwise.
    pub(super) fn unless_in_vain(self, now: Instant) -> Option<Asked> {
        let grace = Duration::from_millis(limits::SERVICE_GRACE_MS);
        if self.is_over(now) || now.saturating_duration_since(self.since) >= grace {
            let service = self.service.clone();
            self.answer(Err(CallError::NoServer(service)));
            return None;
        }
        Some(self)
    }
}

/// The client of one service.
pub(super) struct Client {
    type_name: String,
    requests: DataWriter<Raw, RawAdapter>,
    replies: RawReader,
    id: [u8; 8],
    number: i64,
    /// Servers' readers and writers that ours have found.
    readers: BTreeSet<GUID>,
    writers: BTreeSet<GUID>,
    /// When the server may be asked.
    ready_at: Option<Instant>,
    waiting: Vec<Asked>,
    asked: BTreeMap<Number, Asked>,
    used: Instant,
    since: Timestamp,
}

impl Client {
    pub(super) fn open(
        asked: &Asked,
        participant: &DomainParticipant,
        subscriber: &Subscriber,
    ) -> Result<Client, SourceError> {
        let [request, reply] = names::service(&asked.service, &asked.type_name)
            .ok_or_else(|| SourceError(format!("{} is not a ROS service", asked.service)))?;
        let since = Timestamp::now();
        // First, so that who serves it has heard of it by the first request.
        let replies = create(participant, subscriber, &reply, Class::Reliable, DEPTH)?;
        let qos = Qos { reliable: true, transient_local: false };
        let requests = open(participant, (&request.0, &request.1), qos)?;
        Ok(Client {
            type_name: asked.type_name.clone(),
            requests,
            replies,
            // Random, as std seeds every one of them anew.
            id: RandomState::new().build_hasher().finish().to_le_bytes(),
            number: 0,
            readers: BTreeSet::new(),
            writers: BTreeSet::new(),
            ready_at: None,
            waiting: Vec::new(),
            asked: BTreeMap::new(),
            used: Instant::now(),
            since,
        })
    }

    /// `token` is the first of three.
    pub(super) fn register(&mut self, registry: &Registry, token: usize) -> Result<(), SourceError> {
        let readable = Interest::READABLE;
        self.replies
            .register(registry, Token(token), readable)
            .and_then(|()| {
                self.replies.as_status_source_mio1().register(registry, Token(token + 1), readable)
            })
            .and_then(|()| {
                self.requests.as_status_source_mio1().register(registry, Token(token + 2), readable)
            })
            .map_err(|error| SourceError(format!("cannot wait for replies: {error}")))
    }

    pub(super) fn type_name(&self) -> &String {
        &self.type_name
    }

    pub(super) fn used(&self) -> Instant {
        self.used
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.asked.is_empty()
    }

    pub(super) fn is_unused(&self, now: Instant) -> bool {
        let idle = Duration::from_millis(limits::SERVICE_CLIENT_IDLE_MS);
        self.is_idle() && now.saturating_duration_since(self.used) >= idle
    }

    /// When something is due.
    pub(super) fn due(&self) -> Option<Instant> {
        let calls = self.waiting.iter().chain(self.asked.values()).map(|asked| asked.deadline);
        calls.chain(self.ready_at.filter(|_| !self.waiting.is_empty())).min()
    }

    /// Takes a call; it is sent as soon as a server is found.
    pub(super) fn ask(&mut self, asked: Asked) {
        self.used = Instant::now();
        self.waiting.push(asked);
    }

    /// Hears of servers and takes replies.
    pub(super) fn drive(&mut self, now: Instant) {
        self.hear_matches(now);
        let mut replies = Vec::new();
        while take(&self.replies, |change| replies.push(change)) {}
        for change in replies {
            self.reply(&change);
        }
        self.send(now);
    }

    fn hear_matches(&mut self, now: Instant) {
        let had = self.server().is_some();
        while let Some(status) = self.requests.try_recv_status() {
            if let DataWriterStatus::PublicationMatched { current, reader, .. } = status {
                note(&mut self.readers, reader, current.count_change());
            }
        }
        while let Some(status) = self.replies.try_recv_status() {
            if let DataReaderStatus::SubscriptionMatched { current, writer, .. } = status {
                note(&mut self.writers, writer, current.count_change());
            }
        }
        match (had, self.server().is_some()) {
            (false, true) => self.ready_at = Some(now + SETTLE),
            (true, false) => {
                self.ready_at = None;
                for asked in std::mem::take(&mut self.asked).into_values() {
                    let why = format!("the node that served {} is gone", asked.service);
                    asked.answer(Err(CallError::Failed(why)));
                }
            }
            _ => {}
        }
    }

    /// The reader of a server that can answer as well.
    fn server(&self) -> Option<GUID> {
        let answers = |reader: &&GUID| self.writers.iter().any(|writer| writer.prefix == reader.prefix);
        self.readers.iter().find(answers).copied()
    }

    fn send(&mut self, now: Instant) {
        let Some(server) = self.server().filter(|_| self.ready_at.is_some_and(|at| at <= now)) else {
            return;
        };
        for mut asked in std::mem::take(&mut self.waiting) {
            if asked.is_over(now) {
                asked.time_out();
                continue;
            }
            match self.write(server, std::mem::take(&mut asked.request)) {
                Ok(number) => drop(self.asked.insert(number, asked)),
                Err(error) => {
                    let why = format!("{} was not asked: {error}", asked.service);
                    asked.answer(Err(CallError::Failed(why)));
                }
            }
        }
    }

    fn write(&mut self, server: GUID, request: Bytes) -> Result<Number, String> {
        self.number += 1;
        let cyclone = is_cyclone(server);
        let (request, options) = if cyclone {
            (cyclone_request(self.id, self.number, &request), WriteOptionsBuilder::new())
        } else {
            // The reader that waits for the reply, and no number yet.
            let writer_guid = self.replies.guid();
            let waits = SampleIdentity { writer_guid, sequence_number: SequenceNumber::UNKNOWN };
            (request, WriteOptionsBuilder::new().related_sample_identity(waits))
        };
        let written = self.requests.write_with_options(Raw(request), options.build());
        let written = written.map_err(|error| error.to_string())?;
        Ok(match cyclone {
            true => Number::Header(self.number),
            false => Number::Sequence(i64::from(written.sequence_number)),
        })
    }

    fn reply(&mut self, change: &DeserializedCacheChange<Raw>) {
        if change.receive_instant < self.since {
            return;
        }
        let related = change.write_options.related_sample_identity();
        let ours = (self.id, [self.replies.guid(), self.requests.guid()]);
        match read_reply(change.writer_guid, related, &change.sample.0, ours) {
            // A late one finds nobody who waits.
            Ok(Some((number, body))) => {
                if let Some(asked) = self.asked.remove(&number) {
                    asked.answer(Ok(body));
                }
            }
            Ok(None) => {}
            Err(why) => tracing::debug!("a reply of type {} was dropped: {why}", self.type_name),
        }
    }

    /// Sends what may be sent by now, and ends what has taken too long.
    pub(super) fn look_after(&mut self, now: Instant, served: bool) {
        if !self.waiting.is_empty() {
            self.send(now);
        }
        for asked in std::mem::take(&mut self.waiting) {
            if asked.is_over(now) {
                asked.time_out();
            } else if served || self.server().is_some() {
                self.waiting.push(asked);
            } else {
                self.waiting.extend(asked.unless_in_vain(now));
            }
        }
        let over: Vec<Number> =
            self.asked.iter().filter(|(_, asked)| asked.is_over(now)).map(|(number, _)| *number).collect();
        over.iter().filter_map(|number| self.asked.remove(number)).for_each(Asked::time_out);
        if !self.is_idle() {
            self.used = now;
        }
    }
}

/// Whether it is there is told by the sign of the change.
pub(super) fn note(known: &mut BTreeSet<GUID>, id: GUID, change: i32) {
    if change > 0 {
        known.insert(id);
    } else {
        known.remove(&id);
    }
}
