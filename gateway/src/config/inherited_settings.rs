//! Settings inherited from a supervisor of another version. A rolling restart after an upgrade starts new
//! endpoints under the old supervisor: unknown keys are ignored, and missing ones take their defaults. (In
//! the user's own file an unknown key is an error.)

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Value};

use crate::config::{ConfigError, Settings};

/// Parses the settings that a supervisor passes to its endpoints.
pub fn from_supervisor(json: &str) -> Result<Settings, ConfigError> {
    parse_ignoring_unknown(json)
        .map_err(|error| ConfigError(format!("the supervisor's settings are not understood: {error}")))
}

fn parse_ignoring_unknown<T: DeserializeOwned>(json: &str) -> Result<T, Error> {
    T::deserialize(IgnoreUnknownFields(serde_json::from_str(json)?))
}

/// A deserializer that shows a struct only the fields that it knows.
struct IgnoreUnknownFields(Value);

impl<'de> IntoDeserializer<'de, Error> for IgnoreUnknownFields {
    type Deserializer = IgnoreUnknownFields;

    fn into_deserializer(self) -> IgnoreUnknownFields {
        self
    }
}

impl<'de> Deserializer<'de> for IgnoreUnknownFields {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(items) => {
                visitor.visit_seq(SeqDeserializer::new(items.into_iter().map(IgnoreUnknownFields)))
            }
            Value::Object(fields) => {
                let fields = fields.into_iter().map(|(key, value)| (key, IgnoreUnknownFields(value)));
                visitor.visit_map(MapDeserializer::new(fields))
            }
            scalar => scalar.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        mut self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if let Value::Object(object) = &mut self.0 {
            object.retain(|key, _| fields.contains(&key.as_str()));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::parse;

    #[test]
    fn settings_read_back() {
        let sample = include_str!("../../../roverline.example.toml");
        let all: String =
            sample.lines().map(|line| line.strip_prefix("#: ").unwrap_or(line).to_owned() + "\n").collect();
        let mut settings = parse(&all, "sample").unwrap();
        settings.sim.epoch_ns = Some(i64::MAX);
        settings.endpoints.primary.port = Some(9_000);
        let json = serde_json::to_string(&settings).unwrap();
        assert_eq!(from_supervisor(&json).unwrap(), settings);
    }

    #[test]
    fn unknown_keys_are_ignored_and_missing_ones_default() {
        let json = r#"{"gateway":{"host":"::1","colour":"red"},"teleport":{"on":true},
                       "route":[{"topic":"/a","scopes":["state"],"smell":1}]}"#;
        let settings = from_supervisor(json).unwrap();
        assert_eq!(settings.gateway.host, "::1");
        assert_eq!(settings.gateway.max_clients, Settings::default().gateway.max_clients);
        assert_eq!(settings.route.len(), 1);
        assert!(serde_json::from_str::<Settings>(json).is_err(), "the user's own file is read strictly");
        let wrong = from_supervisor(r#"{"gateway":{"base_port":"x"}}"#).unwrap_err().to_string();
        assert!(wrong.contains("u16"), "{wrong}");
    }
}
