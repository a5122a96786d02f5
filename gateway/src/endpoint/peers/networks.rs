//! The networks that peers may be in: an endpoint connects to addresses that others give it (announced by mDNS, or
//! registered over HTTP) only in its rover's networks.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use roverline_source::clock::monotonic;

/// How long the list of this computer's networks is used before it is read again.
const INTERFACES_MAX_AGE_MS: u64 = 5_000;

/// The networks in which peers may be.
#[derive(Debug, Default)]
pub struct PeerNetworks {
    /// The configured ones; empty: this computer's networks and loopback.
    configured: Vec<IpNet>,
    own: parking_lot::Mutex<Option<(Duration, Vec<IpNet>)>>,
}

impl PeerNetworks {
    /// These networks; none: this computer's networks and loopback.
    pub fn new(configured: Vec<IpNet>) -> PeerNetworks {
        PeerNetworks { configured, own: parking_lot::Mutex::default() }
    }

    /// Whether a peer may be at this address.
    pub(crate) fn allow(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        if is_special(ip) {
            return false;
        }
        match self.configured.as_slice() {
            [] => ip.is_loopback() || self.own().iter().any(|network| network.contains(&ip)),
            configured => configured.iter().any(|network| network.contains(&ip)),
        }
    }

    /// The networks of this computer's interfaces; they may come and go.
    fn own(&self) -> Vec<IpNet> {
        let now = monotonic();
        let mut own = self.own.lock();
        if let Some((read, networks)) = &*own
            && now.saturating_sub(*read) < Duration::from_millis(INTERFACES_MAX_AGE_MS)
        {
            return networks.clone();
        }
        let networks: Vec<_> =
            if_addrs::get_if_addrs().unwrap_or_default().iter().filter_map(network).collect();
        *own = Some((now, networks.clone()));
        networks
    }
}

fn network(interface: &if_addrs::Interface) -> Option<IpNet> {
    let prefix = match &interface.addr {
        if_addrs::IfAddr::V4(address) => address.prefixlen,
        if_addrs::IfAddr::V6(address) => address.prefixlen,
    };
    // A network of everything would allow everything.
    (prefix > 0).then(|| IpNet::new(interface.ip(), prefix).ok()).flatten()
}

/// Addresses that no peer has, whatever the networks are.
fn is_special(ip: IpAddr) -> bool {
    let v6 = |ip: Ipv6Addr| ip.is_unicast_link_local();
    ip.is_unspecified()
        || ip.is_multicast()
        || match ip {
            IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
            IpAddr::V6(ip) => v6(ip),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(networks: &[&str], address: &str) -> bool {
        let networks = networks.iter().map(|network| network.parse().unwrap()).collect();
        PeerNetworks::new(networks).allow(address.parse().unwrap())
    }

    #[test]
    fn peers_are_in_this_computers_networks_unless_others_are_configured() {
        for near in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(allows(&[], near), "{near}");
            assert!(!allows(&["10.0.0.0/8"], near), "{near}");
        }
        assert!(!allows(&[], "203.0.113.7:80"));
        assert!(allows(&["10.0.0.0/8", "fd00::/8"], "10.1.2.3:8080"));
        assert!(allows(&["10.0.0.0/8", "fd00::/8"], "[fd00::7]:8080"));
        assert!(!allows(&["10.0.0.0/8"], "11.1.2.3:8080"));
        let own = PeerNetworks::default();
        for interface in if_addrs::get_if_addrs().unwrap() {
            let ip = interface.ip();
            assert_eq!(own.allow(SocketAddr::new(ip, 80)), !is_special(ip), "{ip}");
        }
    }

    #[test]
    fn special_addresses_are_never_peers() {
        for bad in [
            "0.0.0.0:80",
            "[::]:80",
            "169.254.169.254:80",
            "[fe80::1]:80",
            "224.0.0.251:5353",
            "[ff02::fb]:5353",
            "255.255.255.255:80",
            "[::ffff:169.254.1.1]:80",
        ] {
            assert!(!allows(&[], bad) && !allows(&["0.0.0.0/0", "::/0"], bad), "{bad}");
        }
    }
}
