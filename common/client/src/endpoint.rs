//! State of one endpoint: connection, session, failure history.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::breaker::{Breaker, BreakerState};
use crate::limits;
use crate::ranking::{Candidate, EndpointClass, Failback, LinkEstimate};
use roverline_protocol::ScopeSet;
use roverline_protocol::backoff::Backoff;
use roverline_protocol::native::{ClientIdentity, ClientMessage, TopicInfo};
use roverline_protocol::service_level::ServiceLevel;
use roverline_protocol::status::{EndpointDocument, HealthStatus};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::activity::ActivityClock;
use crate::connection::DisconnectReason;
use crate::offset::ClockOffset;
use crate::probes::Probes;
use crate::repair::GapRepair;
use crate::resubscribe::SubscribeProgress;
use crate::trace::RequestSpan;
use crate::{EndpointView, LinkState, Timings};

/// Longest `Retry-After` of a full endpoint that a client honours.
const FULL_RETRY_MAX_MS: u64 = 60_000;
/// Messages that may wait for a connection whose own queue is full: with more it is given up.
const WAITING_MESSAGES: usize = 2_048;

/// A connection or an attempt to connect. Dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: u64,
    /// Asks it to send what is queued and then to close as WebSockets do.
    pub(crate) closing: CancellationToken,
    _task: AbortOnDropHandle<()>,
}

impl Connection {
    pub(crate) fn spawn(
        id: u64,
        closing: CancellationToken,
        run: impl Future<Output = ()> + Send + 'static,
    ) -> Connection {
        Connection { id, closing, _task: AbortOnDropHandle::new(tokio::spawn(run)) }
    }
}

/// An endpoint that will shut down soon.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draining {
    /// When to switch to its successor.
    pub(crate) switch_at: Duration,
    /// When to switch elsewhere if there is no successor.
    pub(crate) fallback_at: Duration,
}

/// One session with the endpoint, from connecting to closing.
#[derive(Debug, Default)]
pub(crate) struct Session {
    pub(crate) sender: Option<mpsc::Sender<ClientMessage>>,
    /// Messages for which the connection's queue had no room, in order.
    waiting: VecDeque<ClientMessage>,
    pub(crate) activity: Option<ActivityClock>,
    pub(crate) established: bool,
    /// Our identity at this endpoint.
    pub(crate) identity: Option<ClientIdentity>,
    /// Whether the endpoint records traces and takes our spans.
    pub(crate) traces: bool,
    /// Spans were sent, and nothing shows yet that the endpoint has read them.
    pub(crate) reported: bool,
    /// When it was found silent for too long.
    pub(crate) suspect: Option<Duration>,
    /// Whether everything is subscribed.
    pub(crate) subscribed: bool,
    /// Whether the emergency scope is subscribed (hot standby).
    pub(crate) hot: bool,
    pub(crate) topics: HashMap<u32, Arc<TopicInfo>>,
    pub(crate) estimate: LinkEstimate,
    pub(crate) clock: ClockOffset,
    pub(crate) connected_at: Duration,
    pub(crate) last_heard: Duration,
    /// The requested heartbeat interval, and when it was requested.
    pub(crate) heartbeat: (Duration, Duration),
    pub(crate) probes: Probes,
    pub(crate) draining: Option<Draining>,
    pub(crate) service: ServiceLevel,
    pub(crate) progress: Option<SubscribeProgress>,
    pub(crate) repair: GapRepair,
    /// Whether we sent `resume`: every later `subscribe` is answered with `resumed`.
    pub(crate) resuming: bool,
    pub(crate) resumes: u64,
    pub(crate) resumed: u64,
    /// Samples it reported as dropped that have not been found missing yet.
    pub(crate) dropped: u64,
}

