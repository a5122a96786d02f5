//! Peer discovery by multicast DNS (RFC 6762) and DNS-SD (RFC 6763): each endpoint announces itself and
//! adds endpoints of the same rover as peers. An announcement is a claim: a peer counts once it has proven the
//! rover's key, and a withdrawal removes only a peer that does not answer.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mdns_sd::{IfKind, ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};
use roverline_protocol::status::Origin;

use crate::endpoint::Endpoint;
use crate::endpoint::peers::Peer;
use crate::endpoint::peers::networks::PeerNetworks;

/// The DNS-SD service type of endpoints.
const SERVICE: &str = "_roverline._tcp.local.";
/// The longest DNS label (RFC 1035, section 2.3.4).
const LABEL_CHARS: usize = 63;

/// Announces the endpoint and browses for others forever; if mDNS is not available, logs why and continues
/// without it.
pub async fn announce_and_browse(endpoint: Arc<Endpoint>, rover: String, host: String) {
    match start(&endpoint, &rover, &host) {
        Ok((daemon, events, own)) => {
            let mut discovered =
                DiscoveredPeers { endpoint: &endpoint, rover: &rover, own, addresses: HashMap::new() };
            loop {
                tokio::select! {
                    event = events.recv_async() => match event {
                        Ok(event) => discovered.on_event(event),
                        Err(_) => break,
                    },
                    () = endpoint.stop_token().cancelled() => {
                        // Sends a goodbye so that the others need not wait for the record to expire.
                        let _ = daemon.shutdown();
                        break;
                    }
                }
            }
        }
        Err(error) => tracing::warn!(%error, "mDNS is not used"),
    }
    std::future::pending().await
}

/// Why mDNS is not used.
#[derive(Debug, thiserror::Error)]
enum MdnsError {
    /// Only an address can be announced.
    #[error("{0} is no address: write one, or 0.0.0.0, as the host")]
    Host(String),
    /// The mDNS responder failed.
    #[error(transparent)]
    Responder(#[from] mdns_sd::Error),
}

type MdnsService = (ServiceDaemon, mdns_sd::Receiver<ServiceEvent>, String);

fn start(endpoint: &Endpoint, rover: &str, host: &str) -> Result<MdnsService, MdnsError> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let ip: IpAddr = host.parse().map_err(|_| MdnsError::Host(host.to_owned()))?;
    let daemon = ServiceDaemon::new()?;
    if !ip.is_unspecified() {
        // An endpoint that listens on one network does not announce itself on the others.
        daemon.disable_interface(IfKind::All)?;
        daemon.enable_interface(IfKind::Addr(ip))?;
    }
    let computer = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let label = |text: String| text.chars().filter(|c| *c != '.').take(LABEL_CHARS / 2).collect::<String>();
    let instance = format!("{} {} {}", endpoint.tier, endpoint.port, label(computer.clone()));
    // A separate host name: the computer's own is announced by others, possibly with other addresses.
    let hostname = format!("roverline-{}-{}.local.", endpoint.port, label(computer));
    let properties = [
        ("tier", endpoint.tier.name()),
        ("rover", rover),
        ("version", env!("CARGO_PKG_VERSION")),
        ("network", &network()),
    ];
    let address = if ip.is_unspecified() { "" } else { host };
    let info = ServiceInfo::new(SERVICE, &instance, &hostname, address, endpoint.port, &properties[..]);
    let info = info?;
    let info = if ip.is_unspecified() { info.enable_addr_auto() } else { info };
    let own = info.get_fullname().to_owned();
    let events = daemon.browse(SERVICE)?;
    daemon.register(info)?;
    tracing::info!(instance, rover, "announced by mDNS");
    Ok((daemon, events, own))
}

/// Identifies the kernel and network namespace: processes with equal values can connect over loopback.
fn network() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let space = std::fs::read_link("/proc/self/ns/net").unwrap_or_default();
    let space = space.to_string_lossy().chars().filter(char::is_ascii_digit).collect::<String>();
    format!("{}-{space}", boot.trim())
}

/// The endpoints discovered so far.
struct DiscoveredPeers<'a> {
    endpoint: &'a Endpoint,
    rover: &'a str,
    /// The full name of our own announcement.
    own: String,
    /// Addresses added as peers, by announcement name.
    addresses: HashMap<String, String>,
}

impl DiscoveredPeers<'_> {
    fn on_event(&mut self, event: ServiceEvent) {
        match event {
            ServiceEvent::ServiceResolved(service) => self.add(&service),
            ServiceEvent::ServiceRemoved(_, name) => self.remove(&name),
            _ => {}
        }
    }

    fn add(&mut self, service: &ResolvedService) {
        let property = |key| service.get_property_val_str(key).unwrap_or_default();
        let Ok(tier) = property("tier").parse() else { return };
        if property("rover") != self.rover || service.fullname == self.own {
            return;
        }
        let here = property("network") == network();
        let networks = &self.endpoint.peer_trust.networks;
        let Some(address) = address(service, here, networks) else { return };
        if self.addresses.get(&service.fullname) == Some(&address)
            && self.endpoint.peers.is_discovered(&address)
        {
            return;
        }
        self.remove(&service.fullname);
        let peers = &self.endpoint.peers;
        // Others may have taken the entries of those that prove nothing.
        self.addresses.retain(|_, address| peers.is_discovered(address));
        let peer = Peer { tier, address: address.clone(), expected: false };
        // Endpoints of one computer already know each other by configuration, at another address.
        let port = format!(":{}", service.port);
        let known = |peer: &Peer| here && peer.address.ends_with(&port);
        if peers.list().iter().any(|(peer, ..)| known(peer)) || peers.add(peer, Origin::Mdns).is_err() {
            return;
        }
        // Anybody can announce anything: it is an event once it has proven itself.
        tracing::debug!(%tier, address, "announces itself");
        self.addresses.insert(service.fullname.clone(), address);
    }

    fn remove(&mut self, name: &str) {
        if let Some(address) = self.addresses.remove(name) {
            self.endpoint.peers.withdraw(&address);
        }
    }
}

/// Adds an announced endpoint as a browser of this rover does. For the fuzz target.
pub fn add_announced(endpoint: &Endpoint, rover: &str, service: &ResolvedService) {
    let (own, addresses) = (String::new(), HashMap::new());
    DiscoveredPeers { endpoint, rover, own, addresses }.add(service);
}

/// The address to connect to: IPv4 first, since an IPv6 address may need a zone. Loopback only within this
/// computer.
fn address(service: &ResolvedService, here: bool, networks: &PeerNetworks) -> Option<String> {
    let mut all: Vec<_> = service.addresses.iter().map(mdns_sd::ScopedIp::to_ip_addr).collect();
    all.retain(|ip| here || !ip.is_loopback());
    all.retain(|ip| networks.allow(SocketAddr::new(*ip, service.port)));
    all.sort_by_key(|ip| (ip.is_ipv6(), *ip));
    all.first().map(|ip| SocketAddr::new(*ip, service.port).to_string())
}
