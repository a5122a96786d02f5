//! Operations of rosbridge: their results, and the names, types and times in them.

use roverline_schema::TypeName;
use serde_json::{Value, json};

use crate::limits;

/// Why an operation failed, as text for the client.
#[derive(Debug, PartialEq)]
pub(super) enum OpError {
    /// The message is malformed; too many of these end the session.
    Malformed(String),
    /// The operation is not allowed, or not possible now.
    Rejected(String),
}

impl OpError {
    pub(super) fn into_text(self) -> String {
        match self {
            OpError::Malformed(why) | OpError::Rejected(why) => why,
        }
    }
}

// Any typed error rejects the operation with its text; `OpError` itself is not an `Error`.
impl<E: std::error::Error> From<E> for OpError {
    fn from(error: E) -> OpError {
        OpError::Rejected(error.to_string())
    }
}

/// The result of an operation.
pub(super) type OpResult = Result<(), OpError>;

/// A rejection.
pub(super) fn rejected<T>(why: impl Into<String>) -> Result<T, OpError> {
    Err(OpError::Rejected(why.into()))
}

/// The full ROS name of a client's name.
pub(super) fn full_name(name: &str) -> Result<String, OpError> {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/');
    let full = if name.starts_with('/') { name.to_owned() } else { format!("/{name}") };
    let shape = full.len() > 1 && !full.contains("//") && !full.ends_with('/');
    if name.len() >= limits::TOPIC_NAME_CHARS || !shape || !full.chars().all(known) {
        let name = name.chars().take(64).collect::<String>();
        return Err(OpError::Malformed(format!("'{name}' is not a ROS name such as /imu/data")));
    }
    Ok(full)
}

/// A type's name in its long form; `kind` is `msg`, `srv` or `action`.
pub(super) fn long_type(name: &str, kind: &str) -> Result<String, OpError> {
    let long = match name.split('/').collect::<Vec<_>>().as_slice() {
        [package, short] => format!("{package}/{kind}/{short}"),
        _ => name.to_owned(),
    };
    match TypeName::parse(&long) {
        Ok(name) if name.kind().word() == kind => Ok(name.to_string()),
        Ok(_) => Err(OpError::Malformed(format!("{long} is not a {kind} type"))),
        Err(error) => Err(OpError::Malformed(error.to_string())),
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
        assert_eq!(full_name("imu/data"), Ok("/imu/data".to_owned()));
        assert_eq!(full_name("/a_1"), Ok("/a_1".to_owned()));
        for bad in ["", "/", "//a", "/a/", "/a*", "/{a,b}", "ä", &"x".repeat(256)] {
            assert!(matches!(full_name(bad), Err(OpError::Malformed(_))), "{bad}");
        }
        assert_eq!(long_type("std_srvs/Trigger", "srv"), Ok("std_srvs/srv/Trigger".to_owned()));
        assert_eq!(long_type("std_msgs/msg/String", "msg"), Ok("std_msgs/msg/String".to_owned()));
        assert!(long_type("std_msgs/msg/String", "srv").is_err() && long_type("String", "msg").is_err());
    }
}
