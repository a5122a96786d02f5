//! Links to the endpoints, and failover history.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use roverline_client::{EndpointView, FailoverCause, FailoverView, LinkState};

use roverline_protocol::native::ClientIdentity;

use crate::model::Now;

/// Failovers kept.
const HISTORY: usize = 64;
/// How long the line about a failover is shown.
const FAILOVER_SHOWN: Duration = Duration::from_secs(10);

/// Links and their history.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// In the client's ranking order.
    pub endpoints: Arc<[EndpointView]>,
    /// Newest first.
    pub history: VecDeque<FailoverView>,
    /// When the endpoint last changed.
    pub changed: Option<Duration>,
    /// Since when no endpoint is in use, after there was one.
    pub all_down_since: Option<Duration>,
    identity: Option<ClientIdentity>,
}

/// Which endpoint serves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Serving<'a> {
    /// This one.
    By(&'a EndpointView),
    /// None yet, without a failure so far.
    Connecting,
    /// None yet, and every attempt failed.
    NeverReached,
    /// None any more, for this long.
    AllDown(Duration),
}

impl Network {
    /// The endpoint in use.
    pub fn active(&self) -> Option<&EndpointView> {
        self.endpoints.iter().find(|e| matches!(e.state, LinkState::Active)).or_else(|| {
            // A silent endpoint stays in use until the client leaves it.
            let to = self.history.front()?.to.as_deref()?;
            self.endpoints.iter().find(|e| e.url == to && e.state == LinkState::Suspect)
        })
    }

    /// Who the endpoint in use takes us for; without one, who the last one did.
    pub fn identity(&self) -> Option<&ClientIdentity> {
        self.identity.as_ref()
    }

    /// Takes the newest state of the links.
    pub fn set_endpoints(&mut self, endpoints: Arc<[EndpointView]>) {
        self.endpoints = endpoints;
        let own = self.active().and_then(|endpoint| endpoint.identity.clone());
        let other = || self.endpoints.iter().find_map(|endpoint| endpoint.identity.clone());
        if let Some(identity) = own.or_else(other) {
            self.identity = Some(identity);
        }
    }

    /// Whether an endpoint is in use.
    pub fn is_connected(&self) -> bool {
        self.all_down_since.is_none() && self.active().is_some()
    }

    /// Whether the endpoint in use is heard: a silent one vouches for nothing.
    pub fn is_responsive(&self) -> bool {
        self.is_connected() && self.active().is_some_and(|endpoint| endpoint.state == LinkState::Active)
    }

    /// The links as they were at a moment.
    pub fn at(
        &self,
        endpoints: Arc<[EndpointView]>,
        all_down_since: Option<Duration>,
        wall_ns: i64,
    ) -> Network {
        let history = self.history.iter().filter(|failover| failover.at_ns <= wall_ns).cloned().collect();
        Network { endpoints, history, changed: None, all_down_since, identity: self.identity.clone() }
    }

    /// Which endpoint serves.
    pub fn serving(&self, now: Now) -> Serving<'_> {
        if let Some(since) = self.all_down_since {
            return Serving::AllDown(now.since(since));
        }
        match self.active() {
            Some(endpoint) => Serving::By(endpoint),
            None if !self.endpoints.is_empty() && self.endpoints.iter().all(|e| e.failures > 0) => {
                Serving::NeverReached
            }
            None => Serving::Connecting,
        }
    }

    /// Records a change of the endpoint in use.
    pub fn failover(&mut self, failover: FailoverView, now: Now) {
        let lost = failover.cause == FailoverCause::AllDown || failover.to.is_none();
        self.all_down_since = if lost { self.all_down_since.or(Some(now.mono)) } else { None };
        self.changed = Some(now.mono);
        self.history.push_front(failover);
        self.history.truncate(HISTORY);
    }

    /// The last failover, while it is recent; not the first connection.
    pub fn recent(&self, now: Now) -> Option<&FailoverView> {
        let fresh = self.changed.is_some_and(|at| now.since(at) < FAILOVER_SHOWN);
        self.history.front().filter(|f| fresh && f.to.is_some() && f.from.is_some())
    }

    /// Tier and address of an endpoint by its URL, if known.
    pub fn name_of(&self, url: &str) -> String {
        let address = crate::format::address(url);
        match self.endpoints.iter().find(|e| e.url == url).and_then(|e| e.tier) {
            Some(tier) => format!("{tier} {address}"),
            None => address.to_owned(),
        }
    }

    /// The tier, or the address if the tier is unknown.
    pub fn short_name_of(&self, url: &str) -> String {
        let tier = self.endpoints.iter().find(|e| e.url == url).and_then(|e| e.tier);
        tier.map_or_else(|| crate::format::address(url).to_owned(), |tier| tier.to_string())
    }
}
