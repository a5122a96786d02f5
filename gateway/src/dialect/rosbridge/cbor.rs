//! CBOR encoding (RFC 8949) as rosbridge writes it: octets are byte strings, and arrays of numbers are
//! little-endian typed arrays (RFC 8746, section 2.1).

use ciborium::Value as Cbor;
use roverline_schema::Value;
use roverline_source::RawSample;

use crate::hub::{Decoder, NotDecoded};

/// A `publish` with the message's fields.
pub(super) fn publish(topic: &str, decoder: &Decoder, message: &[u8]) -> Result<Vec<u8>, NotDecoded> {
    let fields = match decoder {
        Decoder::Cdr(plan) => cbor(&plan.decode(message)?),
        // What serde knows as JSON, CBOR knows as well.
        Decoder::Json => {
            Cbor::serialized(&serde_json::from_slice::<serde_json::Value>(message)?).unwrap_or(Cbor::Null)
        }
    };
    Ok(written(topic, fields))
}

/// A `publish` with the unchanged CDR and its receive time.
pub(super) fn raw(topic: &str, sample: &RawSample) -> Vec<u8> {
    let received_ns = sample.receive_time_ns.unsigned_abs();
    let fields = [
        ("secs", Cbor::from(received_ns / 1_000_000_000)),
        ("nsecs", Cbor::from(received_ns % 1_000_000_000)),
        ("bytes", Cbor::Bytes(sample.payload.to_vec())),
    ];
    written(topic, map(fields))
}

fn written(topic: &str, msg: Cbor) -> Vec<u8> {
    let mut out = Vec::new();
    let message = map([("op", Cbor::from("publish")), ("topic", Cbor::from(topic)), ("msg", msg)]);
    if let Err(error) = ciborium::into_writer(&message, &mut out) {
        // Writing into a vector does not fail.
        tracing::error!(%error, "a message could not be written as CBOR");
    }
    out
}

fn map<'a>(fields: impl IntoIterator<Item = (&'a str, Cbor)>) -> Cbor {
    Cbor::Map(fields.into_iter().map(|(name, value)| (Cbor::from(name), value)).collect())
}

/// Nested no deeper than types may be.
fn cbor(value: &Value) -> Cbor {
    match value {
        Value::Bool(v) => Cbor::from(*v),
        Value::U8(v) => Cbor::from(*v),
        Value::U16(v) => Cbor::from(*v),
        Value::U32(v) => Cbor::from(*v),
        Value::U64(v) => Cbor::from(*v),
        Value::I8(v) => Cbor::from(*v),
        Value::I16(v) => Cbor::from(*v),
        Value::I32(v) => Cbor::from(*v),
        Value::I64(v) => Cbor::from(*v),
        Value::F32(v) => Cbor::from(*v),
        Value::F64(v) => Cbor::from(*v),
        Value::String(v) => Cbor::from(v.as_str()),
        Value::Bytes(v) => Cbor::Bytes(v.clone()),
        Value::Array(items) => match packed(items) {
            Some((tag, bytes)) => Cbor::Tag(tag, Box::new(Cbor::Bytes(bytes))),
            None => Cbor::Array(items.iter().map(cbor).collect()),
        },
        Value::Struct(fields) => map(fields.iter().map(|(name, field)| (name, cbor(field)))),
    }
}

/// Packs numbers, and returns the tag of their type (RFC 8746, table 3). An empty array has no element
/// type and stays an empty array.
fn packed(items: &[Value]) -> Option<(u64, Vec<u8>)> {
    let tag = match items.first()? {
        Value::U16(_) => 69,
        Value::U32(_) => 70,
        Value::U64(_) => 71,
        Value::I8(_) => 72,
        Value::I16(_) => 77,
        Value::I32(_) => 78,
        Value::I64(_) => 79,
        Value::F32(_) => 85,
        Value::F64(_) => 86,
        _ => return None,
    };
    let mut bytes = Vec::with_capacity(items.len() * 8);
    for item in items {
        match item {
            Value::U16(v) => bytes.extend_from_slice(&v.to_le_bytes()),
            Value::U32(v) => bytes.extend_from_slice(&v.to_le_bytes()),
            Value::U64(v) => bytes.extend_from_slice(&v.to_le_bytes()),
            Value::I8(v) => bytes.extend_from_slice(&v.to_le_bytes()),
            Value::I16(v) => bytes.extend_from_slice(&v.to_le_bytes()),
            Value::I32(v) => bytes.extend_from_slice(&v.to_le_bytes()),
            Value::I64(v) => bytes.extend_from_slice(&v.to_le_bytes()),
            Value::F32(v) => bytes.extend_from_slice(&v.to_le_bytes()),
            Value::F64(v) => bytes.extend_from_slice(&v.to_le_bytes()),
            _ => return None,
        }
    }
    Some((tag, bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(message: &Value) -> Cbor {
        let cbor: Cbor = ciborium::from_reader(written("/t", cbor(message)).as_slice()).unwrap();
        cbor.as_map().unwrap()[2].1.clone()
    }

    #[test]
    fn arrays_of_numbers_are_typed_arrays() {
        let read = read(&Value::Array(vec![Value::F64(1.5), Value::F64(f64::NAN)]));
        let (tag, bytes) = read.as_tag().unwrap();
        assert_eq!(tag, 86);
        let bytes = bytes.as_bytes().unwrap();
        assert_eq!(bytes[..8], 1.5f64.to_le_bytes());
        assert!(f64::from_le_bytes(bytes[8..].try_into().unwrap()).is_nan());
        let words = Value::Array(vec![Value::String("a".into())]);
        assert_eq!(super::tests::read(&words), Cbor::Array(vec![Cbor::from("a")]));
        assert_eq!(super::tests::read(&Value::Array(Vec::new())), Cbor::Array(Vec::new()));
    }

    proptest! {
        #[test]
        fn integers_are_exact(unsigned: u64, signed: i64, small: i8, many: Vec<i64>) {
            prop_assert_eq!(read(&Value::U64(unsigned)), Cbor::from(unsigned));
            prop_assert_eq!(read(&Value::I64(signed)), Cbor::from(signed));
            prop_assert_eq!(read(&Value::I8(small)), Cbor::from(small));
            prop_assume!(!many.is_empty());
            let read = read(&Value::Array(many.iter().map(|v| Value::I64(*v)).collect()));
            let (tag, bytes) = read.as_tag().unwrap();
            let (chunks, _) = bytes.as_bytes().unwrap().as_chunks::<8>();
            let back: Vec<i64> = chunks.iter().map(|chunk| i64::from_le_bytes(*chunk)).collect();
            prop_assert_eq!((tag, back), (79, many));
        }
    }
}
