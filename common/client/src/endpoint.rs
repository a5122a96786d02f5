//! What the manager knows of one endpoint.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use roverline_protocol::backoff::Backoff;
use roverline_protocol::breaker::{Breaker, BreakerState};
use roverline_protocol::native::{ClientMessage, TopicInfo};
use roverline_protocol::ranking::{Candidate, Failback, LinkEstimate, Standing};
use roverline_protocol::service_level::ServiceLevel;
use roverline_protocol::status::{EndpointDocument, HealthStatus};
use roverline_protocol::{ScopeSet, limits};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::activity::Ear;
use crate::connection::Ending;
use crate::offset::ClockOffset;
use crate::resubscribe::Join;
use crate::{EndpointView, LinkState, Timings};

/// Questions that may be without an answer.
const ASKED: usize = 32;

/// An attempt to connect, or what became of it. Dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: u64,
    pub(crate) task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An endpoint that will end soon.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaving {
    /// When we go over to its successor.
    pub(crate) go_at: Duration,
    /// When we go elsewhere, if there is none.
    pub(crate) last_call: Duration,
}

/// One session with the endpoint, from its connection to its end.
#[derive(Debug, Default)]
pub(crate) struct Session {
    pub(crate) say: Option<mpsc::Sender<ClientMessage>>,
    pub(crate) ear: Option<Ear>,
    pub(crate) greeted: bool,
    /// Silent for too long, since then.
    pub(crate) suspect: Option<Duration>,
    /// Everything is subscribed.
    pub(crate) subscribed: bool,
    /// The emergency scope is.
    pub(crate) hot: bool,
    pub(crate) topics: HashMap<u32, Arc<TopicInfo>>,
    pub(crate) estimate: LinkEstimate,
    pub(crate) clock: ClockOffset,
    pub(crate) connected_at: Duration,
    pub(crate) heard_at: Duration,
    /// The heartbeat that it was asked for, and since when.
    pub(crate) heartbeat: (Duration, Duration),
    /// Our clock and the monotonic one when it was asked for the time.
    pub(crate) probe: Option<(i64, Duration)>,
    pub(crate) probed_at: Duration,
    /// How long the last answer took.
    pub(crate) took: Duration,
    /// Questions without an answer so far, by our clock and the monotonic one.
    asked: VecDeque<(i64, Duration)>,
    pub(crate) leaving: Option<Leaving>,
    pub(crate) service: ServiceLevel,
    pub(crate) join: Option<Join>,
    /// We said `resume`: every `subscribe` since is answered with `resumed`.
    pub(crate) resuming: bool,
    pub(crate) resumes: u64,
    pub(crate) resumed: u64,
    /// What it told that it left out, until it is found missing.
    pub(crate) dropped: u64,
}

/// One endpoint and our link to it. Times are monotonic.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) url: String,
    pub(crate) connection: Option<Connection>,
    pub(crate) session: Session,
    pub(crate) document: Option<EndpointDocument>,
    pub(crate) failures: u32,
    pub(crate) last_error: Option<String>,
    pub(crate) received: u64,
    pub(crate) missed: u64,
    /// Not before this is it connected again.
    pub(crate) retry_at: Duration,
    /// Until then it has no room for us.
    pub(crate) full_until: Option<Duration>,
    pub(crate) breaker: Breaker,
    pub(crate) shown_breaker: BreakerState,
    failback: Failback,
    backoff: Backoff,
}

impl Slot {
    pub(crate) fn new(url: String, timings: &Timings) -> Slot {
        Slot {
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
            breaker: Breaker::default(),
            shown_breaker: BreakerState::Closed,
            failback: Failback::default(),
            backoff: Backoff::new(timings.backoff.0, timings.backoff.1),
        }
    }

    /// Whether telemetry may be asked of it.
    pub(crate) fn usable(&self, now: Duration) -> bool {
        self.ready(now) && self.session.suspect.is_none()
    }

    /// The same, silent or not.
    pub(crate) fn ready(&self, now: Duration) -> bool {
        self.session.say.is_some() && self.session.greeted && self.full_until.is_none_or(|until| now >= until)
    }

    /// Sends, or drops the message when the connection is stuck: it will be found silent.
    pub(crate) fn say(&self, message: ClientMessage) {
        if let Some(say) = &self.session.say
            && say.try_send(message).is_err()
        {
            tracing::debug!(url = self.url, "outgoing queue is full");
        }
    }

    pub(crate) fn up(&mut self, say: mpsc::Sender<ClientMessage>, ear: Ear, now: Duration) {
        let (say, ear) = (Some(say), Some(ear));
        self.session = Session { say, ear, connected_at: now, heard_at: now, ..Session::default() };
    }

    /// It introduced itself: only now is it known to be what it should.
    pub(crate) fn greeted(&mut self, document: EndpointDocument, now: Duration) {
        self.document = Some(document);
        if !self.session.greeted {
            self.session.greeted = true;
            self.failures = 0;
            self.backoff.reset();
            self.breaker.up(now);
        }
    }

    pub(crate) fn heard(&mut self, now: Duration) {
        self.session.heard_at = now;
        self.session.suspect = None;
        self.received += 1;
    }

    /// Takes account of a frame that is still arriving.
    pub(crate) fn listen(&mut self) {
        let Some(heard_at) = self.session.ear.as_ref().map(Ear::heard_at) else { return };
        if heard_at > self.session.heard_at {
            self.session.heard_at = heard_at;
            self.session.suspect = None;
        }
    }

