//! Endpoints on several computers find each other by multicast DNS (RFC 6762) and service discovery
//! (RFC 6763): each announces itself, and takes those of the same rover for peers.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mdns_sd::{IfKind, ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};
use roverline_protocol::limits;
use roverline_protocol::status::{EventKind, Origin};

use crate::endpoint::peers::Peer;
use crate::endpoint::{Endpoint, Facts};

/// The service type under which endpoints are announced.
const SERVICE: &str = "_roverline._tcp.local.";
/// The longest DNS label (RFC 1035, section 2.3.4).
const LABEL_CHARS: usize = 63;

/// Announces the endpoint and follows the others for ever, or says why that is not possible and goes
/// on without.
pub async fn announce_and_browse(endpoint: Arc<Endpoint>, rover: String, host: String) {
    match start(&endpoint, &rover, &host) {
        Ok((daemon, events, own)) => {
            let mut stop = endpoint.stopping();
            let mut found = Found { endpoint: &endpoint, rover: &rover, own, addresses: HashMap::new() };
            loop {
                tokio::select! {
                    event = events.recv_async() => match event {
                        Ok(event) => found.heard(event),
                        Err(_) => break,
                    },
                    _ = stop.changed() => {
                        // Says goodbye, so that the others need not wait for a lifetime to end.
                        let _ = daemon.shutdown();
                        break;
                    }
                }
            }
        }
        Err(error) => tracing::warn!(error, "mDNS is not used"),
    }
    std::future::pending().await
}

type Started = (ServiceDaemon, mdns_sd::Receiver<ServiceEvent>, String);

fn start(endpoint: &Endpoint, rover: &str, host: &str) -> Result<Started, String> {
    let text = |error: mdns_sd::Error| error.to_string();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let ip: IpAddr =
        host.parse().map_err(|_| format!("{host} is no address: write one, or 0.0.0.0, as the host"))?;
    let daemon = ServiceDaemon::new().map_err(text)?;
    if !ip.is_unspecified() {
        // Who listens in one network has nothing to say in the others.
        daemon.disable_interface(IfKind::All).map_err(text)?;
        daemon.enable_interface(IfKind::Addr(ip)).map_err(text)?;
    }
    let computer = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let label = |text: String| text.chars().filter(|c| *c != '.').take(LABEL_CHARS / 2).collect::<String>();
    let instance = format!("{} {} {}", endpoint.tier, endpoint.port, label(computer.clone()));
    // A name of its own: the computer's is announced by others, with addresses that may differ.
    let hostname = format!("roverline-{}-{}.local.", endpoint.port, label(computer));
    let properties = [
        ("tier", endpoint.tier.name()),
        ("rover", rover),
        ("version", env!("CARGO_PKG_VERSION")),
        ("network", &network()),
    ];
    let address = if ip.is_unspecified() { "" } else { host };
    let info = ServiceInfo::new(SERVICE, &instance, &hostname, address, endpoint.port, &properties[..]);
    let info = info.map_err(text)?;
    let info = if ip.is_unspecified() { info.enable_addr_auto() } else { info };
    let own = info.get_fullname().to_owned();
    let events = daemon.browse(SERVICE).map_err(text)?;
    daemon.register(info).map_err(text)?;
    tracing::info!(instance, rover, "announced by mDNS");
    Ok((daemon, events, own))
}

/// What two processes have in common that reach each other by loopback: kernel and network namespace.
fn network() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let space = std::fs::read_link("/proc/self/ns/net").unwrap_or_default();
    let space = space.to_string_lossy().chars().filter(char::is_ascii_digit).collect::<String>();
    format!("{}-{space}", boot.trim())
}

/// The endpoints that were found.
struct Found<'a> {
    endpoint: &'a Endpoint,
    rover: &'a str,
    /// Our own announcement's name.
    own: String,
    /// Addresses that were added, by the announcement's name.
    addresses: HashMap<String, String>,
}

impl Found<'_> {
    fn heard(&mut self, event: ServiceEvent) {
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
        let Some(address) = address(service, here) else { return };
        if self.addresses.get(&service.fullname) == Some(&address) {
            return;
        }
        self.remove(&service.fullname);
        let peer = Peer { tier, address: address.clone(), expected: false };
        // The endpoints of one computer know each other already: by configuration, at another address.
        let port = format!(":{}", service.port);
        let known = |peer: &Peer| here && peer.address.ends_with(&port);
        if self.addresses.len() >= limits::PEERS
            || self.endpoint.peers.list().iter().any(|(peer, _)| known(peer))
            || self.endpoint.peers.add(peer, Origin::Mdns).is_err()
        {
            return;
        }
        let facts = Facts { to: Some(address.clone()), ..Facts::default() };
        self.endpoint.events.note(EventKind::PeerAdded, &format!("{tier} {address} announces itself"), facts);
        self.addresses.insert(service.fullname.clone(), address);
    }

    fn remove(&mut self, name: &str) {
        let Some(address) = self.addresses.remove(name) else { return };
        if let Some(tier) = self.endpoint.peers.forget(&address, Origin::Mdns) {
            let facts = Facts { from: Some(address.clone()), ..Facts::default() };
            let cause = format!("{tier} {address} is announced no longer");
            self.endpoint.events.note(EventKind::PeerRemoved, &cause, facts);
        }
    }
}

/// The address to ask at: IPv4 first, since an IPv6 address may need a zone. Loopback is ours alone.
fn address(service: &ResolvedService, here: bool) -> Option<String> {
    let mut all: Vec<_> = service.addresses.iter().map(mdns_sd::ScopedIp::to_ip_addr).collect();
    all.retain(|ip| here || !ip.is_loopback());
    all.retain(|ip| match ip {
        IpAddr::V4(_) => true,
        IpAddr::V6(ip) => !ip.is_unicast_link_local(),
    });
    all.sort_by_key(|ip| (ip.is_ipv6(), *ip));
    all.first().map(|ip| SocketAddr::new(*ip, service.port).to_string())
}
