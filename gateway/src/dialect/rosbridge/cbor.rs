//! Messages in CBOR (RFC 8949) as rosbridge writes it: octets are byte strings, arrays of numbers
//! are little-endian typed arrays (RFC 8746, section 2.1).

use minicbor::data::Tag;
use minicbor::encode::{Encoder, Error};
use roverline_schema::{Struct, Value};

use crate::source::RawSample;

type Written = Result<(), Error<std::convert::Infallible>>;

/// A `publish` with the message's fields.
pub(super) fn publish(topic: &str, message: &Value) -> Vec<u8> {
    written(|out| {
        head(out, topic)?;
        value(out, message)
    })
}

/// A `publish` with the CDR as it came, and when.
pub(super) fn raw(topic: &str, sample: &RawSample) -> Vec<u8> {
    let received_ns = sample.receive_time_ns.unsigned_abs();
    written(|out| {
        head(out, topic)?;
        out.map(3)?.str("secs")?.u64(received_ns / 1_000_000_000)?;
        out.str("nsecs")?.u64(received_ns % 1_000_000_000)?;
        out.str("bytes")?.bytes(&sample.payload)?;
        Ok(())
    })
}

fn written(write: impl FnOnce(&mut Encoder<Vec<u8>>) -> Written) -> Vec<u8> {
    let mut out = Encoder::new(Vec::new());
    // Writing into a vector does not fail.
    let _ = write(&mut out);
    out.into_writer()
}

fn head(out: &mut Encoder<Vec<u8>>, topic: &str) -> Written {
    out.map(3)?.str("op")?.str("publish")?.str("topic")?.str(topic)?.str("msg")?;
    Ok(())
}

/// Nests no deeper than types may.
fn value(out: &mut Encoder<Vec<u8>>, value: &Value) -> Written {
    match value {
        Value::Bool(v) => out.bool(*v)?,
        Value::U8(v) => out.u8(*v)?,
        Value::U16(v) => out.u16(*v)?,
        Value::U32(v) => out.u32(*v)?,
        Value::U64(v) => out.u64(*v)?,
        Value::I8(v) => out.i8(*v)?,
        Value::I16(v) => out.i16(*v)?,
        Value::I32(v) => out.i32(*v)?,
        Value::I64(v) => out.i64(*v)?,
        Value::F32(v) => out.f32(*v)?,
        Value::F64(v) => out.f64(*v)?,
        Value::String(v) => out.str(v)?,
        Value::Bytes(v) => out.bytes(v)?,
        Value::Array(items) => return array(out, items),
        Value::Struct(fields) => return map(out, fields),
    };
    Ok(())
}

fn map(out: &mut Encoder<Vec<u8>>, fields: &Struct) -> Written {
    out.map(fields.len() as u64)?;
    for (name, field) in fields.iter() {
        out.str(name)?;
        value(out, field)?;
    }
    Ok(())
}

fn array(out: &mut Encoder<Vec<u8>>, items: &[Value]) -> Written {
    if let Some((tag, packed)) = packed(items) {
        out.tag(Tag::new(tag))?.bytes(&packed)?;
        return Ok(());
    }
    out.array(items.len() as u64)?;
    items.iter().try_for_each(|item| value(out, item))
}

/// Numbers side by side, and the tag of their kind (RFC 8746, table 3). An empty array has lost its
/// kind and stays an empty array.
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
    use ciborium::Value as Cbor;
    use proptest::prelude::*;

    use super::*;

    fn read(message: &Value) -> Cbor {
        let cbor: Cbor = ciborium::from_reader(publish("/t", message).as_slice()).unwrap();
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
