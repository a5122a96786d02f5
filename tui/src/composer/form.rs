//! A form made from a type: one line for each field that takes a value, nested ones with their path.

use std::collections::HashMap;

use roverline_schema::model::{Arity, Definition, Element};
use roverline_schema::{Registry, TypeName, parse_definition};
use serde_json::{Map, Value};

use crate::composer::value;

/// Fields of a form; a longer one is filled in as far as this, and the rest has its defaults.
pub const MAX_FIELDS: usize = 200;
/// Levels of nested fields; deeper ones are written as JSON.
const MAX_LEVELS: usize = 6;
/// Characters of a value.
pub const VALUE_CHARS: usize = 512;
/// Choices of an enumeration.
const MAX_CHOICES: usize = 32;
/// A stamp is one field: `now`.
const TIME: &str = "builtin_interfaces/msg/Time";
/// Shortest line between two definitions.
const SEPARATOR_BYTES: usize = 16;

/// A field.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// `linear.x`
    pub path: String,
    /// For people: `float64`, `string<=8`, `float64[3]`.
    pub type_text: String,
    /// Values that have a name: constants of the same message and type.
    pub choices: Vec<(String, String)>,
    /// Its default, as it is typed.
    pub default: String,
    /// What is typed; empty: the default.
    pub typed: String,
    element: Element,
    arity: Arity,
}

impl Field {
    /// Why the typed text is no value of the field.
    pub fn problem(&self) -> Option<String> {
        self.value().err().map(|error| error.to_string())
    }

    /// The value, if one is typed.
    fn value(&self) -> Result<Option<Value>, value::ValueError> {
        if self.typed.is_empty() {
            return Ok(None);
        }
        let named = self.choices.iter().find(|(name, _)| *name == self.typed);
        let text = named.map_or(&self.typed, |(_, text)| text);
        value::parse(text, &self.element, self.arity).map(Some)
    }

    /// The next or previous choice of an enumeration or a `bool`.
    pub fn cycle(&mut self, forward: bool) {
        let names: Vec<&str> = match self.choices.is_empty() && self.type_text == "bool" {
            true => vec!["false", "true"],
            false => self.choices.iter().map(|(name, _)| name.as_str()).collect(),
        };
        if names.is_empty() {
            return;
        }
        let at = names.iter().position(|name| *name == self.typed);
        let next = match (at, forward) {
            (None, _) => names.len() - usize::from(self.choices.is_empty() || !forward),
            (Some(at), true) => at + 1,
            (Some(at), false) => at + names.len() - 1,
        };
        self.typed = names.get(next % names.len()).map_or_else(String::new, |name| (*name).to_owned());
    }
}

/// A form.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Form {
    /// Its fields, in the order of the type.
    pub fields: Vec<Field>,
    /// Fields that are not shown and have their defaults.
    pub left_out: usize,
}

/// Why there is no form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// The type is not known, and its definition is requested.
    #[error("the definition of {0} is not here yet")]
    Unknown(String),
    /// Its definition cannot be used.
    #[error("{0}")]
    Unusable(String),
}

/// Why a form cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct FieldError {
    /// The path of the field, or the type.
    pub field: String,
    /// What is wrong.
    pub reason: String,
}

impl Form {
    /// The form of a type.
    pub fn of(registry: &Registry, type_name: &str) -> Result<Form, FormError> {
        let name = TypeName::parse(type_name).map_err(|error| FormError::Unusable(error.to_string()))?;
        let text = registry.text(type_name).map_err(|_| FormError::Unknown(type_name.to_owned()))?;
        let sections = sections(&text, &name);
        let mut form = Form::default();
        form.add(&sections, &name, "", 0)?;
        Ok(form)
    }

    /// The form of a parameter.
    pub fn of_parameter() -> Form {
        let field = |path: &str, element, type_text: &str| Field {
            path: path.to_owned(),
            type_text: type_text.to_owned(),
            choices: Vec::new(),
            default: String::new(),
            typed: String::new(),
            element,
            arity: Arity::One,
        };
        let mut value = field("value", Element::String(None), "JSON");
        // A sequence is JSON of any kind.
        value.arity = Arity::Sequence(None);
        Form { fields: vec![field("name", Element::String(Some(255)), "string"), value], left_out: 0 }
    }

