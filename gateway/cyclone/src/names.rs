//! Names of topics and types, as DDS carries them.

use std::ffi::CString;

use crate::error::Error;

/// Longest name, bytes. ROS 2 allows topics of 255 characters.
const MAX_NAME_BYTES: usize = 255;
/// Characters that CycloneDDS refuses in the name of a topic, besides spaces and control characters.
const REFUSED: &[u8] = b"*?[]\"'#$";
/// Topics of the DDS implementation itself.
const RESERVED: &str = "DCPS";

/// Checks a name and makes it a C string.
pub(crate) fn checked(what: &'static str, name: &str) -> Result<CString, Error> {
    let printable = name.bytes().all(|byte| byte.is_ascii_graphic() && !REFUSED.contains(&byte));
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !printable || name.starts_with(RESERVED) {
        return Err(Error::Name { what, name: name.to_owned() });
    }
    CString::new(name).map_err(|_| Error::Name { what, name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_ros_pass_and_others_are_refused() {
        assert!(checked("topic", "rt/a_b/c").is_ok());
        assert!(checked("type", "std_msgs::msg::dds_::String_").is_ok());
        let long = "a".repeat(256);
        for name in ["", "DCPSTopic", "a b", "a\n", "a\0b", "a*", "é", "a$b", long.as_str()] {
            let error = checked("topic", name).unwrap_err();
            assert_eq!(error, Error::Name { what: "topic", name: name.to_owned() });
        }
    }
}
