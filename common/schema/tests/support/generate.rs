//! Random messages of any type, and a second, independent encoder for either byte order.

use std::collections::HashMap;

use roverline_schema::model::{Arity, Definition, Element, Primitive};
use roverline_schema::{Registry, TypeName, Value, parse_definition};

/// A type with all its dependencies, taken from its concatenated text.
pub(crate) struct Definitions {
    root: TypeName,
    all: HashMap<TypeName, Definition>,
}

impl Definitions {
    pub(crate) fn of(registry: &Registry, name: &str) -> Self {
        let root = TypeName::parse(name).unwrap();
        let text = registry.text(name).unwrap();
        let mut all = HashMap::new();
        for (i, part) in text.split(&format!("{}\nMSG: ", "=".repeat(80))).enumerate() {
            let (name, body) = if i == 0 {
                (root.clone(), part)
            } else {
                let (title, body) = part.split_once('\n').unwrap();
                (TypeName::parse(title).unwrap(), body)
            };
            all.insert(name.clone(), parse_definition(&name, body).unwrap());
        }
        Self { root, all }
    }

    pub(crate) fn random(&self, seed: u64) -> Value {
        Random(seed | 1).message(self, &self.root)
    }

    pub(crate) fn encode(&self, value: &Value, big_endian: bool) -> Vec<u8> {
        let mut out = Encoder { body: Vec::new(), big_endian };
        out.message(self, &self.root, value);
        let mut bytes = vec![0, u8::from(!big_endian), 0, 0];
        bytes.extend(out.body);
        bytes
    }
}

/// xorshift; good enough for random fields.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn message(&mut self, all: &Definitions, name: &TypeName) -> Value {
        let fields = &all.all[name].fields;
        Value::Struct(fields.iter().map(|f| (f.name.clone(), self.field(all, &f.element, f.arity))).collect())
    }

    fn field(&mut self, all: &Definitions, element: &Element, arity: Arity) -> Value {
        let count = match arity {
            Arity::One => return self.element(all, element),
            Arity::Array(n) => u64::from(n),
            Arity::Sequence(Some(bound)) => self.next() % (u64::from(bound) + 1),
            Arity::Sequence(None) => self.next() % 4,
        };
        let items = (0..count).map(|_| self.element(all, element));
        match element {
            Element::Primitive(p) if p.is_octet() => {
                Value::Bytes(items.map(|v| u8::try_from(v.as_i128().unwrap()).unwrap()).collect())
            }
            _ => Value::Array(items.collect()),
        }
    }

    fn element(&mut self, all: &Definitions, element: &Element) -> Value {
        const TEXTS: [&str; 6] = ["", "x", "base_link", "a\"b\\c\n\t\u{1}", "Grüße, 火星 🚀", "12345678"];
        match element {
            Element::Message(name) => self.message(all, name),
            Element::String(_) | Element::WString(_) => {
                Value::String(TEXTS[usize::try_from(self.next() % 6).unwrap()].into())
            }
            Element::Primitive(p) => self.number(*p),
        }
    }

    fn number(&mut self, p: Primitive) -> Value {
        const FLOATS: [f64; 6] = [0.0, -0.0, 1.5, f64::MAX, 5e-324, -1e-7];
        let n = self.next();
        match p {
            Primitive::Bool => Value::Bool(n & 1 == 1),
            Primitive::Byte | Primitive::U8 => Value::U8(n as u8),
            Primitive::I8 => Value::I8(n as i8),
            Primitive::U16 => Value::U16(n as u16),
            Primitive::I16 => Value::I16(n as i16),
            Primitive::U32 => Value::U32(n as u32),
            Primitive::I32 => Value::I32(n as i32),
            Primitive::U64 => Value::U64(n),
            Primitive::I64 => Value::I64(n as i64),
            Primitive::F32 => Value::F32(n as i32 as f32 / 1024.0),
            Primitive::F64 if n & 7 < 6 => Value::F64(FLOATS[(n & 7) as usize]),
            Primitive::F64 => Value::F64(n as i64 as f64 / 1e9),
        }
    }
}

struct Encoder {
    body: Vec<u8>,
    big_endian: bool,
}

impl Encoder {
    fn put<const N: usize>(&mut self, mut little: [u8; N]) {
        while !self.body.len().is_multiple_of(N) {
            self.body.push(0xee);
        }
        if self.big_endian {
            little.reverse();
        }
        self.body.extend(little);
    }

    fn count(&mut self, n: usize) {
        self.put(u32::try_from(n).unwrap().to_le_bytes());
    }

    fn message(&mut self, all: &Definitions, name: &TypeName, value: &Value) {
        let fields = &all.all[name].fields;
        for field in fields {
            let value = value.get(&field.name).unwrap();
            if field.arity == Arity::One {
                self.element(all, &field.element, value);
                continue;
            }
            let octets: Vec<Value>;
            let items = match value {
                Value::Bytes(b) => {
                    octets = b.iter().map(|b| Value::U8(*b)).collect();
                    &octets
                }
                other => other.as_array().unwrap(),
            };
            if let Arity::Sequence(_) = field.arity {
                self.count(items.len());
            }
            for item in items {
                self.element(all, &field.element, item);
            }
        }
        if fields.is_empty() {
            self.body.push(0);
        }
    }

    fn element(&mut self, all: &Definitions, element: &Element, value: &Value) {
        match (element, value) {
            (Element::Message(name), value) => self.message(all, name, value),
            (Element::String(_), Value::String(s)) => {
                self.count(s.len() + 1);
                self.body.extend(s.as_bytes());
                self.body.push(0);
            }
            (Element::WString(_), Value::String(s)) => {
                self.count(s.encode_utf16().count());
                s.encode_utf16().for_each(|u| self.put(u32::from(u).to_le_bytes()));
            }
            (_, Value::Bool(v)) => self.put([u8::from(*v)]),
            (_, Value::U8(v)) => self.put(v.to_le_bytes()),
            (_, Value::I8(v)) => self.put(v.to_le_bytes()),
            (_, Value::U16(v)) => self.put(v.to_le_bytes()),
            (_, Value::I16(v)) => self.put(v.to_le_bytes()),
            (_, Value::U32(v)) => self.put(v.to_le_bytes()),
            (_, Value::I32(v)) => self.put(v.to_le_bytes()),
            (_, Value::U64(v)) => self.put(v.to_le_bytes()),
            (_, Value::I64(v)) => self.put(v.to_le_bytes()),
            (_, Value::F32(v)) => self.put(v.to_le_bytes()),
            (_, Value::F64(v)) => self.put(v.to_le_bytes()),
            (element, value) => unreachable!("{element:?} {value}"),
        }
    }
}
