//! Directory updates for one native session: it gets the known endpoints once, then only what changed,
//! to save bandwidth.

use std::time::Duration;

use roverline_protocol::Tier;
use roverline_protocol::native::ServerMessage;
use roverline_protocol::status::EndpointDocument;

use crate::connection::frame;
use crate::dialect::session::SessionContext;

/// A standby that has just become a client has lost another endpoint; telemetry is sent first.
const TELEMETRY_FIRST: Duration = Duration::from_secs(1);

/// The entries that this session has received.
#[derive(Debug, Default)]
pub(super) struct DirectorySync {
    entries: Vec<EndpointDocument>,
    /// The session has received the complete list once, and all changes since.
    complete_list: bool,
    /// Monotonic time since which the session is no longer a standby.
    client_since: Option<Duration>,
}

type Name<'a> = (Tier, u16, &'a Option<String>);

fn name(entry: &EndpointDocument) -> Name<'_> {
    (entry.tier, entry.port, &entry.address)
}

impl DirectorySync {
    /// Sends the entries for a new session.
    pub(super) fn send_initial(&mut self, context: &SessionContext) {
        self.send_update(context, context.is_standby());
    }

    /// Sends what has changed.
    pub(super) fn send_changes(&mut self, context: &SessionContext) {
        self.send_update(context, !self.complete_list);
    }

    /// Tracks whether the session is a standby or a client.
    pub(super) fn poll(&mut self, context: &SessionContext, now: Duration) {
        if context.is_standby() {
            (self.complete_list, self.client_since) = (false, None);
        } else if !self.complete_list
            && now.saturating_sub(*self.client_since.get_or_insert(now)) >= TELEMETRY_FIRST
        {
            self.send_update(context, false);
        }
    }

    fn send_update(&mut self, context: &SessionContext, standby: bool) {
        let known = context.endpoint.known_endpoints();
        let own = (context.endpoint.tier, context.endpoint.port);
        if let Some(update) = self.diff(&known, own, standby) {
            context.info.outbox().control(frame::json(&update));
        }
    }

    /// The message that brings the session up to date, if any. A standby receives only the entry of
    /// `own`, its endpoint: it learns of the others elsewhere, and may be a standby on each of them.
    pub(super) fn diff(
        &mut self,
        known: &[EndpointDocument],
        own: (Tier, u16),
        standby: bool,
    ) -> Option<ServerMessage> {
        let is_relevant = |entry: &&EndpointDocument| !standby || (entry.tier, entry.port) == own;
        let known: Vec<&EndpointDocument> = known.iter().filter(is_relevant).collect();
        let is_known = |sent: &EndpointDocument| known.iter().any(|entry| name(entry) == name(sent));
        let complete = !standby && (!self.complete_list || !self.entries.iter().all(is_known));
        let endpoints: Vec<EndpointDocument> = known
            .iter()
            .filter(|entry| complete || !self.entries.contains(entry))
            .map(|entry| (*entry).clone())
            .collect();
        self.complete_list = !standby;
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
            warming_up: false,
            address: None,
            clients,
            max_clients: 50,
            started_ns: 0,
            version: String::new(),
        }
    }

    fn unpack(update: Option<ServerMessage>) -> (bool, Vec<(Tier, usize)>) {
        let Some(ServerMessage::Directory { endpoints, complete }) = update else {
            return (false, Vec::new());
        };
        (complete, endpoints.iter().map(|entry| (entry.tier, entry.clients)).collect())
    }

    #[test]
    fn a_client_gets_all_entries_then_changes_and_all_again_when_one_is_gone() {
        let mut session = DirectorySync::default();
        let mut known = vec![entry(Tier::Primary, 0), entry(Tier::Secondary, 0), entry(Tier::Tertiary, 0)];
        let own = (Tier::Primary, 8080);
        let (complete, all) = unpack(session.diff(&known, own, false));
        assert_eq!((complete, all.len()), (true, 3));
        assert!(session.diff(&known, own, false).is_none());
        known[1].clients = 1;
        assert_eq!(unpack(session.diff(&known, own, false)), (false, vec![(Tier::Secondary, 1)]));
        known.remove(2);
        let all = vec![(Tier::Primary, 0), (Tier::Secondary, 1)];
        assert_eq!(unpack(session.diff(&known, own, false)), (true, all));
    }

    #[test]
    fn a_standby_gets_its_own_endpoint_only_and_a_client_gets_all() {
        let mut session = DirectorySync::default();
        let mut known = vec![entry(Tier::Primary, 0), entry(Tier::Secondary, 0)];
        let own = (Tier::Secondary, 8081);
        assert_eq!(unpack(session.diff(&known, own, true)), (false, vec![(Tier::Secondary, 0)]));
        known[0].clients = 7;
        assert!(session.diff(&known, own, true).is_none());
        known[1].clients = 2;
        assert_eq!(unpack(session.diff(&known, own, true)), (false, vec![(Tier::Secondary, 2)]));
        let all = vec![(Tier::Primary, 7), (Tier::Secondary, 2)];
        assert_eq!(unpack(session.diff(&known, own, false)), (true, all));
    }
}
