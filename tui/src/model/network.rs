//! The links and what happened to them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use roverline_client::{EndpointView, FailoverCause, FailoverView, LinkState};

use crate::model::Now;

/// Failovers remembered.
const HISTORY: usize = 64;
/// How long the line about a failover stays.
const NOTICE: Duration = Duration::from_secs(10);

/// The links and what happened to them.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// As the link ranks them.
    pub endpoints: Arc<[EndpointView]>,
    /// Newest first.
    pub history: VecDeque<FailoverView>,
    /// When the last change of endpoint was heard of.
    pub changed: Option<Duration>,
    /// Since when no endpoint is in use, after there was one.
    pub all_down_since: Option<Duration>,
}

/// Who serves, in one word.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Serving<'a> {
    /// This one.
    By(&'a EndpointView),
    /// Nobody yet; nothing has failed so far.
    Connecting,
    /// Nobody yet, and every attempt failed.
    NeverReached,
    /// Nobody any more, for this long.
    AllDown(Duration),
}

impl Network {
    /// The endpoint in use.
    pub fn active(&self) -> Option<&EndpointView> {
        self.endpoints.iter().find(|e| matches!(e.state, LinkState::Active)).or_else(|| {
            // A silent endpoint is still the one in use until the link leaves it.
            let to = self.history.front()?.to.as_deref()?;
            self.endpoints.iter().find(|e| e.url == to && e.state == LinkState::Suspect)
        })
    }

    /// Who serves.
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

    /// Takes in a change of the endpoint in use.
    pub fn failover(&mut self, failover: FailoverView, now: Now) {
        let lost = failover.cause == FailoverCause::AllDown || failover.to.is_none();
        self.all_down_since = if lost { self.all_down_since.or(Some(now.mono)) } else { None };
        self.changed = Some(now.mono);
        self.history.push_front(failover);
        self.history.truncate(HISTORY);
    }

    /// The last failover while it is worth a line: not the first connection, not for long.
    pub fn recent(&self, now: Now) -> Option<&FailoverView> {
        let fresh = self.changed.is_some_and(|at| now.since(at) < NOTICE);
        self.history.front().filter(|f| fresh && f.to.is_some() && f.from.is_some())
    }

    /// The tier and address of an endpoint by its url, as far as known.
    pub fn name_of(&self, url: &str) -> String {
        let address = crate::format::address(url);
        match self.endpoints.iter().find(|e| e.url == url).and_then(|e| e.tier) {
            Some(tier) => format!("{tier} {address}"),
            None => address.to_owned(),
        }
    }

    /// The tier, or the address of an endpoint whose tier was never told.
    pub fn short_name_of(&self, url: &str) -> String {
        let tier = self.endpoints.iter().find(|e| e.url == url).and_then(|e| e.tier);
        tier.map_or_else(|| crate::format::address(url).to_owned(), |tier| tier.to_string())
    }
}
