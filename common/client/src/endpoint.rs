//! State of one endpoint: connection, session, failure history.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::breaker::{Breaker, BreakerState};
use crate::limits;
use crate::ranking::{Candidate, EndpointClass, Failback, LinkEstimate};
use roverline_protocol::ScopeSet;
use roverline_protocol::backoff::Backoff;
use roverline_protocol::native::{ClientMessage, TopicInfo};
use roverline_protocol::service_level::ServiceLevel;
use roverline_protocol::status::{EndpointDocument, HealthStatus};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::activity::ActivityClock;
use crate::connection::DisconnectReason;
use crate::offset::ClockOffset;
use crate::resubscribe::SubscribeProgress;
use crate::{EndpointView, LinkState, Timings};

/// Longest `Retry-After` of a full endpoint that a client honours.
const FULL_RETRY_MAX_MS: u64 = 60_000;

/// Time exchanges that may be unanswered.
const UNANSWERED_PROBES: usize = 32;

/// A connection or an attempt to connect. Dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: u64,
    _task: AbortOnDropHandle<()>,
}

impl Connection {
    pub(crate) fn spawn(id: u64, run: impl Future<Output = ()> + Send + 'static) -> Connection {
        Connection { id, _task: AbortOnDropHandle::new(tokio::spawn(run)) }
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
    pub(crate) activity: Option<ActivityClock>,
    pub(crate) established: bool,
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
    /// Our wall clock and the monotonic clock at the start of the pending time exchange.
    pub(crate) probe: Option<(i64, Duration)>,
    pub(crate) probed_at: Duration,
    /// Duration of the last time exchange.
    pub(crate) last_delay: Duration,
    /// Unanswered time exchanges, by our wall clock and the monotonic clock.
    unanswered: VecDeque<(i64, Duration)>,
    pub(crate) draining: Option<Draining>,
    pub(crate) service: ServiceLevel,
    pub(crate) progress: Option<SubscribeProgress>,
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

    /// Sends a message, or drops it if the connection is stuck: failure detection will notice.
    pub(crate) fn send(&self, message: ClientMessage) {
        if let Some(sender) = &self.session.sender
            && sender.try_send(message).is_err()
        {
            tracing::debug!(url = self.url, "outgoing queue is full");
        }
    }

    pub(crate) fn on_connected(
        &mut self,
        sender: mpsc::Sender<ClientMessage>,
        activity: ActivityClock,
        now: Duration,
    ) {
        let (sender, activity) = (Some(sender), Some(activity));
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

    /// Records the start of a time exchange.
    pub(crate) fn note_probe_sent(&mut self, t0_ns: i64, now: Duration) {
        // The oldest entries measure the delay.
        if self.session.unanswered.len() < UNANSWERED_PROBES {
            self.session.unanswered.push_back((t0_ns, now));
        }
    }

    /// Current response time, as far as it is known.
    pub(crate) fn delay(&self, now: Duration) -> Duration {
        let awaited =
            self.session.unanswered.front().map_or(Duration::ZERO, |(_, at)| now.saturating_sub(*at));
        self.session.last_delay.max(awaited)
    }

    /// Scales a threshold of the active link to the heartbeat interval of this one.
    pub(crate) fn scaled(&self, time: Duration) -> Duration {
        let usual = Duration::from_millis(limits::HEARTBEAT_MS);
        time.mul_f64(self.session.heartbeat.0.max(usual).div_duration_f64(usual))
    }

    /// Closes the connection without counting it as a failure.
    pub(crate) fn drop_connection(&mut self, reason: &str, retry_at: Duration) {
        self.connection = None;
        self.session = Session::default();
        self.breaker.ended();
        self.last_error = Some(reason.to_owned());
        self.retry_at = retry_at;
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
        if let Some(index) = self.session.unanswered.iter().position(|(asked_ns, _)| *asked_ns == t0_ns)
            && let Some((_, at)) = self.session.unanswered.drain(..=index).next_back()
        {
            self.session.last_delay = now.saturating_sub(at);
        }
        let Some((asked_ns, sent)) = self.session.probe.filter(|(asked_ns, _)| *asked_ns == t0_ns) else {
            return;
        };
        let rtt = now.saturating_sub(sent);
        self.session.estimate.answered(rtt);
        self.session.clock.record(asked_ns, t1_ns, t2_ns, rtt);
        self.session.probe = None;
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

    pub(crate) fn candidate(&mut self, timings: &Timings, now: Duration) -> Candidate {
        let class = self.class(now);
        let document = self.document.as_ref();
        Candidate {
            usable: self.usable(now),
            class,
            failback: self.failback.hold(now, timings.failback.0, timings.failback.1),
            scopes: document.map_or(ScopeSet::EMPTY, |document| document.scopes),
            rtt: self.session.estimate.rtt(),
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
            clients: established.map(|d| (d.clients, d.max_clients)),
            connected_for: session.sender.as_ref().map(|_| now.saturating_sub(session.connected_at)),
            failures: self.failures,
            last_error: self.last_error.clone(),
            received: self.received,
            missed: self.missed,
            breaker: self.shown_breaker,
            service: session.service,
            draining: session.established && self.is_draining(),
        }
    }
}
