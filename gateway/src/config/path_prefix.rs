//! The path under which a proxy publishes the endpoints.

/// Characters of a prefix.
const MAX_CHARS: usize = 128;

/// A prefix that is no plain path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a path such as /rover: letters, digits and -._~, no slash at the end")]
pub(super) struct MalformedPrefix;

/// Checks a configured prefix; an error says how to write it.
pub(super) fn check(prefix: &str) -> Result<(), MalformedPrefix> {
    let is_segment = |segment: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(allowed)
    };
    let segments = prefix.strip_prefix('/').unwrap_or_default();
    match prefix.is_empty() || (prefix.len() <= MAX_CHARS && segments.split('/').all(is_segment)) {
        true => Ok(()),
        false => Err(MalformedPrefix),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_plain_path() {
        for good in ["", "/rover", "/team-7/rover_1", "/a.b~c"] {
            assert!(check(good).is_ok(), "{good}");
        }
        let long = format!("/{}", "x".repeat(MAX_CHARS));
        for bad in
            ["rover", "/", "/rover/", "//x", "/a b", "/..", "/a/./b", "/%2e", "/ü", "/a?b", long.as_str()]
        {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
