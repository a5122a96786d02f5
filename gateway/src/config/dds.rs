//! Settings of DDS.

use std::net::IpAddr;

use ipnet::IpNet;
use roverline_protocol::Tier;
use roverline_source::dds::DdsEngine;
use serde::{Deserialize, Serialize};

/// Settings of DDS, beyond those of ROS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DdsSettings {
    /// Which implementation the endpoints use.
    pub engine: EngineChoice,
    /// Network interfaces that DDS uses: by name (`lo`, `eth0`), addresses (`192.168.1.10`) and networks
    /// (`192.168.1.0/24`); empty: all of them.
    pub interfaces: Vec<String>,
}

/// The DDS implementation of each endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineChoice {
    /// CycloneDDS for primary and tertiary, RustDDS for secondary and emergency, so that no fault of one
    /// implementation silences all four; RustDDS for all in a build without CycloneDDS.
    Diverse,
    /// CycloneDDS for all.
    Cyclone,
    /// RustDDS for all.
    RustDds,
}

impl Default for EngineChoice {
    /// CycloneDDS, where it is built in: two RustDDS participants in one domain end Fast DDS nodes that are built with
    /// its statistics and with assertions (seen with 2.9.1).
    fn default() -> EngineChoice {
        if DdsEngine::Cyclone.is_built() { EngineChoice::Cyclone } else { EngineChoice::RustDds }
    }
}

impl EngineChoice {
    /// The implementation of a tier's endpoint.
    pub fn of(self, tier: Tier) -> DdsEngine {
        let preferred = match (self, tier) {
            (EngineChoice::Cyclone, _) => return DdsEngine::Cyclone,
            (EngineChoice::RustDds, _) => DdsEngine::RustDds,
            (EngineChoice::Diverse, Tier::Primary | Tier::Tertiary) => DdsEngine::Cyclone,
            (EngineChoice::Diverse, Tier::Secondary | Tier::Emergency) => DdsEngine::RustDds,
        };
        if preferred.is_built() { preferred } else { DdsEngine::RustDds }
    }
}

/// An interface of this computer.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Its name: `eth0`.
    pub name: String,
    /// One of its addresses.
    pub address: IpAddr,
}

/// A configured interface that this computer does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("[dds] interfaces: this computer has no {entry:?}; it has {}", known.join(", "))]
pub struct UnknownInterface {
    entry: String,
    known: Vec<String>,
}

impl DdsSettings {
    /// The addresses that the configured interfaces have among `known`. An entry that matches none of them is an error
    /// that lists them: DDS would reach no peer.
    pub fn addresses(&self, known: &[Interface]) -> Result<Vec<IpAddr>, UnknownInterface> {
        let mut addresses = Vec::new();
        for entry in &self.interfaces {
            let before = addresses.len();
            // DDS is spoken over IPv4.
            let v4 = known.iter().filter(|interface| interface.address.is_ipv4());
            addresses.extend(v4.filter(|one| is_named(one, entry)).map(|one| one.address));
            if addresses.len() == before {
                let known = known.iter().map(|one| format!("{} {}", one.name, one.address)).collect();
                return Err(UnknownInterface { entry: entry.clone(), known });
            }
        }
        addresses.sort();
        addresses.dedup();
        Ok(addresses)
    }
}

fn is_named(interface: &Interface, entry: &str) -> bool {
    interface.name == entry
        || entry.parse() == Ok(interface.address)
        || entry.parse::<IpNet>().is_ok_and(|network| network.contains(&interface.address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interfaces() -> Vec<Interface> {
        let of =
            |name: &str, address: &str| Interface { name: name.into(), address: address.parse().unwrap() };
        vec![
            of("lo", "127.0.0.1"),
            of("eth0", "192.168.1.10"),
            of("eth0", "fe80::1"),
            of("wlan0", "10.0.0.7"),
            of("eth1", "192.168.1.11"),
        ]
    }

    #[test]
    fn interfaces_are_found_by_name_address_and_network() {
        let addresses = |entries: &[&str]| {
            let interfaces_of = entries.iter().map(|entry| (*entry).to_owned()).collect();
            let settings = DdsSettings { interfaces: interfaces_of, ..DdsSettings::default() };
            settings.addresses(&interfaces()).map(|all| all.iter().map(IpAddr::to_string).collect::<Vec<_>>())
        };
        assert_eq!(addresses(&[]).unwrap(), [""; 0]);
        assert_eq!(addresses(&["lo"]).unwrap(), ["127.0.0.1"]);
        assert_eq!(addresses(&["eth0", "10.0.0.7"]).unwrap(), ["10.0.0.7", "192.168.1.10"]);
        assert_eq!(addresses(&["192.168.0.0/16", "eth1"]).unwrap(), ["192.168.1.10", "192.168.1.11"]);
        for unknown in ["eth7", "192.0.2.1", "172.16.0.0/12", "", "fe80::1", "192.168.1.10/33"] {
            let error = addresses(&["lo", unknown]).unwrap_err().to_string();
            assert!(error.contains(&format!("{unknown:?}")) && error.contains("wlan0 10.0.0.7"), "{error}");
        }
    }

    #[test]
    fn diverse_engines_are_two_where_both_are_built() {
        // Two RustDDS participants end nodes that use Fast DDS: by default there is none.
        let built = DdsEngine::Cyclone.is_built();
        assert_eq!(EngineChoice::default().of(Tier::Secondary) == DdsEngine::Cyclone, built);
        let of = |choice: EngineChoice| Tier::ALL.map(|tier| choice.of(tier));
        assert_eq!(of(EngineChoice::RustDds), [DdsEngine::RustDds; 4]);
        assert_eq!(of(EngineChoice::Cyclone), [DdsEngine::Cyclone; 4]);
        let first = if DdsEngine::Cyclone.is_built() { DdsEngine::Cyclone } else { DdsEngine::RustDds };
        assert_eq!(of(EngineChoice::Diverse), [first, DdsEngine::RustDds, first, DdsEngine::RustDds]);
    }
}
