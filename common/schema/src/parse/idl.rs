//! Parser for `ros2idl`: message definitions in the OMG Interface Definition Language (IDL 4.2), as far as
//! ROS 2 messages use it (REP 2011 names the encoding; the ROS 2 design article "Interface definition using .idl"
//! the subset).
//!
//! The result is the same as that of `ros2msg` text, and so is the text of the definitions: everything behind the
//! parser knows one language only.

mod declaration;
mod lexer;
mod reference;
mod render;

use std::collections::HashMap;

use crate::limits::MAX_TEXT_DEFINITIONS;
use crate::model::{Arity, Constant, Definition, Element};
use crate::name::Kind;
use crate::parse::SyntaxError;
use crate::parse::idl::lexer::{Lexer, Token};
use crate::parse::syntax_error::excerpt;
use crate::{SchemaError, TypeName};

/// Modules within modules; ROS needs two.
const MAX_MODULE_LEVELS: usize = 8;

/// A type of a member: of one element, and how many of them.
type MemberType = (Element, Arity);

/// The declarations of all sections of a text. A section may use what later ones declare, so they are parsed
/// from the last to the first.
#[derive(Default)]
pub(super) struct IdlDeclarations {
    /// Typedefs and enums, by their whole name (`pkg::msg::Name`).
    aliases: HashMap<String, MemberType>,
    /// Integer constants by their whole name; bounds may refer to them.
    numbers: HashMap<String, u32>,
    /// Constants by the whole name of their module.
    constants: HashMap<String, Vec<Constant>>,
}

impl IdlDeclarations {
    /// Parses a section for `root`. Returns the messages that it defines.
    pub(super) fn parse(&mut self, root: &TypeName, text: &str) -> Result<Vec<Definition>, SchemaError> {
        let mut parser =
            Parser { known: self, lexer: Lexer::new(text), modules: Vec::new(), found: Vec::new() };
        match parser.section() {
            Ok(()) => Ok(parser.found),
            Err(error) => {
                let line = parser.lexer.line();
                Err(SchemaError::Syntax { type_name: root.to_string(), line, error })
            }
        }
    }
}

/// The state of one section.
struct Parser<'a, 't> {
    known: &'a mut IdlDeclarations,
    lexer: Lexer<'t>,
    /// The modules around the current position.
    modules: Vec<&'t str>,
    found: Vec<Definition>,
}

impl<'t> Parser<'_, 't> {
    fn section(&mut self) -> Result<(), SyntaxError> {
        while let Some(token) = self.lexer.next()? {
            match token {
                Token::Word("module") => self.module()?,
                Token::Symbol("}") if self.modules.pop().is_some() => {}
                Token::Symbol(";") => {}
                Token::Symbol("@") => {
                    self.annotation()?;
                }
                Token::Word("typedef") => self.typedef()?,
                Token::Word("const") => self.constant()?,
                Token::Word("enum") => self.enumeration()?,
                Token::Word("struct") => self.structure()?,
                Token::Word(other) => return Err(SyntaxError::Unsupported(excerpt(other))),
                other => return Err(unexpected("a declaration", Some(other))),
            }
        }
        match self.modules.is_empty() {
            true => Ok(()),
            false => Err(unexpected("`}`", None)),
        }
    }

    fn module(&mut self) -> Result<(), SyntaxError> {
        let name = self.identifier()?;
        if self.modules.len() >= MAX_MODULE_LEVELS {
            return Err(SyntaxError::Unsupported(format!("module {}", excerpt(name))));
        }
        self.modules.push(name);
        self.require("{")
    }

    /// The whole name of something that is declared here.
    fn whole_name(&self, name: &str) -> String {
        let mut whole = String::new();
        for module in &self.modules {
            whole.push_str(module);
            whole.push_str("::");
        }
        whole + name
    }

    /// The message type of a struct that is declared here.
    fn type_name(&self, short: &str) -> Option<TypeName> {
        match self.modules[..] {
            [package] => TypeName::from_parts(package, Kind::Msg, short),
            [package, kind] => TypeName::from_parts(package, Kind::from_word(kind)?, short),
            _ => None,
        }
    }

    fn define(&mut self, definition: Definition) -> Result<(), SyntaxError> {
        if self.found.len() >= MAX_TEXT_DEFINITIONS {
            return Err(SyntaxError::TooManyStructs(MAX_TEXT_DEFINITIONS));
        }
        self.found.push(definition);
        Ok(())
    }

    fn identifier(&mut self) -> Result<&'t str, SyntaxError> {
        match self.lexer.next()? {
            Some(Token::Word(word)) if crate::name::is_identifier(word) => Ok(word),
            other => Err(unexpected("a name", other)),
        }
    }

    fn require(&mut self, symbol: &'static str) -> Result<(), SyntaxError> {
        match self.lexer.next()? {
            Some(Token::Symbol(found)) if found == symbol => Ok(()),
            other => Err(unexpected(symbol, other)),
        }
    }

    /// Takes the symbol if it is next.
    fn accept(&mut self, symbol: &str) -> Result<bool, SyntaxError> {
        let next = self.lexer.peek()? == Some(Token::Symbol(symbol));
        if next {
            self.lexer.next()?;
        }
        Ok(next)
    }
}

#[cold]
fn unexpected(expected: &'static str, found: Option<Token<'_>>) -> SyntaxError {
    let found = match found {
        Some(Token::Word(text) | Token::Text(text) | Token::Symbol(text)) => format!("`{}`", excerpt(text)),
        None => "the end".to_owned(),
    };
    SyntaxError::Unexpected { expected, found }
}

#[cfg(test)]
mod tests;