    fn add(
        &mut self,
        sections: &HashMap<String, &str>,
        name: &TypeName,
        prefix: &str,
        level: usize,
    ) -> Result<(), FormError> {
        let Some(text) = sections.get(name.as_str()) else {
            return Err(FormError::Unusable(format!("{name} is not defined")));
        };
        let definition =
            parse_definition(name, text).map_err(|error| FormError::Unusable(error.to_string()))?;
        for field in &definition.fields {
            let path = format!("{prefix}{}", field.name);
            if self.fields.len() >= MAX_FIELDS {
                self.left_out += 1;
                continue;
            }
            match (&field.element, field.arity) {
                (Element::Message(inner), Arity::One) if level + 1 < MAX_LEVELS && inner.as_str() != TIME => {
                    self.add(sections, inner, &format!("{path}."), level + 1)?;
                }
                _ => self.fields.push(leaf(&definition, field, path)),
            }
        }
        Ok(())
    }

    /// The message: what is typed; fields that are left empty have their defaults.
    pub fn body(&self) -> Result<Value, FieldError> {
        let mut body = Map::new();
        for field in &self.fields {
            let value = field
                .value()
                .map_err(|error| FieldError { field: field.path.clone(), reason: error.to_string() })?;
            if let Some(value) = value {
                set(&mut body, &field.path, value);
            }
        }
        Ok(Value::Object(body))
    }

    /// The message, checked as a whole against its type.
    pub fn checked_body(&self, registry: &Registry, type_name: &str) -> Result<Value, FieldError> {
        let body = self.body()?;
        let whole = |reason: String| FieldError { field: type_name.to_owned(), reason };
        let plan = registry.plan(type_name).map_err(|error| whole(error.to_string()))?;
        plan.encode_json(&body).map_err(|error| whole(error.to_string()))?;
        Ok(body)
    }

    /// Fills in a message, as far as its fields are there.
    pub fn fill(&mut self, body: &Value) {
        for field in &mut self.fields {
            let found = field.path.split('.').try_fold(body, |value, name| value.get(name));
            field.typed = match found {
                Some(Value::String(text)) => text.chars().take(VALUE_CHARS).collect(),
                Some(value) => value.to_string().chars().take(VALUE_CHARS).collect(),
                None => String::new(),
            };
        }
    }
}

fn leaf(definition: &Definition, field: &roverline_schema::model::Field, path: String) -> Field {
    let element = match &field.element {
        Element::Primitive(primitive) => primitive.name().to_owned(),
        Element::String(None) => "string".to_owned(),
        Element::String(Some(bound)) => format!("string<={bound}"),
        Element::WString(None) => "wstring".to_owned(),
        Element::WString(Some(bound)) => format!("wstring<={bound}"),
        Element::Message(name) => name.to_string(),
    };
    let type_text = match field.arity {
        Arity::One => element.clone(),
        Arity::Array(count) => format!("{element}[{count}]"),
        Arity::Sequence(None) => format!("{element}[]"),
        Arity::Sequence(Some(most)) => format!("{element}[<={most}]"),
    };
    let same = definition.constants.iter().filter(|constant| constant.type_text == element);
    let choices = match (field.arity, &field.element) {
        (Arity::One, Element::Primitive(_) | Element::String(_)) => same
            .take(MAX_CHOICES)
            .map(|constant| (constant.name.clone(), constant.value_text.clone()))
            .collect(),
        _ => Vec::new(),
    };
    let default = match (&field.default, &field.element, field.arity) {
        (Some(default), ..) => default.to_string(),
        (None, Element::Primitive(roverline_schema::model::Primitive::Bool), Arity::One) => {
            "false".to_owned()
        }
        (None, Element::Primitive(_), Arity::One) => "0".to_owned(),
        (None, Element::Message(name), Arity::One) if name.as_str() == TIME => "0, or: now".to_owned(),
        _ => String::new(),
    };
    let element = field.element.clone();
    Field { path, type_text, choices, default, typed: String::new(), element, arity: field.arity }
}

/// The definitions of a text by their types; the first one is that of `root`.
fn sections<'a>(text: &'a str, root: &TypeName) -> HashMap<String, &'a str> {
    let mut sections = HashMap::new();
    let (mut name, mut from, mut at) = (root.to_string(), 0, 0);
    let mut lines = text.split_inclusive('\n').peekable();
    while let Some(line) = lines.next() {
        let before = at;
        at += line.len();
        let mark = line.trim_end();
        if mark.len() < SEPARATOR_BYTES || !mark.bytes().all(|byte| byte == b'=') {
            continue;
        }
        sections.entry(std::mem::take(&mut name)).or_insert(&text[from..before]);
        let title = lines.peek().and_then(|line| line.trim_end().strip_prefix("MSG: "));
        let title = title.and_then(|title| TypeName::parse(title).ok());
        if let (Some(title), Some(line)) = (title, lines.peek()) {
            name = title.to_string();
            from = at + line.len();
        } else {
            from = at;
        }
    }
    sections.entry(name).or_insert(text.get(from..).unwrap_or_default());
    sections
}

