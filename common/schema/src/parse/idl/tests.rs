//! Tests of the IDL parser: what ROS 2 generates, what people write by hand, and what is refused.

use crate::model::{Arity, Element, Primitive};
use crate::{Registry, SchemaError, TypeName, Value};

const RULE: &str = "================================================================================\n";

fn text_of(type_name: &str, idl: &str) -> Result<String, SchemaError> {
    let registry = Registry::bundled();
    registry.add_encoded(type_name, "ros2idl", idl.as_bytes())?;
    registry.text(type_name).map(|text| text.to_string())
}

/// A struct `own_msgs/msg/Test` with these members.
fn members(members: &str) -> Result<String, SchemaError> {
    text_of(
        "own_msgs/msg/Test",
        &format!("module own_msgs {{ module msg {{ struct Test {{ {members} }}; }}; }};"),
    )
}

#[test]
fn a_generated_file_with_all_that_the_generator_writes() {
    let idl = r#"// generated from rosidl_adapter/resource/msg.idl.em
#include "std_msgs/msg/Header.idl"

module own_msgs {
  module msg {
    typedef double double__36[36];
    module Pump_Constants {
      const uint8 IDLE = 0;
      @verbatim (language="comment", text="a name;" "\n" "with a } in it")
      const string NAME = "main (left)";
      const float LOW = -1.5e-3;
    };
    @verbatim (language="comment", text=
      "A pump.")
    struct Pump {
      std_msgs::msg::Header header;

      @verbatim (language="comment", text="litres")
      @unit (value="l/s")
      @default (value=-2.5)
      double flow;
      boolean on;
      octet raw;
      sequence<uint8> bytes;
      sequence<own_msgs::msg::Valve, 4> valves;
      string<10> label;
      wstring wide;
      sequence<string<5>, 3> names;
      double__36 covariance;
      float matrix[3][2];
      uint8 _module;
    };
  };
};
"#;
    let valve =
        "module own_msgs { module msg { struct Valve { long position; unsigned long long count; }; }; };\n";
    let text = format!("{RULE}IDL: own_msgs/msg/Pump\n{idl}{RULE}IDL: own_msgs/msg/Valve\n{valve}");
    let expected = "uint8 IDLE=0\nstring NAME=\"main (left)\"\nfloat32 LOW=-1.5e-3\nstd_msgs/Header header\n\
        float64 flow\nbool on\nbyte raw\nuint8[] bytes\nown_msgs/Valve[<=4] valves\nstring<=10 label\nwstring wide\n\
        string<=5[<=3] names\nfloat64[36] covariance\nfloat32[6] matrix\nuint8 module\n";
    let got = text_of("own_msgs/msg/Pump", &text).unwrap();
    assert_eq!(got.split(RULE).next().unwrap(), expected);
    assert!(got.contains("MSG: own_msgs/Valve\nint32 position\nuint64 count\n"), "{got}");
    assert!(got.contains("MSG: builtin_interfaces/Time\n"), "what the recording lacks is completed: {got}");
    // What is given to clients reads back to the same message.
    let again = Registry::bundled();
    again.add("own_msgs/msg/Pump", &got).unwrap();
    assert_eq!(*again.text("own_msgs/msg/Pump").unwrap(), *got);
}