/// One endpoint and our link to it. Times are monotonic.
#[derive(Debug)]
pub(crate) struct EndpointState {
    pub(crate) url: String,
    pub(crate) connection: Option<Connection>,
    pub(crate) session: Session,
    pub(crate) document: Option<EndpointDocument>,
    pub(crate) failures: u32,
    pub(crate) last_error: Option<String>,
    pub(crate) received: u64,
    /// Bytes received in earlier sessions.
    earlier_bytes: u64,
    pub(crate) missed: u64,
    /// Earliest time of the next connection attempt.
    pub(crate) retry_at: Duration,
    /// Until then the endpoint is full.
    pub(crate) full_until: Option<Duration>,
    /// Whether it does not know our token, and is connected without it.
    pub(crate) token_refused: bool,
    pub(crate) breaker: Breaker,
    pub(crate) shown_breaker: BreakerState,
    failback: Failback,
    backoff: Backoff,
}

impl EndpointState {
    pub(crate) fn new(url: String, timings: &Timings) -> EndpointState {
        EndpointState {
            url,
            connection: None,
            session: Session::default(),
            document: None,
            failures: 0,
            last_error: None,
            received: 0,
            earlier_bytes: 0,
            missed: 0,
            retry_at: Duration::ZERO,
            full_until: None,
            token_refused: false,
            breaker: Breaker::default(),
            shown_breaker: BreakerState::Closed,
            failback: Failback::default(),
            backoff: Backoff::new(timings.backoff.0, timings.backoff.1),
        }
    }

    /// Whether telemetry may be requested from it.
    pub(crate) fn usable(&self, now: Duration) -> bool {
        self.ready(now) && self.session.suspect.is_none()
    }

    /// Like [`EndpointState::usable`], silent or not.
    pub(crate) fn ready(&self, now: Duration) -> bool {
        self.session.sender.is_some()
            && self.session.established
            && self.full_until.is_none_or(|until| now >= until)
    }

    /// Full: no slot is left for another client.
    pub(crate) fn is_full(&self) -> bool {
        let document = self.document.as_ref().filter(|_| !self.session.subscribed);
        document.is_some_and(|document| document.clients >= document.max_clients)
    }

    /// A recent refusal because it is full, with no slot since.
    fn refused_as_full(&self, now: Duration) -> bool {
        let retry = Duration::from_millis(limits::FULL_RETRY_MS);
        !self.session.subscribed && self.full_until.is_some_and(|until| now < until + retry)
    }

    /// Sends a message, as soon as the connection takes it. A connection that takes none for too long is
    /// closed ([`EndpointState::is_stuck`]).
    pub(crate) fn send(&mut self, message: ClientMessage) {
        if !self.is_stuck() {
            self.session.waiting.push_back(message);
        }
        self.send_waiting();
    }

    /// Sends a message now; returns whether the connection took it.
    pub(crate) fn send_now(&mut self, message: ClientMessage) -> bool {
        self.send_waiting();
        let sender = self.session.sender.as_ref().filter(|_| self.session.waiting.is_empty());
        sender.is_some_and(|sender| sender.try_send(message).is_ok())
    }

    /// Sends what waits, as far as the connection takes it.
    pub(crate) fn send_waiting(&mut self) {
        let Session { sender, waiting, .. } = &mut self.session;
        let Some(sender) = sender else { return waiting.clear() };
        while let Ok(place) = sender.try_reserve()
            && let Some(message) = waiting.pop_front()
        {
            place.send(message);
        }
    }

    /// Stuck: too many messages wait for the connection.
    pub(crate) fn is_stuck(&self) -> bool {
        self.session.waiting.len() >= WAITING_MESSAGES
    }

    pub(crate) fn on_connected(
        &mut self,
        sender: mpsc::Sender<ClientMessage>,
        activity: ActivityClock,
        now: Duration,
    ) {
        let (sender, activity) = (Some(sender), Some(activity));
        self.earlier_bytes = self.received_bytes();
        self.session = Session { sender, activity, connected_at: now, last_heard: now, ..Session::default() };
    }

    /// Handles the `hello`: only now is the peer known to be an endpoint.
    pub(crate) fn on_hello(&mut self, document: EndpointDocument, now: Duration) {
        self.document = Some(document);
        if !self.session.established {
            self.session.established = true;
            self.failures = 0;
            self.backoff.reset();
            self.breaker.up(now);
        }
    }

