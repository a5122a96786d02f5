//! The configuration of a domain: what CycloneDDS reads as XML. It is made of numbers and addresses only, so nothing
//! in it needs escaping.

use std::net::{IpAddr, Ipv4Addr};

use crate::error::Error;
use crate::interfaces::multicast_interfaces;
use crate::peers::{self, PeerAddress};

/// RTPS derives ports from the domain id; higher ids would not fit into 16 bits.
const LAST_DOMAIN: u16 = 232;
/// Ports of RTPS (DDSI-RTPS 2.5, 9.6.2.3): those of a domain, and the last one of a participant in it.
const FIRST_PORT: u32 = 7400;
const PORTS_PER_DOMAIN: u32 = 250;
const PORTS_PER_PARTICIPANT: u32 = 2;
const LAST_PORT_OF_PARTICIPANT: u32 = 11;
/// Higher participants would use the ports of the next domain.
const LAST_PARTICIPANT: u32 = 119;

/// How to join a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// `ROS_DOMAIN_ID`, 0 to 232.
    pub domain_id: u16,
    /// Uses only the interfaces with these addresses; empty means all that can multicast, and loopback.
    pub networks: Vec<IpAddr>,
    /// Restricts traffic to this computer: only the loopback interface is used, and participants on it are found
    /// both by multicast and, as those of `ROS_LOCALHOST_ONLY` are, one by one.
    pub localhost_only: bool,
    /// Addresses or host names that are contacted without multicast, with or without `:port`.
    pub peers: Vec<String>,
    /// Whether participants are found by multicast. Without it, only peers are.
    pub multicast: bool,
    /// Wanted size of the sockets' receive buffers; the kernel may give less. 0 means the library's default.
    pub receive_buffer_bytes: u32,
    /// Largest message that is sent or received. Larger ones are dropped.
    pub max_sample_bytes: u32,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            domain_id: 0,
            networks: Vec::new(),
            localhost_only: false,
            peers: Vec::new(),
            multicast: true,
            receive_buffer_bytes: 4 * 1024 * 1024,
            max_sample_bytes: 64 * 1024 * 1024,
        }
    }
}

/// Checks the options and returns the domain's configuration.
pub(crate) fn xml(options: &Options) -> Result<String, Error> {
    if options.domain_id > LAST_DOMAIN {
        return Err(Error::Domain(options.domain_id));
    }
    let mut peers = options.peers.iter().map(|peer| peers::resolve(peer)).collect::<Result<Vec<_>, _>>()?;
    let interfaces = interfaces(options)?;
    // Multicast does not reach all participants on loopback: each is contacted, as ROS does it.
    if interfaces.contains(&Ipv4Addr::LOCALHOST) {
        peers.push(PeerAddress { address: Ipv4Addr::LOCALHOST, port: None });
    }
    let general = general(&interfaces, options);
    let discovery = discovery(options.domain_id, &peers);
    let internal = internal(options);
    Ok(format!("<CycloneDDS><Domain Id=\"any\">{general}{discovery}{internal}</Domain></CycloneDDS>"))
}

/// The addresses of the interfaces; none if the library is to choose.
fn interfaces(options: &Options) -> Result<Vec<Ipv4Addr>, Error> {
    if options.localhost_only {
        return Ok(vec![Ipv4Addr::LOCALHOST]);
    }
    if options.networks.is_empty() {
        // Loopback as well: participants that are restricted to this computer use nothing else.
        return Ok(multicast_interfaces().into_iter().chain([Ipv4Addr::LOCALHOST]).collect());
    }
    let mut addresses = Vec::with_capacity(options.networks.len());
    for network in &options.networks {
        match network {
            IpAddr::V4(address) if !addresses.contains(address) => addresses.push(*address),
            IpAddr::V4(_) => {}
            IpAddr::V6(_) => return Err(Error::Network(*network)),
        }
    }
    Ok(addresses)
}

fn general(interfaces: &[Ipv4Addr], options: &Options) -> String {
    let mut list = String::new();
    for address in interfaces {
        // Linux does not flag loopback as capable of multicast, but it is. It is used for finding participants only:
        // some of them do not listen for multicast there.
        let multicast = match (address.is_loopback(), options.multicast) {
            (true, true) => " multicast=\"true\" allow_multicast=\"spdp\"",
            (true, false) => " multicast=\"false\"",
            (false, _) => "",
        };
        list.push_str(&format!("<NetworkInterface address=\"{address}\"{multicast}/>"));
    }
    let list = if list.is_empty() { list } else { format!("<Interfaces>{list}</Interfaces>") };
    let multicast = if options.multicast { "default" } else { "false" };
    format!("<General>{list}<AllowMulticast>{multicast}</AllowMulticast></General>")
}

