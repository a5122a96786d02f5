//! Escapes text from clients for a terminal: names, reasons, messages, values. Control characters would control
//! the terminal, and direction marks (Unicode TR 36, section 3.7) would disguise the text.

/// Shown instead of a character that must not reach a terminal.
const INSTEAD: char = '·';

/// Whether a terminal must not get this character: a control, a separator of lines, or a mark of direction.
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}')
}

/// A text on one line of a terminal.
///
/// ```
/// use roverline_protocol::printable::printable;
/// assert_eq!(printable("ann\u{1b}[2J\u{202e}bob"), "ann·[2J·bob");
/// ```
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if is_unprintable(c) { INSTEAD } else { c }).collect()
}

/// The same for several lines, and for columns between tabs.
pub fn printable_lines(text: &str) -> String {
    text.chars().map(|c| if !matches!(c, '\n' | '\t') && is_unprintable(c) { INSTEAD } else { c }).collect()
}

/// JSON that reads the same and is safe for a terminal. JSON itself escapes only what is below a space.
pub fn printable_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\n' => out.push(c),
            // All of these fit four digits.
            c if is_unprintable(c) => out += &format!("\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_steers_a_terminal() {
        let evil = "a\u{1b}]0;x\u{7}\u{9b}31m\r\n\u{202e}b\u{2066}c\u{2069}\u{200f}\u{61c}\u{7f}ä日";
        assert_eq!(printable(evil), "a·]0;x··31m···b·c····ä日");
        assert_eq!(printable_lines(evil), "a·]0;x··31m·\n·b·c····ä日");
        assert_eq!(printable_json("\"\u{9b}\u{202e}\""), "\"\\u009b\\u202e\"");
    }

    proptest! {
        #[test]
        fn escaped_json_reads_the_same(text: String) {
            let json = printable_json(&serde_json::Value::from(text.clone()).to_string());
            prop_assert!(!json.chars().any(is_unprintable));
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), serde_json::Value::from(text));
        }
    }
}
