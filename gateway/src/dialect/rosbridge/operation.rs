//! Operations of rosbridge: their results, and the names, types and times in them.

use roverline_schema::TypeName;
use serde_json::{Value, json};

use crate::dialect::rosbridge::error::RequestError;
use crate::dialect::rosbridge::malformed::MalformedMessage;
use crate::limits;

/// The result of an operation.
pub(super) type OpResult = Result<(), RequestError>;

/// The full ROS name of a client's name.
pub(super) fn full_name(name: &str) -> Result<String, MalformedMessage> {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/');
    let full = if name.starts_with('/') { name.to_owned() } else { format!("/{name}") };
    let shape = full.len() > 1 && !full.contains("//") && !full.ends_with('/');
    if name.len() >= limits::TOPIC_NAME_CHARS || !shape || !full.chars().all(known) {
        let name = name.chars().take(64).collect::<String>();
        return Err(MalformedMessage::Name(name));
    }
    Ok(full)
}

/// A type's name in its long form; `kind` is `msg`, `srv` or `action`.
pub(super) fn long_type(name: &str, kind: &str) -> Result<String, MalformedMessage> {
    let long = match name.split('/').collect::<Vec<_>>().as_slice() {
        [package, short] => format!("{package}/{kind}/{short}"),
        _ => name.to_owned(),
    };
    match TypeName::parse(&long) {
        Ok(name) if name.kind().word() == kind => Ok(name.to_string()),
        Ok(_) => Err(MalformedMessage::TypeKind { name: long, kind: kind.to_owned() }),
        Err(error) => Err(error.into()),
    }
}

/// builtin_interfaces/msg/Time.
pub(super) fn time(now_ns: i64) -> Value {
    json!({"sec": now_ns / 1_000_000_000, "nanosec": now_ns % 1_000_000_000})
}

/// A JSON object without its null fields, and one more field given as JSON text.
pub(super) fn joined(head: &Value, field: &str, json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() + 256);
    out.push(b'{');
    for (key, value) in head.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        out.extend_from_slice(&quoted(key));
        out.push(b':');
        out.extend_from_slice(value.to_string().as_bytes());
        out.push(b',');
    }
    out.extend_from_slice(&quoted(field));
    out.push(b':');
    out.extend_from_slice(json);
    out.push(b'}');
    out
}

pub(super) fn quoted(text: &str) -> Vec<u8> {
    // Strings always serialize.
    serde_json::to_vec(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_whole() {
        assert_eq!(full_name("imu/data").unwrap(), "/imu/data");
        assert_eq!(full_name("/a_1").unwrap(), "/a_1");
        for bad in ["", "/", "//a", "/a/", "/a*", "/{a,b}", "ä", &"x".repeat(256)] {
            assert!(matches!(full_name(bad), Err(MalformedMessage::Name(_))), "{bad}");
        }
        assert_eq!(long_type("std_srvs/Trigger", "srv").unwrap(), "std_srvs/srv/Trigger");
        assert_eq!(long_type("std_msgs/msg/String", "msg").unwrap(), "std_msgs/msg/String");
        assert!(long_type("std_msgs/msg/String", "srv").is_err() && long_type("String", "msg").is_err());
    }
}