/// Sets a value at a path, with the objects on the way.
fn set(body: &mut Map<String, Value>, path: &str, value: Value) {
    let Some((first, rest)) = path.split_once('.') else {
        body.insert(path.to_owned(), value);
        return;
    };
    let inner = body.entry(first.to_owned()).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(inner) = inner {
        set(inner, rest, value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn form(type_name: &str) -> Form {
        Form::of(&Registry::bundled(), type_name).unwrap()
    }

    fn typed(form: &mut Form, path: &str, text: &str) {
        form.fields.iter_mut().find(|field| field.path == path).unwrap().typed = text.to_owned();
    }

    #[test]
    fn nested_fields_have_paths_and_what_is_typed_is_sent() {
        let mut twist = form("geometry_msgs/msg/Twist");
        let paths: Vec<_> = twist.fields.iter().map(|field| field.path.as_str()).collect();
        assert_eq!(paths, ["linear.x", "linear.y", "linear.z", "angular.x", "angular.y", "angular.z"]);
        typed(&mut twist, "linear.x", "0.2");
        assert_eq!(twist.body(), Ok(json!({"linear": {"x": 0.2}})));
        typed(&mut twist, "angular.z", "NaN");
        assert_eq!(twist.body().unwrap_err().to_string(), "angular.z: needs a finite number");
        let mut again = form("geometry_msgs/msg/Twist");
        again.fill(&json!({"linear": {"x": 0.2}, "more": 1}));
        assert_eq!(again.body(), Ok(json!({"linear": {"x": 0.2}})));
    }

    #[test]
    fn constants_are_choices_and_the_whole_is_checked() {
        let registry = Registry::bundled();
        let mut fix = form("sensor_msgs/msg/NavSatStatus");
        let status = fix.fields.iter_mut().find(|field| field.path == "status").unwrap();
        assert!(status.choices.iter().any(|(name, value)| name == "STATUS_NO_FIX" && value == "-1"));
        status.typed = "STATUS_NO_FIX".to_owned();
        assert_eq!(fix.checked_body(&registry, "sensor_msgs/msg/NavSatStatus"), Ok(json!({"status": -1})));
        let mut request = form("std_srvs/srv/SetBool_Request");
        request.fields[0].cycle(true);
        assert_eq!(request.fields[0].typed, "true");
        request.fields[0].cycle(true);
        assert_eq!(request.fields[0].typed, "false");
        assert!(form("std_srvs/srv/Trigger_Request").fields.is_empty());
    }

    #[test]
    fn a_hostile_type_is_bounded() {
        let registry = Registry::bundled();
        let fields: String = (0..4_000).map(|n| format!("int32 field_{n}\n")).collect();
        registry.add("hostile/msg/Wide", &fields).unwrap();
        let wide = Form::of(&registry, "hostile/msg/Wide").unwrap();
        assert_eq!((wide.fields.len(), wide.left_out), (MAX_FIELDS, 4_000 - MAX_FIELDS));
        let mut deep = "Deep1 inner\n".to_owned();
        for n in 1..30 {
            let next = if n < 29 { format!("Deep{} inner", n + 1) } else { "int8 x".to_owned() };
            deep.push_str(&format!("{}\nMSG: hostile/Deep{n}\n{next}\n", "=".repeat(80)));
        }
        registry.add("hostile/msg/Deep0", &deep).unwrap();
        let deep = Form::of(&registry, "hostile/msg/Deep0").unwrap();
        assert_eq!(deep.fields.len(), 1);
        assert_eq!(deep.fields[0].path.matches("inner").count(), MAX_LEVELS);
        let (mut wide, text) = (wide, "9".repeat(5_000));
        wide.fill(&json!({"field_0": text}));
        assert!(wide.fields[0].typed.len() <= VALUE_CHARS && wide.body().is_err());
        assert!(matches!(Form::of(&registry, "no/msg/Type"), Err(FormError::Unknown(_))));
        assert!(matches!(Form::of(&registry, "\u{1b}[2J"), Err(FormError::Unusable(_))));
    }
}
