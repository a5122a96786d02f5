//! Nesting depth and validity of a JSON value, checked in one pass without building it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::api::error::ApiError;

/// The nesting depth of a value. Numbers and strings are validated as a reader would, so what no reader
/// could take is an error; the parser itself goes no deeper than 128.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Depth(usize);

impl Depth {
    /// Rejects values that other readers could not read.
    pub(crate) fn check(self, most: usize) -> Result<(), ApiError> {
        match self.0 <= most {
            true => Ok(()),
            false => {
                let why = format!("JSON is nested {most} deep at most here");
                Err(ApiError::unprocessable(why))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Depth {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Depth, D::Error> {
        from.deserialize_any(DepthVisitor)
    }
}

struct DepthVisitor;

impl<'de> Visitor<'de> for DepthVisitor {
    type Value = Depth;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Depth, E> {
        Ok(Depth(0))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Depth, E> {
        Ok(Depth(0))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Depth, E> {
        Ok(Depth(0))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Depth, E> {
        Ok(Depth(0))
    }

    fn visit_str<E>(self, _: &str) -> Result<Depth, E> {
        Ok(Depth(0))
    }

    fn visit_unit<E>(self) -> Result<Depth, E> {
        Ok(Depth(0))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Depth, A::Error> {
        let mut deepest = 0;
        while let Some(Depth(depth)) = all.next_element()? {
            deepest = deepest.max(depth);
        }
        Ok(Depth(deepest + 1))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut all: A) -> Result<Depth, A::Error> {
        let mut deepest = 0;
        while let Some((Name, Depth(depth))) = all.next_entry()? {
            deepest = deepest.max(depth);
        }
        Ok(Depth(deepest + 1))
    }
}

/// The name of a member, which must be a valid string.
struct Name;

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Name, D::Error> {
        from.deserialize_any(DepthVisitor).map(|_| Name)
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::limits;

    fn read(text: &str) -> Result<usize, serde_json::Error> {
        serde_json::from_str::<Depth>(text).map(|depth| depth.0)
    }

    #[test]
    fn deeply_nested_values_are_rejected() {
        let nested = |depth: usize| {
            let text = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
            serde_json::from_str::<Depth>(&text).unwrap()
        };
        assert!(nested(limits::KV_VALUE_DEPTH).check(limits::KV_VALUE_DEPTH).is_ok());
        assert!(nested(limits::KV_VALUE_DEPTH + 1).check(limits::KV_VALUE_DEPTH).is_err());
        assert!(read(&"[".repeat(100_000)).is_err());
        for (text, depth) in [("1", 0), ("\"[[[\"", 0), ("[]", 1), (r#"{"a":[{"b":null}],"c":[]}"#, 3)] {
            assert_eq!(read(text).unwrap(), depth, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn it_accepts_what_a_json_reader_accepts(text in r#"[\[\]{}:,"a\\ud08fe0-9.tNn+ -]{0,24}|-?[0-9]{1,400}(e[0-9]{1,4})?"#) {
            let value = serde_json::from_str::<serde_json::Value>(&text);
            proptest::prop_assert_eq!(read(&text).is_ok(), value.is_ok(), "{}", text);
        }
    }

    #[test]
    fn invalid_json_is_rejected() {
        for text in
            ["NaN", "[Infinity]", "-Infinity", "1e400", r#""\ud800""#, r#"{"\ud800":1}"#, "{1:2}", "[1,]", ""]
        {
            assert!(read(text).is_err(), "{text}");
            assert!(serde_json::from_str::<serde_json::Value>(text).is_err(), "{text}");
        }
    }
}
