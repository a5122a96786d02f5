//! The messages of rcl_interfaces as CDR. JSON would lose non-finite numbers and large integers.

use roverline_schema::cdr::{ReadError, Reader, Writer};

use crate::ros::parameter::{ParameterDescription, ParameterValue};

/// Why a message could not be read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum CdrError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("{0} elements do not fit into what is left of the message")]
    Count(u32),
    #[error("{0} is not a type of parameters")]
    Kind(u8),
}

type Read<T> = Result<T, CdrError>;

/// A sequence whose elements have at least one byte each.
pub(crate) fn read_seq<T>(
    reader: &mut Reader<'_>,
    mut each: impl FnMut(&mut Reader<'_>) -> Read<T>,
) -> Read<Vec<T>> {
    let count = reader.len()?;
    if count as usize > reader.remaining() {
        return Err(CdrError::Count(count));
    }
    (0..count).map(|_| each(reader)).collect()
}

pub(crate) fn read_string(reader: &mut Reader<'_>) -> Read<String> {
    Ok(String::from_utf8_lossy(reader.string_bytes()?).into_owned())
}

pub(crate) fn read_strings(reader: &mut Reader<'_>) -> Read<Vec<String>> {
    read_seq(reader, read_string)
}

/// rcl_interfaces/msg/ParameterValue.
pub(crate) fn read_value(reader: &mut Reader<'_>) -> Read<ParameterValue> {
    let kind = reader.u8()?;
    let bool = reader.bool()?;
    let integer = reader.i64()?;
    let double = reader.f64()?;
    let string = read_string(reader)?;
    let bytes = reader.bytes_seq()?.to_vec();
    let bools = read_seq(reader, |reader| Ok(reader.bool()?))?;
    let integers = read_seq(reader, |reader| Ok(reader.i64()?))?;
    let doubles = read_seq(reader, |reader| Ok(reader.f64()?))?;
    let strings = read_strings(reader)?;
    Ok(match kind {
        0 => ParameterValue::NotSet,
        1 => ParameterValue::Bool(bool),
        2 => ParameterValue::Integer(integer),
        3 => ParameterValue::Double(double),
        4 => ParameterValue::String(string),
        5 => ParameterValue::Bytes(bytes),
        6 => ParameterValue::Bools(bools),
        7 => ParameterValue::Integers(integers),
        8 => ParameterValue::Doubles(doubles),
        9 => ParameterValue::Strings(strings),
        other => return Err(CdrError::Kind(other)),
    })
}

/// rcl_interfaces/msg/ParameterValue: every field is present, but only the one of its type is filled.
pub(crate) fn write_value(writer: &mut Writer, value: &ParameterValue) {
    use ParameterValue as V;
    writer.u8(value.kind());
    writer.bool(matches!(value, V::Bool(true)));
    writer.i64(if let V::Integer(value) = value { *value } else { 0 });
    writer.f64(if let V::Double(value) = value { *value } else { 0.0 });
    writer.string(if let V::String(value) = value { value } else { "" });
    writer.bytes_seq(if let V::Bytes(value) = value { value } else { &[] });
    let bools: &[bool] = if let V::Bools(value) = value { value } else { &[] };
    writer.len(bools.len() as u32);
    for value in bools {
        writer.bool(*value);
    }
    let integers: &[i64] = if let V::Integers(value) = value { value } else { &[] };
    writer.len(integers.len() as u32);
    for value in integers {
        writer.i64(*value);
    }
    writer.f64_seq(if let V::Doubles(value) = value { value } else { &[] });
    let strings: &[String] = if let V::Strings(value) = value { value } else { &[] };
    writer.string_seq(strings);
}

/// rcl_interfaces/msg/Parameter.
pub(crate) fn read_named(reader: &mut Reader<'_>) -> Read<(String, ParameterValue)> {
    Ok((read_string(reader)?, read_value(reader)?))
}

/// rcl_interfaces/msg/SetParametersResult.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SetResult {
    pub(crate) successful: bool,
    /// Why the parameter was not set.
    pub(crate) reason: String,
}

/// rcl_interfaces/msg/SetParametersResult.
pub(crate) fn read_result(reader: &mut Reader<'_>) -> Read<SetResult> {
    Ok(SetResult { successful: reader.bool()?, reason: read_string(reader)? })
}

/// rcl_interfaces/msg/SetParametersResult.
pub(crate) fn write_result(writer: &mut Writer, result: &SetResult) {
    writer.bool(result.successful).string(&result.reason);
}

/// rcl_interfaces/msg/ParameterDescriptor.
pub(crate) fn read_description(reader: &mut Reader<'_>) -> Read<ParameterDescription> {
    let name = read_string(reader)?;
    let kind = reader.u8()?;
    let description = read_string(reader)?;
    let constraints = read_string(reader)?;
    let read_only = reader.bool()?;
    let _dynamic_typing = reader.bool()?;
    let doubles = read_seq(reader, |reader| Ok((reader.f64()?, reader.f64()?, reader.f64()?)))?;
    let integers = read_seq(reader, |reader| Ok((reader.i64()?, reader.i64()?, reader.u64()?)))?;
    let (double_range, integer_range) = (doubles.first().copied(), integers.first().copied());
    Ok(ParameterDescription { name, kind, description, constraints, read_only, double_range, integer_range })
}

