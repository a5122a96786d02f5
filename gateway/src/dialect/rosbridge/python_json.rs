//! JSON as Python's `json` module writes it: numbers may be `NaN`, `Infinity` and `-Infinity`, which RFC 8259 lacks.

use serde::de::DeserializeOwned;

/// The literals, the longest first.
const LITERALS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

/// Parses JSON. Python's literals become strings, which a float field of a message accepts.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(text).or_else(|error| match quote_literals(text) {
        Some(quoted) => serde_json::from_str(&quoted),
        None => Err(error),
    })
}

/// The text with quotes around the literals outside of its strings; `None` if there are none.
fn quote_literals(text: &str) -> Option<String> {
    let mut quoted = String::new();
    let (mut copied, mut at) = (0, 0);
    let mut in_string = false;
    while let Some(byte) = text.as_bytes().get(at) {
        match byte {
            b'"' => in_string = !in_string,
            // The character after it is part of the string, whichever it is.
            b'\\' if in_string => at += 1,
            b'-' | b'I' | b'N' if !in_string => {
                if let Some(literal) = LITERALS.iter().find(|literal| text[at..].starts_with(**literal)) {
                    quoted.push_str(&text[copied..at]);
                    quoted.push_str(&format!("\"{literal}\""));
                    at += literal.len();
                    copied = at;
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    (copied > 0).then(|| quoted + &text[copied..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn literals_of_python_are_read_outside_of_strings_only() {
        let read = |text: &str| parse::<Value>(text).unwrap();
        assert_eq!(
            read(r#"{"a": NaN, "b": [Infinity, -Infinity, -1]}"#),
            json!({
                "a": "NaN", "b": ["Infinity", "-Infinity", -1]
            })
        );
        assert_eq!(
            read(r#"{"NaN \" NaN": "Infinity\\", "x": NaN}"#),
            json!({
                "NaN \" NaN": "Infinity\\", "x": "NaN"
            })
        );
        for wrong in
            ["nan", "NaNNaN", "[-NaN]", "{NaN}", "\"NaN", "[Infinity Infinity]", "\\NaN", "N", "-", "["]
        {
            assert!(parse::<Value>(wrong).is_err(), "{wrong}");
        }
        // Without literals, the error refers to the original text.
        assert!(parse::<Value>("[1,").unwrap_err().to_string().contains("column 3"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[-NaIfinty\"\\\\{}\\[\\],:é1 ]{0,40}") {
            let _ = parse::<Value>(&text);
        }

        #[test]
        fn json_is_read_as_it_is(text in "\\PC{0,40}") {
            let json = json!({"a": text, "b": [1, -2.5, null]});
            prop_assert_eq!(parse::<Value>(&json.to_string()).unwrap(), json);
        }
    }
}
