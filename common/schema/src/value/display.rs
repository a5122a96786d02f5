//! One-line display of a value, for people.

use std::fmt;

use crate::value::Value;

/// Bytes that are displayed; the rest of an image is elided.
const SHOWN_BYTES: usize = 16;

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(v) => write!(f, "{v}"),
            Self::U8(v) => write!(f, "{v}"),
            Self::U16(v) => write!(f, "{v}"),
            Self::U32(v) => write!(f, "{v}"),
            Self::U64(v) => write!(f, "{v}"),
            Self::I8(v) => write!(f, "{v}"),
            Self::I16(v) => write!(f, "{v}"),
            Self::I32(v) => write!(f, "{v}"),
            Self::I64(v) => write!(f, "{v}"),
            Self::F32(v) => write!(f, "{v:?}"),
            Self::F64(v) => write!(f, "{v:?}"),
            // Escapes line ends and control bytes too, so the output stays one line.
            Self::String(v) => write!(f, "{v:?}"),
            Self::Bytes(v) => bytes(f, v),
            Self::Array(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Self::Struct(s) => {
                f.write_str("{")?;
                for (i, (name, value)) in s.iter().enumerate() {
                    write!(f, "{}{name}: {value}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
        }
    }
}

fn bytes(f: &mut fmt::Formatter<'_>, v: &[u8]) -> fmt::Result {
    write!(f, "<{} bytes", v.len())?;
    for (i, b) in v.iter().take(SHOWN_BYTES).enumerate() {
        write!(f, "{}{b:02x}", if i == 0 { ": " } else { " " })?;
    }
    f.write_str(if v.len() > SHOWN_BYTES { " …>" } else { ">" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Struct;

    #[test]
    fn display_is_one_line() {
        let s: Struct = [
            ("a", Value::Array(vec![Value::I8(-1), Value::F64(f64::NAN)])),
            ("b", Value::Bytes(vec![1; 20])),
            ("c", Value::String("x\ny".into())),
        ]
        .into_iter()
        .collect();
        let line = Value::Struct(s).to_string();
        assert_eq!(
            line,
            "{a: [-1, NaN], b: <20 bytes: 01 01 01 01 01 01 01 01 01 01 01 01 01 01 01 01 …>, c: \"x\\ny\"}"
        );
    }
}
