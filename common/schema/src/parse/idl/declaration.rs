//! Declarations: structs, typedefs, constants, enums and annotations.

use std::collections::HashSet;

use crate::limits::MAX_FIELDS;
use crate::model::{Arity, Constant, Definition, Element, Field, Primitive};
use crate::parse::SyntaxError;
use crate::parse::default::parse_default;
use crate::parse::idl::lexer::Token;
use crate::parse::idl::{MemberType, Parser, render, unexpected};
use crate::parse::syntax_error::excerpt;

/// The end of the name of the module with a struct's constants (ROS 2's convention).
const CONSTANTS: &str = "_Constants";

impl<'t> Parser<'_, 't> {
    /// `struct Name { members };`
    pub(super) fn structure(&mut self) -> Result<(), SyntaxError> {
        let short = self.identifier()?;
        if self.accept(";")? {
            return Ok(()); // declared before it is defined
        }
        if self.accept(":")? {
            return Err(SyntaxError::Unsupported("a struct that extends another one".to_owned()));
        }
        self.require("{")?;
        let (mut fields, mut names) = (Vec::new(), HashSet::new());
        while !self.accept("}")? {
            let before = fields.len();
            self.member(&mut fields)?;
            if fields.len() > MAX_FIELDS {
                return Err(SyntaxError::TooManyFields(MAX_FIELDS));
            }
            if let Some(twice) = fields[before..].iter().find(|field| !names.insert(field.name.clone())) {
                return Err(SyntaxError::DuplicateField(twice.name.to_string()));
            }
        }
        let name =
            self.type_name(short).ok_or_else(|| SyntaxError::Type(excerpt(&self.whole_name(short))))?;
        let constants = self.known.constants.get(&self.whole_name(&format!("{short}{CONSTANTS}")));
        let constants = constants.cloned().unwrap_or_default();
        let text = render::message_text(&constants, &fields).into();
        self.define(Definition { name, fields, constants, text })
    }

    /// `@annotation type name, other[3];`
    fn member(&mut self, fields: &mut Vec<Field>) -> Result<(), SyntaxError> {
        let mut default = None;
        while self.accept("@")? {
            let (name, value) = self.annotation()?;
            match name {
                "default" => default = Some(value),
                "optional" => return Err(SyntaxError::Unsupported("@optional".to_owned())),
                _ => {}
            }
        }
        let base = self.member_type()?;
        loop {
            let name = self.identifier()?;
            // An underscore in front escapes a keyword (IDL 4.2, 7.2.3.2); no ROS name begins with one.
            let name = name.strip_prefix('_').filter(|rest| !rest.is_empty()).unwrap_or(name);
            let (element, arity) = self.declarator(base.clone())?;
            // A default that cannot be read is as good as none: it is not on the wire.
            let default =
                default.as_deref().and_then(|text| parse_default(&element, arity, text).ok()).flatten();
            fields.push(Field { name: name.into(), element, arity, default });
            if !self.accept(",")? {
                return self.require(";");
            }
        }
    }

    /// The dimensions behind a name. Arrays of arrays are one array on the wire.
    fn declarator(&mut self, (element, mut arity): MemberType) -> Result<MemberType, SyntaxError> {
        while self.accept("[")? {
            let count = self.count()?;
            self.require("]")?;
            let whole = match arity {
                Arity::One => Some(count),
                Arity::Array(before) => before.checked_mul(count),
                Arity::Sequence(_) => {
                    return Err(SyntaxError::Unsupported("an array of sequences".to_owned()));
                }
            };
            arity = Arity::Array(whole.ok_or_else(|| SyntaxError::Count(count.to_string()))?);
        }
        Ok((element, arity))
    }

    /// `typedef type name[36];`
    pub(super) fn typedef(&mut self) -> Result<(), SyntaxError> {
        let base = self.member_type()?;
        loop {
            let name = self.identifier()?;
            let aliased = self.declarator(base.clone())?;
            let whole = self.whole_name(name);
            self.known.aliases.insert(whole, aliased);
            if !self.accept(",")? {
                return self.require(";");
            }
        }
    }

    /// `const type NAME = value;`
    pub(super) fn constant(&mut self) -> Result<(), SyntaxError> {
        let (element, arity) = self.member_type()?;
        let name = self.identifier()?;
        self.require("=")?;
        let mut value = String::new();
        let text = loop {
            match self.lexer.next()? {
                Some(Token::Symbol(";")) => break None,
                Some(Token::Text(text)) => {
                    self.require(";")?;
                    break Some(text);
                }
                Some(Token::Word(word)) => value.push_str(word),
                Some(Token::Symbol(symbol)) => value.push_str(symbol),
                None => return Err(unexpected(";", None)),
            }
        };
        let value = text.map(str::to_owned).unwrap_or(value);
        if let Ok(number) = value.parse() {
            let whole = self.whole_name(name);
            self.known.numbers.insert(whole, number);
        }
        let module = self.modules.join("::");
        let type_text = render::type_text(&element, arity);
        let constants = self.known.constants.entry(module).or_default();
        if constants.len() >= MAX_FIELDS {
            return Err(SyntaxError::TooManyFields(MAX_FIELDS));
        }
        constants.push(Constant { name: name.into(), type_text, value_text: value });
        Ok(())
    }

    /// `enum Name { A, B };` is a number of four bytes on the wire.
    pub(super) fn enumeration(&mut self) -> Result<(), SyntaxError> {
        let name = self.identifier()?;
        self.require("{")?;
        loop {
            match self.lexer.next()? {
                Some(Token::Symbol("}")) => break,
                Some(_) => {}
                None => return Err(unexpected("}", None)),
            }
        }
        let whole = self.whole_name(name);
        self.known.aliases.insert(whole, (Element::Primitive(Primitive::U32), Arity::One));
        Ok(())
    }

    /// An annotation, from behind its `@`. Returns its name, and the text of its last value.
    pub(super) fn annotation(&mut self) -> Result<(&'t str, String), SyntaxError> {
        let mut name = self.identifier()?;
        while self.accept("::")? {
            name = self.identifier()?;
        }
        let (mut value, mut depth) = (String::new(), 0);
        if self.accept("(")? {
            depth = 1;
        }
        while depth > 0 {
            match self.lexer.next()?.ok_or_else(|| unexpected(")", None))? {
                Token::Symbol("(") => depth += 1,
                Token::Symbol(")") => depth -= 1,
                Token::Symbol("=" | ",") => value.clear(),
                Token::Word(text) | Token::Symbol(text) => value.push_str(text),
                Token::Text(text) => value = format!("\"{text}\""),
            }
        }
        if name == "mutable" || (name == "extensibility" && value == "MUTABLE") {
            return Err(SyntaxError::Unsupported("a mutable struct".to_owned()));
        }
        Ok((name, value))
    }
}