    /// Sends the span of a request that the endpoint has answered at `now_ns`, if it takes spans. A full queue takes none:
    /// what is only a report must not get in the way of what is asked.
    pub(crate) fn report(&mut self, span: &RequestSpan, now_ns: i64, failed: bool) {
        if self.session.traces {
            let span = span.end(now_ns, &self.session.clock, failed);
            self.session.reported |= self.send_now(ClientMessage::Spans { spans: vec![span] });
        }
    }

    /// Bytes received over all connections.
    fn received_bytes(&self) -> u64 {
        self.earlier_bytes + self.session.activity.as_ref().map_or(0, ActivityClock::bytes)
    }

    pub(crate) fn note_activity(&mut self, now: Duration) {
        self.session.last_heard = now;
        self.session.suspect = None;
        self.received += 1;
    }

    /// Accounts for a frame that is still arriving.
    pub(crate) fn refresh_activity(&mut self) {
        let Some(heard_at) = self.session.activity.as_ref().map(ActivityClock::last_byte_at) else { return };
        if heard_at > self.session.last_heard {
            self.session.last_heard = heard_at;
            self.session.suspect = None;
        }
    }

    /// Duration of silence, counted at the earliest from the last heartbeat request.
    pub(crate) fn silence(&self, now: Duration) -> Duration {
        now.saturating_sub(self.session.last_heard.max(self.session.heartbeat.1))
    }

    /// Scales a threshold of the active link to the heartbeat interval of this one.
    pub(crate) fn scaled(&self, time: Duration) -> Duration {
        let usual = Duration::from_millis(limits::HEARTBEAT_MS);
        time.mul_f64(self.session.heartbeat.0.max(usual).div_duration_f64(usual))
    }

    /// Closes the connection without counting it as a failure.
    pub(crate) fn drop_connection(&mut self, reason: &str, retry_at: Duration) {
        self.connection = None;
        self.earlier_bytes = self.received_bytes();
        self.session = Session::default();
        self.breaker.ended();
        self.last_error = Some(reason.to_owned());
        self.retry_at = retry_at;
    }

    /// Forgets what failed during a time in which no endpoint answered: the cause was not this one. It may
    /// be tried at once, unless it has said that it is full.
    pub(crate) fn forgive(&mut self, now: Duration) {
        self.breaker = Breaker::default();
        self.failback = Failback::default();
        self.backoff.reset();
        self.retry_at = self.full_until.filter(|until| *until > now).unwrap_or(now);
    }

    /// The connection ended or was never established. `random` is uniform in [0, 1).
    pub(crate) fn on_disconnected(
        &mut self,
        reason: DisconnectReason,
        now: Duration,
        mut random: impl FnMut() -> f64,
    ) {
        let was_up = self.session.established;
        self.token_refused &= !was_up;
        match reason {
            DisconnectReason::Drained => {
                let wait = Duration::from_millis(200).mul_f64(random());
                self.drop_connection("restarts", now + wait);
            }
            // The next attempt goes without it, a later one tries again.
            DisconnectReason::UnknownToken => {
                self.token_refused = true;
                self.drop_connection("the endpoint does not know our token", now);
            }
            DisconnectReason::PlainToken => {
                self.token_refused = true;
                self.drop_connection("the endpoint takes no token over ws://", now);
            }
            DisconnectReason::Full(after) => {
                let after = after.unwrap_or(Duration::from_millis(limits::FULL_RETRY_MS));
                let until = now + after.min(Duration::from_millis(FULL_RETRY_MAX_MS));
                self.full_until = Some(until);
                self.drop_connection("the endpoint is full", until);
            }
            DisconnectReason::Broken(reason) | DisconnectReason::Untrusted { text: reason, .. } => {
                if was_up {
                    self.breaker.lost(now, random());
                    self.failback.lost(now, random());
                } else {
                    self.breaker.connect_failed(now, random());
                }
                let wait = self.backoff.fail(random());
                self.drop_connection(&reason, now + wait);
                self.failures = self.failures.saturating_add(1);
            }
        }
    }

    /// Handles the answer to a time exchange.
    pub(crate) fn on_time_answer(&mut self, now: Duration, t0_ns: i64, t1_ns: i64, t2_ns: i64) {
        if let Some(rtt) = self.session.probes.answered(t0_ns, now) {
            self.session.estimate.answered(rtt);
            self.session.clock.record(t0_ns, t1_ns, t2_ns, rtt);
        }
    }