/// Every participant of a process has a domain of its own in the library, with the same id on the wire. Peers are
/// contacted for as long as we are here: one may start later.
fn discovery(domain_id: u16, peers: &[PeerAddress]) -> String {
    let list: String = peers
        .iter()
        .map(|PeerAddress { address, port }| {
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            format!("<Peer Address=\"{address}{port}\" PruneDelay=\"inf\"/>")
        })
        .collect();
    let last = last_participant(domain_id);
    format!(
        "<Discovery><ExternalDomainId>{domain_id}</ExternalDomainId><ParticipantIndex>auto</ParticipantIndex>\
         <MaxAutoParticipantIndex>{last}</MaxAutoParticipantIndex><Peers AddLocalhost=\"false\">{list}</Peers>\
         </Discovery>"
    )
}

fn internal(options: &Options) -> String {
    let buffer = match options.receive_buffer_bytes {
        0 => String::new(),
        bytes => format!("<SocketReceiveBufferSize max=\"{bytes} B\"/>"),
    };
    let sample = options.max_sample_bytes.min(i32::MAX.unsigned_abs());
    // With the hash of its key, Fast DDS understands that an endpoint is deleted; it ignores a key alone.
    let hash = "<GenerateKeyhash>true</GenerateKeyhash>";
    format!("<Internal>{buffer}{hash}<MaxSampleSize>{sample} B</MaxSampleSize></Internal>")
}

/// The last participant of a domain that has ports.
fn last_participant(domain_id: u16) -> u32 {
    let first = FIRST_PORT + PORTS_PER_DOMAIN * u32::from(domain_id);
    let room = u32::from(u16::MAX).saturating_sub(first + LAST_PORT_OF_PARTICIPANT);
    LAST_PARTICIPANT.min(room / PORTS_PER_PARTICIPANT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_participant_has_ports_in_every_domain() {
        assert_eq!((last_participant(0), last_participant(231), last_participant(232)), (119, 119, 62));
        for domain in 0..=LAST_DOMAIN {
            let port = 7400 + 250 * u32::from(domain) + 11 + 2 * last_participant(domain);
            assert!(port <= 65535, "{domain}: {port}");
        }
    }

    #[test]
    fn localhost_only_uses_loopback_and_contacts_its_participants() {
        let options = Options { domain_id: 7, localhost_only: true, ..Options::default() };
        let xml = xml(&options).unwrap();
        let interface =
            "<NetworkInterface address=\"127.0.0.1\" multicast=\"true\" allow_multicast=\"spdp\"/>";
        assert!(xml.contains(interface), "{xml}");
        assert!(xml.contains("<ExternalDomainId>7</ExternalDomainId>"), "{xml}");
        assert!(xml.contains("<Peer Address=\"127.0.0.1\" PruneDelay=\"inf\"/>"), "{xml}");
        let xml = super::xml(&Options { multicast: false, ..options }).unwrap();
        assert!(xml.contains("address=\"127.0.0.1\" multicast=\"false\""), "{xml}");
        assert!(xml.contains("<AllowMulticast>false</AllowMulticast>"), "{xml}");
    }

    #[test]
    fn options_that_mean_nothing_are_refused() {
        let refused = |options: Options| xml(&options).unwrap_err();
        assert_eq!(refused(Options { domain_id: 233, ..Options::default() }), Error::Domain(233));
        let network: IpAddr = "::1".parse().unwrap();
        assert_eq!(
            refused(Options { networks: vec![network], ..Options::default() }),
            Error::Network(network)
        );
        let peers = vec!["\"/><Tracing/>".to_owned()];
        assert!(matches!(refused(Options { peers, ..Options::default() }), Error::Peer { .. }));
    }

    #[test]
    fn an_address_is_named_once() {
        let networks = vec![IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)); 2];
        let xml = xml(&Options { networks, receive_buffer_bytes: 0, ..Options::default() }).unwrap();
        assert_eq!(xml.matches("192.0.2.1").count(), 1, "{xml}");
        assert!(!xml.contains("SocketReceiveBufferSize"), "{xml}");
    }
}
