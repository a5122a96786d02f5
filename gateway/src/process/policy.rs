//! How an endpoint treats its peers, derived from the settings.

use std::time::Duration;

use roverline_protocol::Tier;

use crate::config::{MdnsMode, Settings};
use crate::endpoint::peers::Peer;
use crate::endpoint::peers::PeerPolicy;

/// The peer policy of a tier's endpoint that listens on `port`.
pub fn peer_policy(settings: &Settings, tier: Tier, port: u16) -> PeerPolicy {
    let gateway = &settings.gateway;
    let anywhere = matches!(gateway.host.as_str(), "0.0.0.0" | "::");
    let host = gateway.host.trim_start_matches('[').trim_end_matches(']');
    let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let mdns = match gateway.mdns {
        MdnsMode::Auto => !loopback,
        MdnsMode::On => true,
        MdnsMode::Off => false,
    };
    PeerPolicy {
        // A relay's four tiers are one process, so none of them is down alone.
        promotion: (gateway.promotion && !gateway.source.is_relay())
            .then(|| Duration::from_secs_f64(gateway.promotion_grace_s)),
        // An endpoint that listens on all addresses does not know by which one clients reach it.
        address: match &settings.endpoint(tier).address {
            Some(address) => Some(address.clone()),
            None => (!anywhere).then(|| format!("{}:{port}", gateway.host)),
        },
        rover: settings.rover(),
        mdns: mdns.then(|| gateway.host.clone()),
    }
}

/// The other endpoints of these settings, as peers of `tier`.
pub fn peer_list(settings: &Settings, tier: Tier) -> Vec<Peer> {
    let listens = |other| settings.port(other) != 0 || settings.endpoint(other).address.is_some();
    let others = Tier::ALL.into_iter().filter(|other| *other != tier && listens(*other));
    let explicit = |tier| {
        let endpoint = settings.endpoint(tier);
        endpoint.address.is_some() || endpoint.port.is_some()
    };
    let peer = |other| Peer { tier: other, address: settings.address(other), expected: explicit(other) };
    others.map(peer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_the_others() {
        let peers = peer_list(&Settings::default(), Tier::Secondary);
        let addresses: Vec<_> = peers.iter().map(|peer| peer.address.as_str()).collect();
        assert_eq!(addresses, ["127.0.0.1:8080", "127.0.0.1:8082", "127.0.0.1:8083"]);
    }
}
