//! Checks of the domain and the addresses that a participant is to use.

use std::net::{IpAddr, UdpSocket};

use crate::SourceError;
use crate::dds_options::DdsOptions;

/// RTPS computes ports from the domain id; higher ids would not fit into 16 bits.
const LAST_DOMAIN: u16 = 232;

/// Rejects options that no engine can use. Engines ignore an address that this computer does not have, and then
/// reach no peer.
pub(super) fn check(options: &DdsOptions) -> Result<(), SourceError> {
    if options.domain_id > LAST_DOMAIN {
        return Err(SourceError(format!(
            "ROS_DOMAIN_ID is {}, but a DDS domain is a number from 0 to {LAST_DOMAIN}",
            options.domain_id
        )));
    }
    options.networks.iter().try_for_each(|address| check_address(*address))
}

fn check_address(address: IpAddr) -> Result<(), SourceError> {
    UdpSocket::bind((address, 0)).map(drop).map_err(|error| {
        SourceError(format!(
            "DDS cannot use {address}, which is no address of this computer ({error}); see [dds] interfaces"
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn an_address_of_another_computer_is_refused_by_name() {
        let with = |address| DdsOptions { domain_id: 231, networks: vec![address], ..DdsOptions::default() };
        assert!(check(&with(IpAddr::V4(Ipv4Addr::LOCALHOST))).is_ok());
        let error = check(&with(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)))).unwrap_err().to_string();
        assert!(error.contains("192.0.2.1") && error.contains("[dds] interfaces"), "{error}");
    }
}
