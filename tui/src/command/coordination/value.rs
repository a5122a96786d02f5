//! A JSON value from the command line or standard input.

use std::io::Read as _;

use roverline_protocol::limits;
use serde_json::Value;

use crate::command::Failure;
use crate::format;

/// Longest value that fits into a request, with its other members.
const VALUE_BYTES: usize = limits::INBOUND_MESSAGE_BYTES - (8 << 10);
/// Characters of an invalid value shown in the error.
const SHOWN: usize = 40;

/// Parses JSON; `-` reads standard input.
pub(super) fn value(given: &str) -> Result<Value, Failure> {
    match given {
        "-" => {
            let mut bytes = Vec::new();
            std::io::stdin().lock().take(VALUE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
            let text = String::from_utf8(bytes)
                .map_err(|_| Failure::Usage("what is on standard input is not UTF-8".to_owned()))?;
            parse(&text, true)
        }
        given => parse(given, false),
    }
}

fn parse(text: &str, from_input: bool) -> Result<Value, Failure> {
    if text.len() > VALUE_BYTES {
        let why = format!("a value may have {VALUE_BYTES} bytes here; over HTTP it may be a little longer");
        return Err(Failure::Usage(why));
    }
    let value: Value = serde_json::from_str(text).map_err(|error| {
        let shown = format::fit(&format::printable(text.trim()), SHOWN);
        Failure::Usage(match from_input {
            true if text.trim().is_empty() => "there is no JSON on standard input".to_owned(),
            true => format!("what is on standard input is not JSON ({error}): {shown}"),
            false => {
                let quoted = Value::from(shown.as_str()).to_string().replace('\'', r"'\''");
                format!(
                    "{shown} is not JSON ({error}): text needs its quotes inside those of the shell, '{quoted}'"
                )
            }
        })
    })?;
    // The value must be stored exactly as written.
    if let Some(number) = too_long(text) {
        let shown = format::fit(number, SHOWN);
        return Err(Failure::Usage(format!("{shown} has more digits than are kept: write it as text")));
    }
    match value.to_string().len() > VALUE_BYTES {
        true => Err(Failure::Usage(format!("a value may have {VALUE_BYTES} bytes here"))),
        false => Ok(value),
    }
}

/// An integer in JSON that does not fit 64 bits and would be rounded.
fn too_long(json: &str) -> Option<&str> {
    let (mut in_text, mut escaped, mut start) = (false, false, None);
    for (at, byte) in json.bytes().chain([b' ']).enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E' => {
                start.get_or_insert(at);
            }
            _ => {}
        }
        let goes_on = !in_text && matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        if !goes_on && let Some(number) = start.take().and_then(|from| json.get(from..at)) {
            let digits = number.strip_prefix('-').unwrap_or(number).bytes().all(|byte| byte.is_ascii_digit());
            // The letters of `true` and `false` are not numbers.
            let whole = digits && !number.is_empty() && number != "-";
            if whole && number.parse::<u64>().is_err() && number.parse::<i64>().is_err() {
                return Some(number);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_json_is_a_value() {
        for text in ["1", "-1.5", "null", "\"a\"", "{\"a\": [1, 2]}", " true\n"] {
            assert!(parse(text, false).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_number_is_kept_whole_or_refused() {
        for fine in [
            "18446744073709551615",
            "[-9223372036854775808, 0.1, 1e400000]",
            "\"99999999999999999999\"",
            "{\"a\\\"\": true, \"99999999999999999999\": -0}",
            "0.12345678901234567890",
        ] {
            assert_eq!(too_long(fine), None, "{fine}");
        }
        for (long, number) in [
            ("12345678901234567890123", "12345678901234567890123"),
            ("[1, {\"a\": -9223372036854775809}]", "-9223372036854775809"),
        ] {
            assert_eq!(too_long(long), Some(number));
            assert!(parse(long, false).unwrap_err().to_string().contains("more digits"), "{long}");
        }
    }

    #[test]
    fn text_without_quotes_is_told_how_to_get_them() {
        let why = |text: &str, input| parse(text, input).unwrap_err().to_string();
        assert!(why("north gate", false).ends_with("inside those of the shell, '\"north gate\"'"));
        assert!(why("it's", false).ends_with(r#"'"it'\''s"'"#));
        assert!(why("{a: 1}", false).contains("is not JSON (key must be a string"));
        assert!(why("", true).contains("no JSON on standard input"));
        assert!(why("a\u{1b}[2J", true).ends_with("a·[2J"));
        assert!(why(&format!("\"{}\"", "x".repeat(2 << 20)), true).contains("bytes"));
    }
}
