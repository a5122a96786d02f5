//! Ids of alarms: path segments of lower-case words, so that they need no quotes in a shell or a URL.

/// Most bytes of an id.
pub const ALARM_ID_BYTES: usize = 160;
/// Pattern (ECMA 262) of ids.
pub const ALARM_ID_PATTERN: &str = r"^[a-z0-9_.-]+(/[a-z0-9_.-]+)*$";

/// The id of an alarm from the names that make it unique: `["motor temperature", "/motor/left"]` becomes
/// `motor-temperature/motor/left`. Names that differ in nothing but case or punctuation share an id.
///
/// ```
/// use roverline_protocol::alarms::id::alarm_id;
/// assert_eq!(alarm_id(&["diagnostics", "roverline: primary endpoint"]), "diagnostics/roverline-primary-endpoint");
/// ```
pub fn alarm_id(names: &[&str]) -> String {
    let mut id = String::new();
    for segment in names.iter().flat_map(|name| name.split('/')) {
        let word = slug(segment);
        if word.is_empty() {
            continue;
        }
        if !id.is_empty() {
            id.push('/');
        }
        id += &word;
        if id.len() > ALARM_ID_BYTES {
            break;
        }
    }
    // All of it is ASCII.
    id.truncate(ALARM_ID_BYTES);
    let end = id.trim_end_matches(['/', '-']).len();
    id.truncate(end);
    if id.is_empty() { "unnamed".to_owned() } else { id }
}

/// Checks the form of an alarm's id.
pub fn is_alarm_id(text: &str) -> bool {
    let is_word = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"_.-".contains(&c);
    text.len() <= ALARM_ID_BYTES
        && text.split('/').all(|segment| !segment.is_empty() && segment.bytes().all(is_word))
}

/// Lower-case letters, digits, `_` and `.`, everything else as single hyphens.
fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars().take(ALARM_ID_BYTES) {
        match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() || c == '_' || c == '.' => slug.push(c),
            _ if slug.is_empty() || slug.ends_with('-') => {}
            _ => slug.push('-'),
        }
    }
    let end = slug.trim_end_matches('-').len();
    slug.truncate(end);
    slug
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_become_paths() {
        assert_eq!(alarm_id(&["motor temperature", "/motor/left"]), "motor-temperature/motor/left");
        assert_eq!(alarm_id(&["queue", "Way Points!"]), "queue/way-points");
        assert_eq!(alarm_id(&["", "///"]), "unnamed");
        assert_eq!(alarm_id(&["\u{202e}日本"]), "unnamed");
        assert!(!is_alarm_id("") && !is_alarm_id("a//b") && !is_alarm_id("A") && is_alarm_id("a/b.c_d-e"));
    }

    proptest! {
        #[test]
        fn every_name_has_a_valid_id(names: Vec<String>) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let id = alarm_id(&names);
            prop_assert!(is_alarm_id(&id), "{id}");
        }
    }
}
