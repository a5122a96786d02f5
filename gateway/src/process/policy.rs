//! The policy by which an endpoint treats its peers, derived from the settings.

use std::time::Duration;

use roverline_protocol::Tier;

use crate::config::{MdnsMode, Settings};
use crate::endpoint::peers::key::PeerKey;
use crate::endpoint::peers::networks::PeerNetworks;
use crate::endpoint::peers::proof::Prover;
use crate::endpoint::peers::{Peer, PeerPolicy, PeerTrust};
use crate::process::error::ProcessError;

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

/// By what a tier's endpoint recognizes its peers. A key that is configured has to be there; without that of
/// the state directory, the endpoint serves without peers.
pub fn peer_trust(settings: &Settings, tier: Tier) -> Result<PeerTrust, ProcessError> {
    let key = match &settings.peers.key {
        Some(path) => Some(PeerKey::read(path)?),
        None => PeerKey::read_or_generate(&settings.state_dir())
            .inspect_err(|error| tracing::error!(%error, "no peer is recognized, so no tier is covered"))
            .ok(),
    };
    let address = settings.endpoint(tier).address.clone();
    // Checked when the settings were read.
    let networks = settings.peers.networks().unwrap_or_default();
    Ok(PeerTrust { prover: Prover { key, tier, address }, networks: PeerNetworks::new(networks) })
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
