//! Client of one remote service: a writer of requests and a reader of replies, kept open for later
//! calls.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use bytes::Bytes;
use roverline_protocol::Guid;
use tokio::sync::oneshot;

use crate::clock::unix_ns;
use crate::dds::engine::Class;
use crate::dds::engine::wait_set::WaitSet;
use crate::dds::engine::{Participant, Reader, Sample, SampleIdentity, WriteError, Writer, prefix};
use crate::dds::names;
use crate::dds::request_correlation::{ReplyId, correlates_by_header, cyclone_request, read_reply};
use crate::dds::service_broker::Permit;
use crate::limits;
use crate::{Call, CallError, Qos, SourceError};

/// A ROS service client that is unused for this long is closed.
const SERVICE_CLIENT_IDLE_MS: u64 = 60_000;

/// Replies kept until the thread takes them.
const DEPTH: i32 = 64;
/// We discover a server before it discovers us, and our writer before our reader. A request sent in
/// between would be lost.
const SETTLE: Duration = Duration::from_millis(100);
/// A server takes requests for the result of a goal at once and answers when the goal has ended, so they are sent
/// without this limit.
const RESULT_SERVICE: &str = "/_action/get_result";
/// The sequence number of a request that is not written yet (DDSI-RTPS 2.5, 9.4.5.9: SEQUENCENUMBER_UNKNOWN).
const UNKNOWN: i64 = -1 << 32;

/// A pending call.
pub(super) struct PendingCall {
    pub(super) service: String,
    pub(super) type_name: String,
    pub(super) request: Bytes,
    pub(super) deadline: Instant,
    since: Instant,
    timeout: Duration,
    answer: oneshot::Sender<Result<Bytes, CallError>>,
    _permit: Permit,
}

impl PendingCall {
    pub(super) fn new(call: Call, permit: Permit) -> PendingCall {
        let Call { service, type_name, request, timeout, answer } = call;
        let since = Instant::now();
        // A timeout beyond the range of the clock counts as unlimited.
        let deadline = since.checked_add(timeout).unwrap_or(since + Duration::from_secs(1 << 32));
        PendingCall { service, type_name, request, deadline, since, timeout, answer, _permit: permit }
    }

    /// Completes the call; does nothing if the caller is gone.
    pub(super) fn complete(self, answer: Result<Bytes, CallError>) {
        drop(self.answer.send(answer));
    }

    pub(super) fn time_out(self) {
        let (service, timeout) = (self.service.clone(), self.timeout);
        self.complete(Err(CallError::Timeout { service, timeout }));
    }

    /// Whether the deadline has passed or the caller is gone.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.deadline <= now || self.answer.is_closed()
    }

    /// Fails the call if no server appeared within the grace period; otherwise returns it.
    pub(super) fn fail_without_server(self, now: Instant) -> Option<PendingCall> {
        let grace = Duration::from_millis(limits::SERVICE_GRACE_MS);
        if self.is_over(now) || now.saturating_duration_since(self.since) >= grace {
            let service = self.service.clone();
            self.complete(Err(CallError::NoServer(service)));
            return None;
        }
        Some(self)
    }
}

/// The client of one service.
pub(super) struct ServiceClient {
    type_name: String,
    requests: Box<dyn Writer>,
    replies: Box<dyn Reader>,
    id: [u8; 8],
    number: i64,
    /// Readers and writers of servers that matched ours.
    readers: BTreeSet<Guid>,
    writers: BTreeSet<Guid>,
    /// When requests may be sent.
    ready_at: Option<Instant>,
    queued: VecDeque<PendingCall>,
    sent: BTreeMap<ReplyId, PendingCall>,
    used: Instant,
    since: i64,
}

impl ServiceClient {
    pub(super) fn open(
        call: &PendingCall,
        participant: &dyn Participant,
    ) -> Result<ServiceClient, SourceError> {
        let [request, reply] = names::service(&call.service, &call.type_name)
            .ok_or_else(|| SourceError(format!("{} is not a ROS service", call.service)))?;
        let since = unix_ns();
        // Opened first, so that the server knows the reader before the first request arrives.
        let replies = participant.open_reader(&reply, Class::Reliable, DEPTH)?;
        let qos = Qos { reliable: true, transient_local: false };
        let requests = participant.open_writer(&request, qos)?;
        Ok(ServiceClient {
            type_name: call.type_name.clone(),
            requests,
            replies,
            // Random: std seeds every `RandomState` anew.
            id: RandomState::new().build_hasher().finish().to_le_bytes(),
            number: 0,
            readers: BTreeSet::new(),
            writers: BTreeSet::new(),
            ready_at: None,
            queued: VecDeque::new(),
            sent: BTreeMap::new(),
            used: Instant::now(),
            since,
        })
    }

    /// Replies and matches wake the set with this token.
    pub(super) fn attach(&mut self, waits: &WaitSet, token: usize) -> Result<(), SourceError> {
        self.replies
            .attach(waits, token)
            .and_then(|()| self.replies.attach_matches(waits, token))
            .and_then(|()| self.requests.attach_matches(waits, token))
            .map_err(|error| SourceError(format!("cannot wait for replies: {error}")))
    }