    /// For how long nothing was heard, since it was asked for its present heartbeat.
    pub(crate) fn silence(&self, now: Duration) -> Duration {
        now.saturating_sub(self.session.heard_at.max(self.session.heartbeat.1))
    }

    /// It was asked for the time.
    pub(crate) fn asked(&mut self, t0_ns: i64, now: Duration) {
        // The oldest say how long it takes.
        if self.session.asked.len() < ASKED {
            self.session.asked.push_back((t0_ns, now));
        }
    }

    /// How long an answer takes here at present, as far as is known.
    pub(crate) fn delay(&self, now: Duration) -> Duration {
        let awaited = self.session.asked.front().map_or(Duration::ZERO, |(_, at)| now.saturating_sub(*at));
        self.session.took.max(awaited)
    }

    /// A time of a link in use, for the heartbeat that this one was asked for.
    pub(crate) fn scaled(&self, time: Duration) -> Duration {
        let usual = Duration::from_millis(limits::HEARTBEAT_MS);
        time.mul_f64(self.session.heartbeat.0.max(usual).div_duration_f64(usual))
    }

    /// Closes the connection without a judgement.
    pub(crate) fn drop_connection(&mut self, why: &str, retry_at: Duration) {
        self.connection = None;
        self.session = Session::default();
        self.breaker.ended();
        self.last_error = Some(why.to_owned());
        self.retry_at = retry_at;
    }

    /// The connection ended, or never came about. `random` is uniform in [0, 1).
    pub(crate) fn ended(&mut self, ending: Ending, now: Duration, mut random: impl FnMut() -> f64) {
        let was_up = self.session.greeted;
        match ending {
            Ending::Drained => {
                let wait = Duration::from_millis(200).mul_f64(random());
                self.drop_connection("restarts", now + wait);
            }
            Ending::Full(after) => {
                let after = after.unwrap_or(Duration::from_millis(limits::FULL_RETRY_MS));
                let until = now + after.min(Duration::from_millis(limits::FULL_RETRY_MAX_MS));
                self.drop_connection("the endpoint is full", until);
            }
            Ending::Broken(why) => {
                if was_up {
                    self.breaker.lost(now, random());
                    self.failback.lost(now, random());
                } else {
                    self.breaker.connect_failed(now, random());
                }
                let wait = self.backoff.fail(random());
                self.drop_connection(&why, now + wait);
                self.failures = self.failures.saturating_add(1);
            }
        }
    }

    /// An answer to a time exchange.
    pub(crate) fn answered(&mut self, now: Duration, t0_ns: i64, t1_ns: i64, t2_ns: i64) {
        if let Some(place) = self.session.asked.iter().position(|(asked_ns, _)| *asked_ns == t0_ns)
            && let Some((_, at)) = self.session.asked.drain(..=place).next_back()
        {
            self.session.took = now.saturating_sub(at);
        }
        let Some((asked_ns, sent)) = self.session.probe.filter(|(asked_ns, _)| *asked_ns == t0_ns) else {
            return;
        };
        let rtt = now.saturating_sub(sent);
        self.session.estimate.answered(rtt);
        self.session.clock.answered(asked_ns, t1_ns, t2_ns, rtt);
        self.session.probe = None;
    }

    pub(crate) fn draining(&self) -> bool {
        self.session.leaving.is_some() || self.document.as_ref().is_some_and(|document| document.draining)
    }

    fn standing(&mut self, now: Duration) -> Standing {
        let status = self.document.as_ref().map_or(HealthStatus::Healthy, |document| document.status);
        match () {
            () if matches!(status, HealthStatus::Unhealthy | HealthStatus::Down) => Standing::Unhealthy,
            () if self.breaker.state(now) != BreakerState::Closed => Standing::Untrusted,
            () if self.draining() => Standing::Draining,
            () => Standing::Good,
        }
    }

    pub(crate) fn candidate(&mut self, timings: &Timings, now: Duration) -> Candidate {
        let standing = self.standing(now);
        let document = self.document.as_ref();
        Candidate {
            usable: self.usable(now),
            standing,
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
        let greeted = document.filter(|_| session.greeted);
        EndpointView {
            url: self.url.clone(),
            rank,
            tier: document.map(|document| document.tier),
            scopes: document.map_or(ScopeSet::EMPTY, |document| document.scopes),
            state: match () {
                () if session.suspect.is_some() => LinkState::Suspect,
                () if active && session.say.is_some() => LinkState::Active,
                () if self.usable(now) => LinkState::Standby,
                () if self.connection.is_some() => LinkState::Connecting,
                () => LinkState::Down,
            },
            health: greeted.map(|document| document.status),
            rtt: session.estimate.rtt(),
            jitter: session.estimate.jitter(),
            loss: session.estimate.loss(),
            clock_offset_s: session.clock.seconds(),
            clients: greeted.map(|d| (d.clients, d.max_clients)),
            connected_for: session.say.as_ref().map(|_| now.saturating_sub(session.connected_at)),
            failures: self.failures,
            last_error: self.last_error.clone(),
            received: self.received,
            missed: self.missed,
            breaker: self.shown_breaker,
            service: session.service,
            draining: session.greeted && self.draining(),
        }
    }
}
