//! A client's address as far as bounds go: connections from one address share its bounds.

use std::net::{IpAddr, Ipv6Addr};

/// The network part of an IPv6 address that one subscriber has as a rule.
const IPV6_NETWORK_BITS: u32 = 64;

/// An IPv4 address, or the network of an IPv6 address: its holder has all addresses in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientAddress(IpAddr);

impl ClientAddress {
    /// The address that counts for a client at this one.
    pub fn of(address: IpAddr) -> ClientAddress {
        match address.to_canonical() {
            IpAddr::V6(address) if !address.is_loopback() => {
                let mask = u128::MAX << (128 - IPV6_NETWORK_BITS);
                ClientAddress(Ipv6Addr::from_bits(address.to_bits() & mask).into())
            }
            address => ClientAddress(address),
        }
    }

    /// Whether it is this computer's: all its users and tunnels share it, so bounds per address are not for
    /// it.
    pub fn is_loopback(self) -> bool {
        self.0.is_loopback()
    }
}

impl std::fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_counts_as_one_client() {
        let of = |text: &str| ClientAddress::of(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
        assert!(of("::1").is_loopback() && of("127.0.0.9").is_loopback() && !of("10.0.0.1").is_loopback());
    }
}