    pub(super) fn type_name(&self) -> &String {
        &self.type_name
    }

    pub(super) fn used(&self) -> Instant {
        self.used
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queued.is_empty() && self.sent.is_empty()
    }

    pub(super) fn is_unused(&self, now: Instant) -> bool {
        let idle = Duration::from_millis(SERVICE_CLIENT_IDLE_MS);
        self.is_idle() && now.saturating_duration_since(self.used) >= idle
    }

    /// When the next timer expires.
    pub(super) fn due(&self) -> Option<Instant> {
        let calls = self.queued.iter().chain(self.sent.values()).map(|call| call.deadline);
        calls.chain(self.ready_at.filter(|_| self.may_send_next())).min()
    }

    /// Accepts a call, which is sent as soon as a server is found.
    pub(super) fn submit(&mut self, call: PendingCall) {
        self.used = Instant::now();
        self.queued.push_back(call);
    }

    /// Processes matches with servers and takes replies.
    pub(super) fn drive(&mut self, now: Instant) {
        self.on_matches(now);
        let mut replies = Vec::new();
        while self.replies.take(&mut |reply| replies.push(reply)) {}
        for reply in replies {
            self.on_reply(&reply);
        }
        self.send(now);
    }

    fn on_matches(&mut self, now: Instant) {
        let had_server = self.server().is_some();
        self.readers = self.requests.matched();
        self.writers = self.replies.matched();
        match (had_server, self.server().is_some()) {
            (false, true) => self.ready_at = Some(now + SETTLE),
            (true, false) => {
                self.ready_at = None;
                for call in std::mem::take(&mut self.sent).into_values() {
                    let why = format!("the node that served {} is gone", call.service);
                    call.complete(Err(CallError::Failed(why)));
                }
            }
            _ => {}
        }
    }

    /// The request reader of a server that also has a reply writer.
    fn server(&self) -> Option<Guid> {
        let serves = |reader: &&Guid| self.writers.iter().any(|writer| prefix(*writer) == prefix(**reader));
        self.readers.iter().find(serves).copied()
    }

    fn send(&mut self, now: Instant) {
        let Some(server) = self.server().filter(|_| self.ready_at.is_some_and(|at| at <= now)) else {
            return;
        };
        while self.may_send_next() {
            let Some(mut call) = self.queued.pop_front() else { return };
            if call.is_over(now) {
                call.time_out();
                continue;
            }
            match self.write(server, &std::mem::take(&mut call.request)) {
                Ok(number) => drop(self.sent.insert(number, call)),
                Err(error) => {
                    let why = format!("{} was not asked: {error}", call.service);
                    call.complete(Err(CallError::Failed(why)));
                }
            }
        }
    }

    /// Whether the longest waiting call may be sent.
    fn may_send_next(&self) -> bool {
        let room = self.sent.len() < limits::UNANSWERED_REQUESTS;
        self.queued.front().is_some_and(|next| room || next.service.ends_with(RESULT_SERVICE))
    }

    fn write(&mut self, server: Guid, request: &Bytes) -> Result<ReplyId, WriteError> {
        self.number += 1;
        let cyclone = correlates_by_header(server);
        if cyclone {
            self.requests.write(&cyclone_request(self.id, self.number, request), 0, None)?;
            return Ok(ReplyId::Header(self.number));
        }
        // Names the reader that waits for the reply, without a number yet.
        let waits = SampleIdentity { writer: self.replies.guid(), sequence_number: UNKNOWN };
        let written = self.requests.write(request, 0, Some(waits))?;
        Ok(ReplyId::Sequence(written.identity.sequence_number))
    }

    fn on_reply(&mut self, reply: &Sample) {
        if reply.receive_time_ns < self.since {
            return;
        }
        let ours = (self.id, [self.replies.guid(), self.requests.guid()]);
        match read_reply(reply.identity.writer, reply.related, &reply.payload, ours) {
            // A late reply has no pending call and is discarded.
            Ok(Some((number, body))) => {
                if let Some(call) = self.sent.remove(&number) {
                    call.complete(Ok(body));
                }
            }
            Ok(None) => {}
            Err(why) => tracing::debug!("a reply of type {} was dropped: {why}", self.type_name),
        }
    }

    /// Expires overdue calls and sends what is ready.
    pub(super) fn poll_timeouts(&mut self, now: Instant, served: bool) {
        let over: Vec<ReplyId> =
            self.sent.iter().filter(|(_, call)| call.is_over(now)).map(|(number, _)| *number).collect();
        over.iter().filter_map(|number| self.sent.remove(number)).for_each(PendingCall::time_out);
        if !self.queued.is_empty() {
            self.send(now);
        }
        for call in std::mem::take(&mut self.queued) {
            if call.is_over(now) {
                call.time_out();
            } else if served || self.server().is_some() {
                self.queued.push_back(call);
            } else {
                self.queued.extend(call.fail_without_server(now));
            }
        }
        if !self.is_idle() {
            self.used = now;
        }
    }
}
