//! Typed text as the value of a field.

use roverline_schema::model::{Arity, Element, Primitive};
use serde_json::{Number, Value};

/// Why a text is no value of its field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not a whole number.
    #[error("needs a whole number")]
    NotWhole,
    /// Out of range.
    #[error("{least} to {most}")]
    Range {
        /// The smallest value.
        least: i128,
        /// The largest one.
        most: i128,
    },
    /// Not a number.
    #[error("needs a number")]
    NotNumber,
    /// NaN or infinite.
    #[error("needs a finite number")]
    NotFinite,
    /// Neither true nor false.
    #[error("true or false")]
    NotBool,
    /// Too long.
    #[error("at most {0} bytes")]
    TooLong(u32),
    /// A list or an object that is no JSON.
    #[error("needs JSON: {0}")]
    NotJson(String),
    /// A list of a wrong length.
    #[error("needs {0} elements")]
    Length(String),
}

/// The smallest and largest value of an integer type.
const fn range(primitive: Primitive) -> Option<(i128, i128)> {
    Some(match primitive {
        Primitive::Byte | Primitive::U8 => (0, u8::MAX as i128),
        Primitive::I8 => (i8::MIN as i128, i8::MAX as i128),
        Primitive::U16 => (0, u16::MAX as i128),
        Primitive::I16 => (i16::MIN as i128, i16::MAX as i128),
        Primitive::U32 => (0, u32::MAX as i128),
        Primitive::I32 => (i32::MIN as i128, i32::MAX as i128),
        Primitive::U64 => (0, u64::MAX as i128),
        Primitive::I64 => (i64::MIN as i128, i64::MAX as i128),
        Primitive::Bool | Primitive::F32 | Primitive::F64 => return None,
    })
}

/// The value of a field of this type.
pub fn parse(text: &str, element: &Element, arity: Arity) -> Result<Value, ValueError> {
    match (arity, element) {
        (Arity::One, Element::Primitive(primitive)) => parse_primitive(text.trim(), *primitive),
        (Arity::One, Element::String(bound)) => parse_text(text, *bound, text.len()),
        (Arity::One, Element::WString(bound)) => parse_text(text, *bound, text.encode_utf16().count()),
        (Arity::One, Element::Message(_)) if text.trim() == "now" => Ok(Value::from("now")),
        (arity, _) => parse_json(text, arity),
    }
}

fn parse_text(text: &str, bound: Option<u32>, length: usize) -> Result<Value, ValueError> {
    match bound {
        Some(bound) if length > bound as usize => Err(ValueError::TooLong(bound)),
        _ => Ok(Value::from(text)),
    }
}

fn parse_primitive(text: &str, primitive: Primitive) -> Result<Value, ValueError> {
    if let Some((least, most)) = range(primitive) {
        let number: i128 = text.parse().map_err(|_| ValueError::NotWhole)?;
        let in_range = (least..=most).contains(&number);
        let value =
            u64::try_from(number).map(Value::from).or_else(|_| i64::try_from(number).map(Value::from));
        return value.ok().filter(|_| in_range).ok_or(ValueError::Range { least, most });
    }
    if primitive == Primitive::Bool {
        return match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(Value::from(true)),
            "false" | "no" | "off" | "0" => Ok(Value::from(false)),
            _ => Err(ValueError::NotBool),
        };
    }
    let number: f64 = text.parse().map_err(|_| ValueError::NotNumber)?;
    let is_finite =
        if primitive == Primitive::F32 { (number as f32).is_finite() } else { number.is_finite() };
    Number::from_f64(number).filter(|_| is_finite).map(Value::Number).ok_or(ValueError::NotFinite)
}

fn parse_json(text: &str, arity: Arity) -> Result<Value, ValueError> {
    let value: Value = serde_json::from_str(text).map_err(|error| ValueError::NotJson(error.to_string()))?;
    let length = value.as_array().map(Vec::len);
    match (arity, length) {
        (Arity::Array(needed), Some(length)) if length != needed as usize => {
            Err(ValueError::Length(needed.to_string()))
        }
        (Arity::Sequence(Some(most)), Some(length)) if length > most as usize => {
            Err(ValueError::Length(format!("0 to {most}")))
        }
        // Octets may be base64, so a text is no error here; the encoder has the last word.
        _ => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(text: &str, primitive: Primitive) -> Result<Value, ValueError> {
        parse(text, &Element::Primitive(primitive), Arity::One)
    }

    #[test]
    fn numbers_are_within_their_types() {
        assert_eq!(one("255", Primitive::U8), Ok(json!(255)));
        assert_eq!(one("256", Primitive::U8), Err(ValueError::Range { least: 0, most: 255 }));
        assert_eq!(one("-1", Primitive::U64).unwrap_err().to_string(), "0 to 18446744073709551615");
        assert_eq!(one("18446744073709551615", Primitive::U64), Ok(json!(u64::MAX)));
        assert_eq!(one("-9223372036854775808", Primitive::I64), Ok(json!(i64::MIN)));
        assert_eq!(one("1.5", Primitive::I32), Err(ValueError::NotWhole));
        assert_eq!(one("1.5", Primitive::F64), Ok(json!(1.5)));
        for bad in ["NaN", "inf", "-infinity", "1e999"] {
            assert_eq!(one(bad, Primitive::F64), Err(ValueError::NotFinite), "{bad}");
        }
        assert_eq!(one("1e300", Primitive::F32), Err(ValueError::NotFinite));
        assert_eq!(one("Yes", Primitive::Bool), Ok(json!(true)));
        assert_eq!(one("maybe", Primitive::Bool), Err(ValueError::NotBool));
    }

    #[test]
    fn texts_and_lists_have_bounds() {
        assert_eq!(parse("äb", &Element::String(Some(2)), Arity::One), Err(ValueError::TooLong(2)));
        assert_eq!(parse("äb", &Element::WString(Some(2)), Arity::One), Ok(json!("äb")));
        let double = Element::Primitive(Primitive::F64);
        assert_eq!(parse("[1, 2]", &double, Arity::Array(2)), Ok(json!([1, 2])));
        assert_eq!(parse("[1]", &double, Arity::Array(2)).unwrap_err().to_string(), "needs 2 elements");
        assert_eq!(
            parse("[1,2]", &double, Arity::Sequence(Some(1))).unwrap_err().to_string(),
            "needs 0 to 1 elements"
        );
        assert!(matches!(parse("[1,", &double, Arity::Sequence(None)), Err(ValueError::NotJson(_))));
    }
}
