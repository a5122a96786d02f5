//! Names that are parts of keys.

/// Whether a name has 1 to `max_bytes` bytes, no slash and no control character.
pub(crate) fn is_valid(name: &str, max_bytes: usize) -> bool {
    (1..=max_bytes).contains(&name.len()) && !name.contains(|c: char| c == '/' || c.is_control())
}
