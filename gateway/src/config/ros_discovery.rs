//! ROS's environment variables of discovery: whom a participant finds, and how far it looks.
//!
//! Source: REP 2000's distributions up to Jazzy, "Improved Dynamic Discovery" (`ROS_AUTOMATIC_DISCOVERY_RANGE`,
//! `ROS_STATIC_PEERS`), and `ROS_LOCALHOST_ONLY` of Humble.

use crate::config::RosSettings;

/// Addresses that `static_peers` may list.
const MAX_STATIC_PEERS: usize = 32;

/// Parses `ROS_DOMAIN_ID`, which is 0 if it is empty, as in ROS.
pub(super) fn parse_domain_id(text: &str) -> Result<u16, String> {
    if text.trim().is_empty() {
        return Ok(0);
    }
    text.trim().parse().map_err(|_| "write a number from 0 to 232".to_owned())
}

/// Checks the values; an error is a key and a message.
pub(super) fn check(ros: &RosSettings) -> Result<(), (&'static str, String)> {
    if ros.static_peers.len() > MAX_STATIC_PEERS {
        return Err(("static_peers", format!("list at most {MAX_STATIC_PEERS} computers")));
    }
    let is_name = |peer: &&String| !peer.is_empty() && peer.bytes().all(is_address_byte);
    match ros.static_peers.iter().find(|peer| !is_name(peer)) {
        Some(peer) => Err(("static_peers", format!("{peer:?} is no address and no name of a computer"))),
        None => Ok(()),
    }
}

fn is_address_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte)
}

/// Applies what the environment says.
pub(super) fn apply(ros: &mut RosSettings, set: impl Fn(&str) -> Option<String>) {
    let range = set("ROS_AUTOMATIC_DISCOVERY_RANGE").unwrap_or_default();
    match range.trim().to_ascii_uppercase().as_str() {
        "LOCALHOST" => (ros.localhost_only, ros.multicast) = (true, true),
        "SUBNET" => (ros.localhost_only, ros.multicast) = (false, true),
        "OFF" => (ros.localhost_only, ros.multicast) = (false, false),
        // `SYSTEM_DEFAULT` leaves it to the configuration of the middleware, which is ours.
        _ => {}
    }
    // The older variable wins where it restricts, so that discovery does not leave this computer by mistake.
    match set("ROS_LOCALHOST_ONLY").as_deref().map(str::trim) {
        Some("1") => ros.localhost_only = true,
        Some("0") if range.trim().is_empty() => ros.localhost_only = false,
        _ => {}
    }
    if let Some(peers) = set("ROS_STATIC_PEERS") {
        let peers = peers.split(';').map(str::trim).filter(|peer| !peer.is_empty());
        ros.static_peers = peers.map(str::to_owned).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(variables: &[(&str, &str)]) -> RosSettings {
        let mut ros = RosSettings::default();
        let value = |name: &str| variables.iter().find(|(known, _)| *known == name);
        apply(&mut ros, |name| value(name).map(|(_, text)| (*text).to_owned()));
        ros
    }

    #[test]
    fn an_empty_domain_is_domain_0() {
        assert_eq!(parse_domain_id(""), Ok(0));
        assert_eq!(parse_domain_id(" 42 "), Ok(42));
        assert!(parse_domain_id("rover").is_err() && parse_domain_id("-1").is_err());
    }

    #[test]
    fn both_variables_of_ros_restrict_it_to_this_computer() {
        let (older, newer) = ("ROS_LOCALHOST_ONLY", "ROS_AUTOMATIC_DISCOVERY_RANGE");
        let localhost_only = |variables: &[(&str, &str)]| applied(variables).localhost_only;
        assert!(!localhost_only(&[]));
        assert!(localhost_only(&[(older, "1")]));
        assert!(!localhost_only(&[(older, "0")]));
        assert!(localhost_only(&[(newer, "LOCALHOST")]));
        assert!(localhost_only(&[(older, "0"), (newer, "localhost")]));
        assert!(localhost_only(&[(older, "1"), (newer, "SUBNET")]));
        assert!(!localhost_only(&[(newer, "SUBNET")]) && !localhost_only(&[(newer, "SYSTEM_DEFAULT")]));
        assert!(!localhost_only(&[(older, ""), (newer, "")]));
    }

    #[test]
    fn discovery_can_be_left_to_listed_peers() {
        let ros = applied(&[
            ("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF"),
            ("ROS_STATIC_PEERS", "192.168.1.3; rover.local;;"),
        ]);
        assert!(!ros.multicast && !ros.localhost_only);
        assert_eq!(ros.static_peers, ["192.168.1.3", "rover.local"]);
        assert!(applied(&[("ROS_STATIC_PEERS", "")]).static_peers.is_empty());
        assert!(check(&ros).is_ok());
        let many = ["10.0.0.1"; MAX_STATIC_PEERS + 1].join(";");
        for wrong in ["a b", "<Peer/>", "rover\"", many.as_str()] {
            assert!(check(&applied(&[("ROS_STATIC_PEERS", wrong)])).is_err(), "{wrong}");
        }
    }
}
