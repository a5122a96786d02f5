//! Parameter types: values, named parameters and their descriptions.

/// A parameter's value (rcl_interfaces/msg/ParameterValue).
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ParameterValue {
    /// Not set, or deleted.
    #[default]
    NotSet,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Integer(i64),
    /// A floating-point number.
    Double(f64),
    /// A string.
    String(String),
    /// A byte array.
    Bytes(Vec<u8>),
    /// A boolean array.
    Bools(Vec<bool>),
    /// An integer array.
    Integers(Vec<i64>),
    /// A floating-point array.
    Doubles(Vec<f64>),
    /// A string array.
    Strings(Vec<String>),
}

impl ParameterValue {
    /// The type number (rcl_interfaces/msg/ParameterType).
    pub fn kind(&self) -> u8 {
        match self {
            ParameterValue::NotSet => 0,
            ParameterValue::Bool(_) => 1,
            ParameterValue::Integer(_) => 2,
            ParameterValue::Double(_) => 3,
            ParameterValue::String(_) => 4,
            ParameterValue::Bytes(_) => 5,
            ParameterValue::Bools(_) => 6,
            ParameterValue::Integers(_) => 7,
            ParameterValue::Doubles(_) => 8,
            ParameterValue::Strings(_) => 9,
        }
    }
}

/// A node's parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// The node's full name: `/ns/name`.
    pub node: String,
    /// The parameter's name; dots may group names: `camera.exposure`.
    pub name: String,
    /// Its value.
    pub value: ParameterValue,
}

/// A node's description of a parameter (rcl_interfaces/msg/ParameterDescriptor).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ParameterDescription {
    /// The parameter's name.
    pub name: String,
    /// The type number (rcl_interfaces/msg/ParameterType).
    pub kind: u8,
    /// Its purpose.
    pub description: String,
    /// Additional constraints on its values, in words.
    pub constraints: String,
    /// Whether it cannot be set.
    pub read_only: bool,
    /// Minimum, maximum and step of a floating-point parameter.
    pub double_range: Option<(f64, f64, f64)>,
    /// Minimum, maximum and step of an integer parameter.
    pub integer_range: Option<(i64, i64, u64)>,
}
