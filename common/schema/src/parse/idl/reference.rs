//! Types of members: primitive types, strings, sequences, and names of what is declared elsewhere.

use crate::TypeName;
use crate::model::{Arity, Element, Primitive};
use crate::name::Kind;
use crate::parse::SyntaxError;
use crate::parse::idl::lexer::Token;
use crate::parse::idl::{MemberType, Parser, unexpected};
use crate::parse::syntax_error::excerpt;

impl<'t> Parser<'_, 't> {
    /// The type in front of a name.
    pub(super) fn member_type(&mut self) -> Result<MemberType, SyntaxError> {
        match self.lexer.peek()? {
            Some(Token::Word("sequence")) => {
                self.lexer.next()?;
                self.sequence()
            }
            _ => self.element_type(),
        }
    }

    /// `sequence<type>` or `sequence<type, bound>`
    fn sequence(&mut self) -> Result<MemberType, SyntaxError> {
        self.require("<")?;
        if self.lexer.peek()? == Some(Token::Word("sequence")) {
            return Err(SyntaxError::Unsupported("a sequence of sequences".to_owned()));
        }
        let (element, arity) = self.element_type()?;
        if arity != Arity::One {
            return Err(SyntaxError::Unsupported("a sequence of arrays or sequences".to_owned()));
        }
        let bound = if self.accept(",")? { Some(self.count()?) } else { None };
        self.require(">")?;
        Ok((element, Arity::Sequence(bound)))
    }

    fn element_type(&mut self) -> Result<MemberType, SyntaxError> {
        if self.accept("::")? {
            let first = self.identifier()?;
            return self.named(first, true);
        }
        let word = match self.lexer.next()? {
            Some(Token::Word(word)) => word,
            other => return Err(unexpected("a type", other)),
        };
        let element = match word {
            "string" => Element::String(self.string_bound()?),
            "wstring" => Element::WString(self.string_bound()?),
            "map" | "fixed" | "any" => return Err(SyntaxError::Unsupported(word.to_owned())),
            word => match self.primitive(word)? {
                Some(primitive) => Element::Primitive(primitive),
                None if crate::name::is_identifier(word) => return self.named(word, false),
                None => return Err(SyntaxError::Type(excerpt(word))),
            },
        };
        Ok((element, Arity::One))
    }

    fn string_bound(&mut self) -> Result<Option<u32>, SyntaxError> {
        if !self.accept("<")? {
            return Ok(None);
        }
        let bound = self.count()?;
        self.require(">")?;
        Ok(Some(bound))
    }

    /// A primitive type that begins with this word; the integers of IDL 3 have up to three.
    fn primitive(&mut self, word: &str) -> Result<Option<Primitive>, SyntaxError> {
        Ok(Some(match word {
            "boolean" => Primitive::Bool,
            "octet" => Primitive::Byte,
            "char" | "uint8" => Primitive::U8,
            "int8" => Primitive::I8,
            "wchar" | "uint16" => Primitive::U16,
            "int16" | "short" => Primitive::I16,
            "uint32" => Primitive::U32,
            "int32" => Primitive::I32,
            "uint64" => Primitive::U64,
            "int64" => Primitive::I64,
            "float" => Primitive::F32,
            "double" => Primitive::F64,
            "long" => match self.lexer.peek()? {
                Some(Token::Word("double")) => {
                    return Err(SyntaxError::Unsupported("long double".to_owned()));
                }
                _ if self.accept_word("long")? => Primitive::I64,
                _ => Primitive::I32,
            },
            "unsigned" if self.accept_word("short")? => Primitive::U16,
            "unsigned" if self.accept_word("long")? => {
                if self.accept_word("long")? {
                    Primitive::U64
                } else {
                    Primitive::U32
                }
            }
            "unsigned" => return Err(unexpected("an integer type", self.lexer.next()?)),
            _ => return Ok(None),
        }))
    }

    fn accept_word(&mut self, word: &str) -> Result<bool, SyntaxError> {
        let next = self.lexer.peek()? == Some(Token::Word(word));
        if next {
            self.lexer.next()?;
        }
        Ok(next)
    }

    /// A bound: a positive number, or a constant's name.
    pub(super) fn count(&mut self) -> Result<u32, SyntaxError> {
        let word = match self.lexer.next()? {
            Some(Token::Word(word)) => word,
            other => return Err(unexpected("a number", other)),
        };
        let number = match word.parse() {
            Ok(number) => Some(number),
            Err(_) => {
                let parts = self.scoped_name(word)?;
                self.candidates(&parts, false).find_map(|name| self.known.numbers.get(&name).copied())
            }
        };
        number.filter(|number| *number > 0).ok_or_else(|| SyntaxError::Count(excerpt(word)))
    }

    /// The rest of `a::b::c`.
    fn scoped_name(&mut self, first: &'t str) -> Result<Vec<&'t str>, SyntaxError> {
        let mut parts = vec![first];
        while self.accept("::")? {
            parts.push(self.identifier()?);
            if parts.len() > super::MAX_MODULE_LEVELS {
                return Err(SyntaxError::Type(excerpt(&parts.join("::"))));
            }
        }
        Ok(parts)
    }

    /// The whole names that a name may stand for, from the innermost module outwards.
    fn candidates(&self, parts: &[&str], absolute: bool) -> impl Iterator<Item = String> {
        let name = parts.join("::");
        let levels = if absolute { 0..=0 } else { 0..=self.modules.len() };
        levels.rev().map(move |level| match level {
            0 => name.clone(),
            level => format!("{}::{name}", self.modules[..level].join("::")),
        })
    }

    /// A typedef, an enum or a message.
    fn named(&mut self, first: &'t str, absolute: bool) -> Result<MemberType, SyntaxError> {
        let parts = self.scoped_name(first)?;
        let alias = self.candidates(&parts, absolute).find_map(|name| self.known.aliases.get(&name).cloned());
        if let Some(aliased) = alias {
            return Ok(aliased);
        }
        let message = match (&parts[..], &self.modules[..]) {
            ([package, kind, short], _) => {
                Kind::from_word(kind).and_then(|kind| TypeName::from_parts(package, kind, short))
            }
            ([kind, short], [package, ..]) if !absolute => match Kind::from_word(kind) {
                Some(kind) => TypeName::from_parts(package, kind, short),
                None => TypeName::from_parts(kind, Kind::Msg, short),
            },
            ([package, short], _) => TypeName::from_parts(package, Kind::Msg, short),
            ([short], _) if !absolute => self.type_name(short),
            _ => None,
        };
        let message = message.ok_or_else(|| SyntaxError::Type(excerpt(&parts.join("::"))))?;
        Ok((Element::Message(message), Arity::One))
    }
}
