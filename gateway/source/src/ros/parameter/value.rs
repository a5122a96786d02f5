//! What a parameter is: its value, its place, what its node says of it.

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
    /// A number.
    Double(f64),
    /// A text.
    String(String),
    /// Octets.
    Bytes(Vec<u8>),
    /// Booleans.
    Bools(Vec<bool>),
    /// Integers.
    Integers(Vec<i64>),
    /// Numbers.
    Doubles(Vec<f64>),
    /// Texts.
    Strings(Vec<String>),
}

impl ParameterValue {
    /// The number of its type (rcl_interfaces/msg/ParameterType).
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
    /// The node, in full: `/ns/name`.
    pub node: String,
    /// The parameter's name, in which dots may group: `camera.exposure`.
    pub name: String,
    /// Its value.
    pub value: ParameterValue,
}

/// What a node says of a parameter (rcl_interfaces/msg/ParameterDescriptor).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ParameterDescription {
    /// The parameter's name.
    pub name: String,
    /// The number of its type (rcl_interfaces/msg/ParameterType).
    pub kind: u8,
    /// What it is for.
    pub description: String,
    /// What its values must be besides, in words.
    pub constraints: String,
    /// It cannot be set.
    pub read_only: bool,
    /// From, to and step of a number.
    pub double_range: Option<(f64, f64, f64)>,
    /// From, to and step of an integer.
    pub integer_range: Option<(i64, i64, u64)>,
}