/// rcl_interfaces/msg/ParameterDescriptor.
pub(crate) fn write_description(writer: &mut Writer, of: &ParameterDescription) {
    writer.string(&of.name).u8(of.kind).string(&of.description).string(&of.constraints);
    writer.bool(of.read_only).bool(false);
    writer.len(u32::from(of.double_range.is_some()));
    if let Some((from, to, step)) = of.double_range {
        writer.f64(from).f64(to).f64(step);
    }
    writer.len(u32::from(of.integer_range.is_some()));
    if let Some((from, to, step)) = of.integer_range {
        writer.i64(from).i64(to).u64(step);
    }
}

/// rcl_interfaces/msg/ParameterEvent: the node and its changed parameters; a deleted one is not set.
pub(crate) fn read_event(cdr: &[u8]) -> Read<(String, Vec<(String, ParameterValue)>)> {
    let mut reader = Reader::new(cdr)?;
    reader.i32()?;
    reader.u32()?;
    let node = read_string(&mut reader)?;
    let mut parameters = read_seq(&mut reader, read_named)?;
    parameters.extend(read_seq(&mut reader, read_named)?);
    let deleted = read_seq(&mut reader, read_named)?;
    parameters.extend(deleted.into_iter().map(|(name, _)| (name, ParameterValue::NotSet)));
    Ok((node, parameters))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use roverline_schema::Registry;

    use super::*;

    fn value() -> impl Strategy<Value = ParameterValue> {
        use ParameterValue as V;
        prop_oneof![
            Just(V::NotSet),
            any::<bool>().prop_map(V::Bool),
            any::<i64>().prop_map(V::Integer),
            any::<f64>().prop_map(V::Double),
            "[^\0]{0,20}".prop_map(V::String),
            prop::collection::vec(any::<u8>(), 0..9).prop_map(V::Bytes),
            prop::collection::vec(any::<bool>(), 0..9).prop_map(V::Bools),
            prop::collection::vec(any::<i64>(), 0..9).prop_map(V::Integers),
            prop::collection::vec(any::<f64>(), 0..9).prop_map(V::Doubles),
            prop::collection::vec("[^\0]{0,9}", 0..5).prop_map(V::Strings),
        ]
    }

    proptest! {
        #[test]
        fn values_survive_a_round_trip_and_match_their_type(values in prop::collection::vec(value(), 0..4)) {
            let mut writer = Writer::new();
            writer.len(values.len() as u32);
            values.iter().for_each(|value| write_value(&mut writer, value));
            let cdr = writer.finish();
            let read = read_seq(&mut Reader::new(&cdr).unwrap(), read_value).unwrap();
            prop_assert_eq!(&read, &values);
            let plan = Registry::bundled().plan("rcl_interfaces/srv/GetParameters_Response").unwrap();
            let decoded = plan.decode(&cdr).unwrap();
            let kinds = decoded.get("values").and_then(|values| values.as_array()).unwrap();
            for (kind, value) in kinds.iter().zip(&values) {
                prop_assert_eq!(kind.get("type").and_then(|kind| kind.as_i128()), Some(i128::from(value.kind())));
            }
            for end in 0..cdr.len() {
                if let Ok(mut reader) = Reader::new(&cdr[..end]) {
                    let _ = read_seq(&mut reader, read_value);
                }
            }
        }
    }

    #[test]
    fn descriptions_match_their_type() {
        let one = ParameterDescription {
            name: "speed".into(),
            kind: 3,
            description: "how fast".into(),
            constraints: String::new(),
            read_only: true,
            double_range: Some((0.0, 1.5, 0.1)),
            integer_range: Some((-1, 9, 2)),
        };
        let mut writer = Writer::new();
        writer.len(1);
        write_description(&mut writer, &one);
        let cdr = writer.finish();
        assert_eq!(read_seq(&mut Reader::new(&cdr).unwrap(), read_description).unwrap(), [one]);
        let plan = Registry::bundled().plan("rcl_interfaces/srv/DescribeParameters_Response").unwrap();
        let decoded = plan.decode(&cdr).unwrap();
        let first = &decoded.get("descriptors").unwrap().as_array().unwrap()[0];
        assert_eq!(first.get("read_only").unwrap().as_bool(), Some(true));
        let range = &first.get("integer_range").unwrap().as_array().unwrap()[0];
        assert_eq!(range.get("to_value").unwrap().as_i128(), Some(9));
    }

    #[test]
    fn an_event_lists_new_changed_and_deleted_parameters() {
        let plan = Registry::bundled().plan("rcl_interfaces/msg/ParameterEvent").unwrap();
        let parameter = |name: &str, value: i64| serde_json::json!({"name": name, "value": {"type": 2, "integer_value": value}});
        let event = serde_json::json!({
            "node": "/nav", "new_parameters": [parameter("a", 1)],
            "changed_parameters": [parameter("b", 2)], "deleted_parameters": [parameter("c", 3)],
        });
        let (node, parameters) = read_event(&plan.encode_json(&event).unwrap()).unwrap();
        assert_eq!(node, "/nav");
        let expected = [
            ("a", ParameterValue::Integer(1)),
            ("b", ParameterValue::Integer(2)),
            ("c", ParameterValue::NotSet),
        ];
        assert_eq!(parameters, expected.map(|(name, value)| (name.to_owned(), value)));
    }
}