#[test]
fn a_message_is_decoded_by_its_idl() {
    let registry = Registry::bundled();
    let idl = "module own_msgs { module msg { struct Pump { double flow; string label; }; }; };";
    registry.add_encoded("own_msgs/msg/Pump", "ros2idl", idl.as_bytes()).unwrap();
    let plan = registry.plan("own_msgs/msg/Pump").unwrap();
    let mut json = Vec::new();
    let cdr = [&[0, 1, 0, 0], &2.5_f64.to_le_bytes()[..], &[3, 0, 0, 0], b"p1\0"].concat();
    plan.write_json(&cdr, &mut json).unwrap();
    assert_eq!(String::from_utf8(json).unwrap(), r#"{"flow":2.5,"label":"p1"}"#);
}

#[test]
fn integers_have_old_and_new_names() {
    let got = members(
        "short a; long b; long long c; unsigned short d; unsigned long e; unsigned long long f; \
         int8 g; uint16 h; int32 i; uint64 j; char k; wchar l; float m, n;",
    );
    assert_eq!(
        got.unwrap(),
        "int16 a\nint32 b\nint64 c\nuint16 d\nuint32 e\nuint64 f\nint8 g\nuint16 h\nint32 i\nuint64 j\nuint8 k\n\
         uint16 l\nfloat32 m\nfloat32 n\n"
    );
}

#[test]
fn names_are_looked_up_from_the_inside_outwards() {
    let idl = "const long N = 3;
        typedef sequence<octet> Blob;
        module own_msgs {
          enum Mode { OFF, ON };
          module msg {
            const unsigned long M = 2;
            struct Inner { Mode mode; };
            struct Test { Inner inner; msg::Inner again; ::own_msgs::msg::Inner whole; Blob blob; string<N> s;
                          sequence<double, own_msgs::msg::M> few; octet cells[M][N]; };
          };
        };";
    let got = text_of("own_msgs/msg/Test", idl).unwrap();
    assert_eq!(
        got.split(RULE).next().unwrap(),
        "own_msgs/Inner inner\nown_msgs/Inner again\nown_msgs/Inner whole\nbyte[] blob\nstring<=3 s\n\
         float64[<=2] few\nbyte[6] cells\n"
    );
    assert!(got.ends_with("MSG: own_msgs/Inner\nuint32 mode\n"), "{got}");
}

#[test]
fn a_section_uses_what_a_later_one_declares() {
    let text = format!(
        "{RULE}IDL: a_msgs/msg/A\nmodule a_msgs {{ module msg {{ struct A {{ b_msgs::msg::Pair pair; }}; }}; }};\n\
         {RULE}IDL: b_msgs/msg/B\nmodule b_msgs {{ module msg {{ typedef float Pair[2]; struct B {{ Pair p; }}; }}; }};\n"
    );
    assert_eq!(text_of("a_msgs/msg/A", &text).unwrap(), "float32[2] pair\n");
}

#[test]
fn sections_of_both_languages_mix() {
    let registry = Registry::bundled();
    let text = format!(
        "own_msgs/Valve valve\n{RULE}IDL: own_msgs/msg/Valve\nmodule own_msgs {{ module msg {{ struct Valve {{ \
         other_msgs::msg::Old old; }}; }}; }};\n{RULE}MSG: other_msgs/Old\nint32 x 7\n"
    );
    registry.add("own_msgs/msg/Test", &text).unwrap();
    let whole = registry.text("own_msgs/msg/Test").unwrap();
    assert!(
        !whole.contains("IDL:") && whole.contains("MSG: own_msgs/Valve\nother_msgs/Old old\n"),
        "{whole}"
    );
    assert!(registry.plan("own_msgs/msg/Test").is_ok());
}

#[test]
fn defaults_are_kept() {
    let idl = "module own_msgs { module msg { struct Test { @default (value=-2.5) double a; \
               @default (value=TRUE) boolean b; @default (value=\"x y\") string c; @default(value=1) Odd::T d; }; \
               }; module Odd { typedef octet T[2]; }; };";
    let name = TypeName::parse("own_msgs/msg/Test").unwrap();
    // `Odd` is declared later, so it cannot be resolved.
    assert!(text_of(name.as_str(), idl).is_err());
    let idl = idl.replace(" @default(value=1) Odd::T d;", "");
    let registry = Registry::bundled();
    registry.add_encoded(name.as_str(), "ros2idl", idl.as_bytes()).unwrap();
    let plan = registry.plan(name.as_str()).unwrap();
    let cdr = plan.encode_json(&serde_json::json!({})).unwrap();
    let value = plan.decode(&cdr).unwrap();
    let get = |field: &str| value.get(field).cloned();
    assert_eq!(get("a"), Some(Value::F64(-2.5)));
    assert_eq!(get("b"), Some(Value::Bool(true)));
    assert_eq!(get("c"), Some(Value::String("x y".to_owned())));
}

#[test]
fn what_is_refused_says_where_and_why() {
    for (members_text, why) in [
        ("sequence<sequence<octet>> a;", "`a sequence of sequences` is not supported in IDL"),
        ("map<long, string> a;", "`map` is not supported in IDL"),
        ("long double a;", "`long double` is not supported in IDL"),
        ("@optional long a;", "`@optional` is not supported in IDL"),
        ("long a; string a;", "field `a` comes twice"),
        ("long a[0];", "`0` is not a count from 1 to 4294967295"),
        ("long a[MISSING];", "`MISSING` is not a count from 1 to 4294967295"),
        ("long 3a;", "a name is expected, not `3a`"),
        ("long a", "; is expected, not `}`"),
        ("long a[70000][70000];", "`70000` is not a count from 1 to 4294967295"),
        ("string \"a\";", "a name is expected, not `a`"),
        ("string 'a;", "a closing quote is expected, not `a; }; }; };`"),
    ] {
        let error = members(members_text).unwrap_err().to_string();
        assert_eq!(error, format!("own_msgs/msg/Test, line 1: {why}"), "{members_text}");
    }
    for idl in [
        "union U switch (long) { case 1: long a; };",
        "module own_msgs {",
        "}",
        "module own_msgs { module msg { struct Test : Base { }; }; };",
        "struct Test { long a; };",
        "@mutable struct Test { long a; };",
        "/* no end",
        "module a { module b { struct Test { long a; }; }; };",
        "",
    ] {
        assert!(text_of("own_msgs/msg/Test", idl).is_err(), "{idl}");
    }
    let deep = "module m { ".repeat(100_000);
    assert!(text_of("own_msgs/msg/Test", &deep).is_err());
    let brackets = format!("@a{}", "(".repeat(100_000));
    assert!(text_of("own_msgs/msg/Test", &brackets).is_err());
}

#[test]
fn the_model_has_the_types_of_the_text() {
    let name = TypeName::parse("own_msgs/msg/Test").unwrap();
    let mut idl = super::IdlDeclarations::default();
    let text = "module own_msgs { module msg { struct Test { octet a; sequence<char, 2> b; }; }; };";
    let definitions = idl.parse(&name, text).unwrap();
    let fields: Vec<_> =
        definitions[0].fields.iter().map(|field| (field.element.clone(), field.arity)).collect();
    assert_eq!(
        fields,
        [
            (Element::Primitive(Primitive::Byte), Arity::One),
            (Element::Primitive(Primitive::U8), Arity::Sequence(Some(2)))
        ]
    );
}