    /// Counts the probes that are lost.
    pub(crate) fn count_lost_probes(&mut self, now: Duration) {
        let lost = self.session.probes.forget_lost(now);
        (0..lost).for_each(|_| self.session.estimate.lost());
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.session.draining.is_some() || self.document.as_ref().is_some_and(|document| document.draining)
    }

    fn class(&mut self, now: Duration) -> EndpointClass {
        let status = self.document.as_ref().map_or(HealthStatus::Healthy, |document| document.status);
        match () {
            () if matches!(status, HealthStatus::Unhealthy | HealthStatus::Down) => EndpointClass::Unhealthy,
            () if self.breaker.state(now) != BreakerState::Closed => EndpointClass::Untrusted,
            () if self.is_draining() => EndpointClass::Draining,
            () => EndpointClass::Good,
        }
    }

    pub(crate) fn candidate(&mut self, timings: &Timings, followed: ScopeSet, now: Duration) -> Candidate {
        let class = self.class(now);
        let document = self.document.as_ref();
        let scopes = document.map_or(ScopeSet::EMPTY, |document| document.scopes);
        Candidate {
            usable: self.usable(now),
            class,
            warming_up: document.is_some_and(|document| document.warming_up),
            failback: self.failback.hold(now, timings.failback.0, timings.failback.1),
            scopes,
            carries: scopes.intersection(followed).len(),
            // A link that owes an answer is at least as slow as that.
            rtt: self.session.estimate.rtt().map(|rtt| rtt.max(self.session.probes.awaited(now))),
            jitter: self.session.estimate.jitter(),
            loss: self.session.estimate.loss(),
            load: document.map_or(0.0, |d| d.clients as f64 / d.max_clients.max(1) as f64),
        }
    }

    pub(crate) fn view(&self, rank: usize, active: bool, now: Duration) -> EndpointView {
        let session = &self.session;
        let document = self.document.as_ref();
        let established = document.filter(|_| session.established);
        EndpointView {
            url: self.url.clone(),
            rank,
            tier: document.map(|document| document.tier),
            scopes: document.map_or(ScopeSet::EMPTY, |document| document.scopes),
            state: match () {
                () if session.suspect.is_some() => LinkState::Suspect,
                () if active && session.sender.is_some() => LinkState::Active,
                () if self.usable(now) => LinkState::Standby,
                () if self.connection.is_some() => LinkState::Connecting,
                () => LinkState::Down,
            },
            health: established.map(|document| document.status),
            rtt: session.estimate.rtt(),
            jitter: session.estimate.jitter(),
            loss: session.estimate.loss(),
            clock_offset_s: session.clock.seconds(),
            identity: session.identity.clone(),
            clients: established.map(|d| (d.clients, d.max_clients)),
            connected_for: session.sender.as_ref().map(|_| now.saturating_sub(session.connected_at)),
            failures: self.failures,
            last_error: self.last_error.clone(),
            received: self.received,
            received_bytes: self.received_bytes(),
            missed: self.missed,
            breaker: self.shown_breaker,
            service: session.service,
            draining: session.established && self.is_draining(),
            full: self.refused_as_full(now) || (session.established && self.is_full()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_delays_messages_and_keeps_their_order() {
        let mut slot = EndpointState::new("ws://rover:8080".to_owned(), &Timings::default());
        let (sender, mut sent) = mpsc::channel(2);
        let clock = ActivityClock::new(tokio::time::Instant::now());
        slot.on_connected(sender, clock, Duration::ZERO);
        let message = |id| ClientMessage::Unwatch { id };
        (0..5).for_each(|id| slot.send(message(id)));
        assert!(!slot.send_now(message(9)), "not before those that wait");
        for id in 0..5 {
            assert_eq!(sent.try_recv().ok(), Some(message(id)));
            slot.send_waiting();
        }
        assert!(slot.send_now(message(9)) && !slot.is_stuck());
        (0..3_000).for_each(|id| slot.send(message(id)));
        assert!(slot.is_stuck());
    }
}
