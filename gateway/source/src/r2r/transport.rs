//! The transport of Fast DDS: UDP without shared memory. When a process is killed in the middle of a write to shared
//! memory, other readers of that memory miss samples (up to a second, seen with Fast DDS 2.6.10).
//!
//! Fast DDS reads its profile from a file that an environment variable names.

use std::ffi::OsString;
use std::io;
use std::path::Path;

/// A default profile of participants; the format of Fast DDS 2 and 3.
const PROFILE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<dds xmlns="http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles">
  <profiles>
    <transport_descriptors>
      <transport_descriptor>
        <transport_id>udp</transport_id>
        <type>UDPv4</type>
      </transport_descriptor>
    </transport_descriptors>
    <participant profile_name="roverline" is_default_profile="true">
      <rtps>
        <userTransports>
          <transport_id>udp</transport_id>
        </userTransports>
        <useBuiltinTransports>false</useBuiltinTransports>
      </rtps>
    </participant>
  </profiles>
</dds>
"#;

/// The variables that name the profile: before and since Fast DDS 3.
const PROFILE_VARIABLES: [&str; 2] = ["FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"];
/// A variable that chooses transports without a profile.
const TRANSPORTS_VARIABLE: &str = "FASTDDS_BUILTIN_TRANSPORTS";
/// With this one set to 1, the RMW adds transports of its own, which a profile cannot take away.
const LOCALHOST_VARIABLE: &str = "ROS_LOCALHOST_ONLY";

/// Writes the profile to the folder `state`, and returns the variables that a process with this source needs: none if
/// the user (`get` reads a variable) has configured Fast DDS or limited ROS to this computer.
pub fn fast_dds_environment(
    state: &Path,
    get: impl Fn(&str) -> Option<OsString>,
) -> io::Result<Vec<(String, OsString)>> {
    let is_configured =
        PROFILE_VARIABLES.into_iter().chain([TRANSPORTS_VARIABLE]).any(|name| get(name).is_some());
    if is_configured || get(LOCALHOST_VARIABLE).is_some_and(|value| value == "1") {
        return Ok(Vec::new());
    }
    let file = std::path::absolute(state)?.join("fastdds-udp.xml");
    std::fs::write(&file, PROFILE)?;
    Ok(PROFILE_VARIABLES.map(|name| (name.to_owned(), file.clone().into_os_string())).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_without_shared_memory_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let variables = fast_dds_environment(folder.path(), |_| None).unwrap();
        assert_eq!(variables.len(), 2);
        let text = std::fs::read_to_string(&variables[0].1).unwrap();
        assert!(text.contains("<useBuiltinTransports>false") && text.contains("UDPv4"), "{text}");
    }

    #[test]
    fn the_users_configuration_wins() {
        let folder = tempfile::tempdir().unwrap();
        for (set, value) in [
            ("FASTRTPS_DEFAULT_PROFILES_FILE", "/etc/profile.xml"),
            ("FASTDDS_DEFAULT_PROFILES_FILE", "/etc/profile.xml"),
            ("FASTDDS_BUILTIN_TRANSPORTS", "SHM"),
            ("ROS_LOCALHOST_ONLY", "1"),
        ] {
            let get = |name: &str| (name == set).then(|| value.into());
            assert_eq!(fast_dds_environment(folder.path(), get).unwrap(), [], "{set}");
        }
        let get = |name: &str| (name == "ROS_LOCALHOST_ONLY").then(|| "0".into());
        assert_eq!(fast_dds_environment(folder.path(), get).unwrap().len(), 2);
    }
}
