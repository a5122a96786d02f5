//! Tests of the parser of message definitions: fields, constants, errors with their line, bounds, and bundles.

use crate::Value;
use crate::model::{Arity, Element, Primitive};
use crate::parse::*;

fn name() -> TypeName {
    TypeName::parse("pkg/Test").unwrap()
}

fn parse(text: &str) -> Result<Definition, SchemaError> {
    parse_definition(&name(), text)
}

#[test]
fn every_kind_of_field() {
    let d = parse(
        "# a comment\n\
         bool ok\n\
         string<=10 short  # bounded\n\
         \twstring\twide\r\n\
         string<=5[<=3] names\n\
         float64[36] covariance\n\
         Other[] others\n\
         std_msgs/Header header\n\
         far_msgs/msg/Thing[2] things\n\
         char letter\n",
    )
    .unwrap();
    let got: Vec<_> = d.fields.iter().map(|f| (&*f.name, f.element.clone(), f.arity)).collect();
    let message = |n: &str| Element::Message(TypeName::parse(n).unwrap());
    assert_eq!(
        got,
        [
            ("ok", Element::Primitive(Primitive::Bool), Arity::One),
            ("short", Element::String(Some(10)), Arity::One),
            ("wide", Element::WString(None), Arity::One),
            ("names", Element::String(Some(5)), Arity::Sequence(Some(3))),
            ("covariance", Element::Primitive(Primitive::F64), Arity::Array(36)),
            ("others", message("pkg/Other"), Arity::Sequence(None)),
            ("header", message("std_msgs/Header"), Arity::One),
            ("things", message("far_msgs/Thing"), Arity::Array(2)),
            ("letter", Element::Primitive(Primitive::U8), Arity::One),
        ]
    );
}

#[test]
fn constants_and_defaults() {
    let d = parse(
        "uint8 A=1 # one\n\
         string B=\"a#b\"\n\
         string C= it's # odd\n\
         float32 PI = -3.5\n\
         int32 n -7 # seven\n\
         uint16 hex 0xff\n\
         bool on true\n\
         float64 w 1\n\
         string s \"a # b = c\"\n\
         string t 'don\\'t'\n\
         string u bare words\n\
         uint8[3] bytes [1, 2, 3]\n\
         string[] list [\"a,b\", 'c']\n\
         int32[] none []\n",
    )
    .unwrap();
    let constants: Vec<_> = d.constants.iter().map(|c| (&*c.name, &*c.value_text)).collect();
    assert_eq!(constants, [("A", "1"), ("B", "a#b"), ("C", "it's"), ("PI", "-3.5")]);
    let text = |s: &str| Value::String(s.into());
    let defaults: Vec<_> = d.fields.iter().map(|f| f.default.clone().unwrap()).collect();
    assert_eq!(
        defaults,
        [
            Value::I32(-7),
            Value::U16(255),
            Value::Bool(true),
            Value::F64(1.0),
            text("a # b = c"),
            text("don't"),
            text("bare words"),
            Value::Bytes(vec![1, 2, 3]),
            Value::Array(vec![text("a,b"), text("c")]),
            Value::Array(vec![]),
        ]
    );
}

#[test]
fn errors_name_the_line() {
    for (text, line, what) in [
        ("bool", 1, "has no name"),
        ("bool a\nint32 9x", 2, "is not a field name"),
        ("int32[ x", 1, "lacks its ]"),
        ("int32[0] x", 1, "is not a count"),
        ("int32[4294967296] x", 1, "is not a count"),
        ("int32<=4 x", 1, "only strings have a bound"),
        ("bool a\nbool a", 2, "comes twice"),
        ("uint8 a 256", 1, "not a default"),
        ("uint8 a --1", 1, "not a default"),
        ("uint8[2] a [1]", 1, "has 1 elements"),
        ("string s \"open", 1, "not a default"),
        ("string s \"a\" b", 1, "follows the default"),
        ("a/b/c/d x", 1, "is not a type"),
        ("int32 x;", 1, "follows the name"),
        ("Other o 5", 1, "not a default"),
        ("module pkg {", 1, "is not a default"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(what) && error.contains(&format!("line {line}")), "{text}: {error}");
    }
}

#[test]
fn exceeded_bounds_are_errors() {
    let many: String = (0..=MAX_FIELDS).map(|i| format!("bool a{i}\n")).collect();
    assert!(matches!(parse(&many), Err(SchemaError::TooLarge { what: "fields", .. })));
    let long = "#".repeat(MAX_TEXT_BYTES + 1);
    assert!(matches!(parse(&long), Err(SchemaError::TooLarge { .. })));
}

#[test]
fn bundles_are_split() {
    let rule = "=".repeat(80);
    let text = format!("A a\nB b\n{rule}\nMSG: pkg/A\nint32 x\n\n{rule}\r\nMSG: pkg/msg/B\r\nbool y\r\n");
    let bundle = parse_bundle(&name(), &text, Language::Msg).unwrap();
    assert_eq!(bundle.definitions.len(), 3);
    let field = |n: &str| bundle.definitions[&TypeName::parse(n).unwrap()].fields[0].name.clone();
    assert_eq!((&*field("pkg/Test"), &*field("pkg/A"), &*field("pkg/B")), ("a", "x", "y"));
}

#[test]
fn a_bundle_may_begin_with_its_own_title() {
    let rule = "=".repeat(80);
    let text = format!("{rule}\nMSG: pkg/Test\nint32 x\n{rule}\nMSG: pkg/B\nbool y\n");
    let bundle = parse_bundle(&name(), &text, Language::Msg).unwrap();
    assert_eq!(&*bundle.definitions[&name()].fields[0].name, "x");
}
