//! Message definitions as `rosapi_msgs/msg/TypeDef`: a type and all types that it contains.

use roverline_schema::model::{Arity, Definition, Element, Field, Primitive};
use roverline_schema::{Registry, SchemaError, TypeName, parse_definition};
use serde_json::{Value, json};

/// Lines of this character separate the definitions in a text.
const RULE: &str = "================";

/// The definitions of a type (in its long form) and of the types that it contains, itself first.
pub(super) fn typedefs(registry: &Registry, type_name: &str) -> Result<Vec<Value>, SchemaError> {
    let text = registry.text(type_name)?;
    let definitions = definitions(type_name, &text)?;
    let names: Vec<String> = definitions.iter().map(|definition| short(&definition.name)).collect();
    Ok(definitions.iter().map(|definition| typedef(definition, &names)).collect())
}

fn definitions(root: &str, text: &str) -> Result<Vec<Definition>, SchemaError> {
    let mut sections = vec![(root.to_owned(), String::new())];
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.starts_with(RULE) {
            let title = lines.next().and_then(|title| title.trim().strip_prefix("MSG: ")).unwrap_or("");
            sections.push((title.to_owned(), String::new()));
        } else if let Some((_, body)) = sections.last_mut() {
            body.push_str(line);
            body.push('\n');
        }
    }
    let parse = |(name, body): &(String, String)| {
        let name = TypeName::parse(name)?;
        parse_definition(&name, body)
    };
    let titled = sections.iter().filter(|(title, _)| !title.is_empty());
    titled.map(parse).collect()
}

fn typedef(definition: &Definition, known: &[String]) -> Value {
    let fields = &definition.fields;
    let constants = &definition.constants;
    json!({
        "type": short(&definition.name),
        "fieldnames": fields.iter().map(|field| &*field.name).collect::<Vec<_>>(),
        "fieldtypes": fields.iter().map(|field| field_type(field, known)).collect::<Vec<_>>(),
        "fieldarraylen": fields.iter().map(array_length).collect::<Vec<_>>(),
        "examples": fields.iter().map(example).collect::<Vec<_>>(),
        "constnames": constants.iter().map(|constant| &constant.name).collect::<Vec<_>>(),
        "constvalues": constants.iter().map(|constant| &constant.value_text).collect::<Vec<_>>(),
    })
}

/// `pkg/Type`, as rosapi names messages.
fn short(name: &TypeName) -> String {
    format!("{}/{}", name.package(), name.short())
}

/// The primitive type names of ROS 2's Python, which rosapi passes on.
fn field_type(field: &Field, known: &[String]) -> String {
    match &field.element {
        Element::Primitive(Primitive::Bool) => "boolean".to_owned(),
        Element::Primitive(Primitive::Byte) => "octet".to_owned(),
        Element::Primitive(Primitive::F32) => "float".to_owned(),
        Element::Primitive(Primitive::F64) => "double".to_owned(),
        Element::Primitive(other) => other.name().to_owned(),
        Element::String(_) => "string".to_owned(),
        Element::WString(_) => "wstring".to_owned(),
        // `Header` alone means that of std_msgs.
        Element::Message(name) if name.short() == "Header" && !known.contains(&short(name)) => {
            "std_msgs/Header".to_owned()
        }
        Element::Message(name) => short(name),
    }
}

/// -1: a single value; 0: any number of elements.
fn array_length(field: &Field) -> i64 {
    match field.arity {
        Arity::One => -1,
        Arity::Sequence(_) => 0,
        Arity::Array(length) => length.into(),
    }
}

fn example(field: &Field) -> String {
    if field.arity != Arity::One {
        return "[]".to_owned();
    }
    if let Some(default) = &field.default {
        return match (default.as_str(), default.as_bool()) {
            (Some(text), _) => text.to_owned(),
            (_, Some(truth)) => python_bool(truth).to_owned(),
            _ => default.to_string(),
        };
    }
    let zero = match &field.element {
        Element::Primitive(Primitive::Bool) => python_bool(false),
        Element::Primitive(Primitive::F32 | Primitive::F64) => "0.0",
        Element::Primitive(_) => "0",
        Element::String(_) | Element::WString(_) => "",
        Element::Message(_) => "{}",
    };
    zero.to_owned()
}

const fn python_bool(truth: bool) -> &'static str {
    if truth { "True" } else { "False" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_comes_with_all_that_it_contains() {
        let registry = Registry::bundled();
        let twist = typedefs(&registry, "geometry_msgs/msg/Twist").unwrap();
        assert_eq!(
            twist[0],
            json!({
                "type": "geometry_msgs/Twist",
                "fieldnames": ["linear", "angular"],
                "fieldtypes": ["geometry_msgs/Vector3", "geometry_msgs/Vector3"],
                "fieldarraylen": [-1, -1],
                "examples": ["{}", "{}"],
                "constnames": [],
                "constvalues": [],
            })
        );
        assert_eq!((twist.len(), &twist[1]["fieldtypes"][0]), (2, &json!("double")));
        let request = typedefs(&registry, "std_srvs/srv/SetBool_Request").unwrap();
        assert_eq!(
            (&request[0]["type"], &request[0]["examples"][0]),
            (&json!("std_srvs/SetBool_Request"), &json!("False"))
        );
        let empty = typedefs(&registry, "std_srvs/srv/Trigger_Request").unwrap();
        assert_eq!(empty[0]["fieldnames"], json!([]));
        let imu = typedefs(&registry, "sensor_msgs/msg/Imu").unwrap();
        assert_eq!(imu[0]["fieldarraylen"][2], 9);
        let battery = typedefs(&registry, "sensor_msgs/msg/BatteryState").unwrap();
        assert!(battery[0]["constnames"].as_array().unwrap().len() > 10);
        assert!(typedefs(&registry, "no_such/msg/Type").is_err());
    }

    #[test]
    fn every_bundled_type_has_typedefs() {
        let registry = Registry::bundled();
        for name in registry.type_names() {
            let all = typedefs(&registry, &name).unwrap_or_else(|why| panic!("{name}: {why}"));
            let known: Vec<&str> = all.iter().filter_map(|typedef| typedef["type"].as_str()).collect();
            for of in all.iter().flat_map(|typedef| typedef["fieldtypes"].as_array().unwrap()) {
                let of = of.as_str().unwrap();
                assert!(!of.contains('/') || known.contains(&of), "{name} lacks {of}");
            }
        }
    }
}
