//! What the manager knows of one endpoint.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use roverline_protocol::ScopeSet;
use roverline_protocol::documents::EndpointDocument;
use roverline_protocol::native::{ClientMessage, TopicInfo};
use roverline_protocol::ranking::{Candidate, LinkEstimate};
use tokio::sync::mpsc;

use crate::{EndpointView, LinkState};

/// One endpoint and our link to it. Times are monotonic.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) url: String,
    pub(crate) say: Option<mpsc::Sender<ClientMessage>>,
    pub(crate) connecting: bool,
    pub(crate) greeted: bool,
    pub(crate) suspect: bool,
    pub(crate) subscribed: bool,
    pub(crate) document: Option<EndpointDocument>,
    pub(crate) topics: HashMap<u32, Arc<TopicInfo>>,
    pub(crate) estimate: LinkEstimate,
    pub(crate) connected_at: Duration,
    pub(crate) heard_at: Duration,
    pub(crate) failures: u32,
    pub(crate) last_error: Option<String>,
    pub(crate) received: u64,
    pub(crate) probe_sent: Option<Duration>,
    pub(crate) probed_at: Duration,
    best_rtt: Option<(Duration, f64)>,
}

impl Slot {
    pub(crate) fn new(url: String) -> Slot {
        Slot { url, ..Slot::default() }
    }

    /// Whether telemetry may be asked of it.
    pub(crate) fn usable(&self) -> bool {
        self.say.is_some() && self.greeted && !self.suspect
    }

    /// Sends, or drops the message when the connection is stuck: it will be found silent.
    pub(crate) fn say(&self, message: ClientMessage) {
        if let Some(say) = &self.say
            && say.try_send(message).is_err()
        {
            tracing::debug!(url = self.url, "outgoing queue is full");
        }
    }

    pub(crate) fn up(&mut self, say: mpsc::Sender<ClientMessage>, now: Duration) {
        let url = std::mem::take(&mut self.url);
        *self = Slot {
            url,
            say: Some(say),
            document: self.document.take(),
            connected_at: now,
            heard_at: now,
            last_error: self.last_error.take(),
            received: self.received,
            ..Slot::default()
        };
    }

    pub(crate) fn down(&mut self, why: String) {
        self.say = None;
        self.connecting = false;
        self.greeted = false;
        self.suspect = false;
        self.subscribed = false;
        self.topics.clear();
        self.estimate = LinkEstimate::default();
        self.best_rtt = None;
        self.failures = self.failures.saturating_add(1);
        self.last_error = Some(why);
    }

    /// An answer to a time exchange (RFC 5905, section 8). The offset of the exchange with the
    /// shortest way is the truest.
    pub(crate) fn answered(
        &mut self,
        sent: Duration,
        now: Duration,
        t0_ns: i64,
        t1_ns: i64,
        t2_ns: i64,
        t3_ns: i64,
    ) {
        let rtt = now.saturating_sub(sent);
        self.estimate.answered(rtt);
        self.probe_sent = None;
        let offset_s = ((t1_ns - t0_ns) as f64 + (t2_ns - t3_ns) as f64) / 2e9;
        if self.best_rtt.is_none_or(|(best, _)| rtt <= best.mul_f64(1.1)) {
            self.best_rtt = Some((rtt, offset_s));
        }
    }

    pub(crate) fn candidate(&self) -> Candidate {
        let document = self.document.as_ref();
        Candidate {
            usable: self.usable(),
            scopes: document.map_or(ScopeSet::EMPTY, |document| document.scopes),
            rtt: self.estimate.rtt(),
            jitter: self.estimate.jitter(),
            loss: self.estimate.loss(),
            load: document.map_or(0.0, |d| d.clients as f64 / d.max_clients.max(1) as f64),
        }
    }

    pub(crate) fn view(&self, rank: usize, active: bool, now: Duration) -> EndpointView {
        let document = self.document.as_ref();
        EndpointView {
            url: self.url.clone(),
            rank,
            tier: document.map(|document| document.tier),
            scopes: document.map_or(ScopeSet::EMPTY, |document| document.scopes),
            state: match () {
                () if self.suspect => LinkState::Suspect,
                () if active && self.say.is_some() => LinkState::Active,
                () if self.usable() => LinkState::Standby,
                () if self.connecting || self.say.is_some() => LinkState::Connecting,
                () => LinkState::Down,
            },
            health: document.filter(|_| self.greeted).map(|document| document.status),
            rtt: self.estimate.rtt(),
            jitter: self.estimate.jitter(),
            loss: self.estimate.loss(),
            clock_offset_s: self.best_rtt.map(|(_, offset)| offset),
            clients: document.filter(|_| self.greeted).map(|d| (d.clients, d.max_clients)),
            connected_for: self.say.as_ref().map(|_| now.saturating_sub(self.connected_at)),
            failures: self.failures,
            last_error: self.last_error.clone(),
            received: self.received,
        }
    }
}
