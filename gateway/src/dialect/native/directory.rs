//! What one native session has been told of the endpoints: only what is new costs its radio anything.

use std::time::Duration;

use roverline_protocol::Tier;
use roverline_protocol::native::ServerMessage;
use roverline_protocol::status::EndpointDocument;

use crate::dialect::session::Context;

/// A standby that becomes a client has lost another endpoint: telemetry first.
const TELEMETRY_FIRST: Duration = Duration::from_secs(1);

/// The entries as this session has them.
#[derive(Debug, Default)]
pub(super) struct Told {
    entries: Vec<EndpointDocument>,
    /// It was told all of them once, and since then what changed.
    wholly: bool,
    /// Since when it is no standby any more.
    client_since: Option<Duration>,
}

type Name<'a> = (Tier, u16, &'a Option<String>);

fn name(entry: &EndpointDocument) -> Name<'_> {
    (entry.tier, entry.port, &entry.address)
}

impl Told {
    /// Tells a session at its start.
    pub(super) fn greet(&mut self, context: &Context) {
        self.tell(context, context.stands_by());
    }

    /// Tells it what has changed.
    pub(super) fn changed(&mut self, context: &Context) {
        self.tell(context, !self.wholly);
    }

    /// Follows the session from standby to client and back.
    pub(super) fn look(&mut self, context: &Context, now: Duration) {
        if context.stands_by() {
            (self.wholly, self.client_since) = (false, None);
        } else if !self.wholly && now.saturating_sub(*self.client_since.get_or_insert(now)) >= TELEMETRY_FIRST
        {
            self.tell(context, false);
        }
    }

    fn tell(&mut self, context: &Context, standby: bool) {
        let known = context.endpoint.directory.borrow().clone();
        let own = (context.endpoint.tier, context.endpoint.port);
        if let Some(news) = self.news(&known, own, standby) {
            crate::dialect::native::say(context, &news);
        }
    }

    /// What the session is to be told now. A standby hears of `own` alone, the endpoint that it
    /// stands by at: of the others it hears elsewhere, and it may stand by at each of them.
    pub(super) fn news(
        &mut self,
        known: &[EndpointDocument],
        own: (Tier, u16),
        standby: bool,
    ) -> Option<ServerMessage> {
        let concerns = |entry: &&EndpointDocument| !standby || (entry.tier, entry.port) == own;
        let known: Vec<&EndpointDocument> = known.iter().filter(concerns).collect();
        let is_known = |told: &EndpointDocument| known.iter().any(|entry| name(entry) == name(told));
        let complete = !standby && (!self.wholly || !self.entries.iter().all(is_known));
        let endpoints: Vec<EndpointDocument> = known
            .iter()
            .filter(|entry| complete || !self.entries.contains(entry))
            .map(|entry| (*entry).clone())
            .collect();
        self.wholly = !standby;
        self.entries = known.into_iter().cloned().collect();
        (!endpoints.is_empty()).then_some(ServerMessage::Directory { endpoints, complete })
    }
}

#[cfg(test)]
mod tests {
    use roverline_protocol::status::HealthStatus;

    use super::*;

    fn entry(tier: Tier, clients: usize) -> EndpointDocument {
        EndpointDocument {
            tier,
            port: 8080 + tier.port_offset(),
            scopes: tier.scopes(),
            status: HealthStatus::Healthy,
            reasons: Vec::new(),
            covers: Vec::new(),
            draining: false,
            address: None,
            clients,
            max_clients: 50,
            started_ns: 0,
            version: String::new(),
        }
    }

    fn told(news: Option<ServerMessage>) -> (bool, Vec<(Tier, usize)>) {
        let Some(ServerMessage::Directory { endpoints, complete }) = news else { return (false, Vec::new()) };
        (complete, endpoints.iter().map(|entry| (entry.tier, entry.clients)).collect())
    }

    #[test]
    fn a_client_is_told_all_and_then_what_changes_and_all_again_when_one_is_gone() {
        let mut session = Told::default();
        let mut known = vec![entry(Tier::Primary, 0), entry(Tier::Secondary, 0), entry(Tier::Tertiary, 0)];
        let own = (Tier::Primary, 8080);
        let (complete, all) = told(session.news(&known, own, false));
        assert_eq!((complete, all.len()), (true, 3));
        assert!(session.news(&known, own, false).is_none());
        known[1].clients = 1;
        assert_eq!(told(session.news(&known, own, false)), (false, vec![(Tier::Secondary, 1)]));
        known.remove(2);
        let all = vec![(Tier::Primary, 0), (Tier::Secondary, 1)];
        assert_eq!(told(session.news(&known, own, false)), (true, all));
    }

    #[test]
    fn a_standby_hears_of_its_endpoint_alone_and_of_all_when_it_is_a_client() {
        let mut session = Told::default();
        let mut known = vec![entry(Tier::Primary, 0), entry(Tier::Secondary, 0)];
        let own = (Tier::Secondary, 8081);
        assert_eq!(told(session.news(&known, own, true)), (false, vec![(Tier::Secondary, 0)]));
        known[0].clients = 7;
        assert!(session.news(&known, own, true).is_none());
        known[1].clients = 2;
        assert_eq!(told(session.news(&known, own, true)), (false, vec![(Tier::Secondary, 2)]));
        let all = vec![(Tier::Primary, 7), (Tier::Secondary, 2)];
        assert_eq!(told(session.news(&known, own, false)), (true, all));
    }
}
