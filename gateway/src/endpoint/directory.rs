//! The directory of endpoints: this endpoint and its peers with their load.

use std::sync::Arc;

use roverline_protocol::status::{DirectoryDocument, DirectoryEntry, EndpointDocument, Origin, PeerDocument};
use tokio::sync::watch;

use crate::endpoint::Endpoint;

impl Endpoint {
    /// The known endpoints, including this one.
    pub fn known_endpoints(&self) -> Arc<Vec<EndpointDocument>> {
        self.directory.borrow().clone()
    }

    /// Changes of the known endpoints.
    pub fn directory_changes(&self) -> watch::Receiver<Arc<Vec<EndpointDocument>>> {
        self.directory.subscribe()
    }

    /// The directory as the API and the ROS service show it.
    pub fn directory_document(&self) -> DirectoryDocument {
        let health = self.health();
        let mut own = health.endpoint;
        let known = self.known_endpoints();
        own.address = known
            .iter()
            .find(|entry| entry.started_ns == own.started_ns && entry.port == own.port)
            .and_then(|entry| entry.address.clone());
        let own = PeerDocument {
            endpoint: own,
            age_s: Some(0.0),
            rtt_ms: None,
            last_error: None,
            freshness_s: health.freshness_s,
            proof: None,
            unproven: None,
        };
        let mut all = vec![(Origin::Own, own)];
        all.extend(self.peers.entries());
        let entry = |(origin, peer): (Origin, PeerDocument)| {
            let (clients, most) = (peer.endpoint.clients as f64, peer.endpoint.max_clients as f64);
            DirectoryEntry { origin, load: (most > 0.0).then(|| clients / most), peer }
        };
        let mut endpoints: Vec<_> = all.into_iter().map(entry).collect();
        endpoints.sort_by(|a, b| {
            let key =
                |entry: &DirectoryEntry| (entry.peer.endpoint.tier, entry.peer.endpoint.address.clone());
            key(a).cmp(&key(b))
        });
        DirectoryDocument { endpoints }
    }
}
