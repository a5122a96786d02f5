//! Splits IDL text into words, string literals and symbols; comments and preprocessor lines are skipped.

use crate::parse::SyntaxError;
use crate::parse::syntax_error::excerpt;

/// One token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'t> {
    /// A name, a keyword or a number.
    Word(&'t str),
    /// A string or character literal, without its quotes and with its escapes.
    Text(&'t str),
    /// `::`, or one other character.
    Symbol(&'t str),
}

/// The tokens of a text.
pub(super) struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Lexer<'t> {
        Lexer { text, at: 0 }
    }

    /// The line of the current position, from 1.
    pub(super) fn line(&self) -> usize {
        self.text.as_bytes()[..self.at].iter().filter(|byte| **byte == b'\n').count() + 1
    }

    /// The next token, which stays the next one.
    pub(super) fn peek(&mut self) -> Result<Option<Token<'t>>, SyntaxError> {
        let at = self.at;
        let token = self.next();
        self.at = at;
        token
    }

    /// The next token; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Token<'t>>, SyntaxError> {
        self.skip_space()?;
        let rest = &self.text[self.at..];
        let Some(first) = rest.chars().next() else { return Ok(None) };
        if first == '"' || first == '\'' {
            return self.literal(first).map(Some);
        }
        let end = match first {
            _ if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            ':' if rest.starts_with("::") => 2,
            other => other.len_utf8(),
        };
        self.at += end;
        let token = &rest[..end];
        Ok(Some(if is_word(first) { Token::Word(token) } else { Token::Symbol(token) }))
    }

    fn literal(&mut self, quote: char) -> Result<Token<'t>, SyntaxError> {
        let inside = &self.text[self.at + 1..];
        let mut escaped = false;
        for (at, c) in inside.char_indices() {
            match c {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                _ if c == quote => {
                    self.at += 1 + at + 1;
                    return Ok(Token::Text(&inside[..at]));
                }
                _ => {}
            }
        }
        Err(SyntaxError::Unexpected { expected: "a closing quote", found: format!("`{}`", excerpt(inside)) })
    }

    fn skip_space(&mut self) -> Result<(), SyntaxError> {
        loop {
            let rest = &self.text[self.at..];
            let space = rest.len() - rest.trim_start().len();
            let rest = &rest[space..];
            self.at += space;
            let skipped = if rest.starts_with("//") || rest.starts_with('#') {
                rest.find('\n').unwrap_or(rest.len())
            } else if rest.starts_with("/*") {
                let end = rest.find("*/").map(|end| end + 2);
                end.ok_or_else(|| SyntaxError::Unexpected { expected: "`*/`", found: "the end".to_owned() })?
            } else {
                return Ok(());
            };
            self.at += skipped;
        }
    }
}

/// Whether a character belongs to a name or a number (`1.5`).
fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '.'
}
