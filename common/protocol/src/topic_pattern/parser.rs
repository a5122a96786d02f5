//! The parser of topic patterns: text to tokens.

use std::iter::Peekable;
use std::str::Chars;

use crate::topic_pattern::{InvalidPattern, Set};

/// One part of a pattern.
#[derive(Clone, Debug)]
pub(super) enum Token {
    /// One character.
    One(Set),
    /// `*`.
    ZeroOrMore,
    /// `**/` at the beginning.
    RecursivePrefix,
    /// `/**` at the end.
    RecursiveSuffix,
    /// `/**/` in between.
    RecursiveZeroOrMore,
    /// `{a,b}`.
    Alternates(Vec<Vec<Token>>),
}

impl Token {
    /// Its only character, if it has one.
    pub(super) fn plain(&self) -> Option<char> {
        match self {
            Token::One(Set::Exactly(c)) => Some(*c),
            _ => None,
        }
    }
}

pub(super) struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
    /// The character before the current one, and the current one.
    previous: Option<char>,
    current: Option<char>,
    /// Where the branches of each open `{` begin in `branches`.
    open: Vec<usize>,
    branches: Vec<Vec<Token>>,
}

impl<'a> Parser<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Vec<Token>, InvalidPattern> {
        let rest = text.chars().peekable();
        let mut parser =
            Parser { rest, previous: None, current: None, open: Vec::new(), branches: vec![Vec::new()] };
        parser.read()?;
        match (parser.branches.pop(), parser.branches.is_empty()) {
            (Some(tokens), true) => Ok(tokens),
            _ => Err(InvalidPattern::UnclosedAlternates),
        }
    }

    fn bump(&mut self) -> Option<char> {
        self.previous = self.current;
        self.current = self.rest.next();
        self.current
    }

    fn peek(&mut self) -> Option<char> {
        self.rest.peek().copied()
    }

    fn read(&mut self) -> Result<(), InvalidPattern> {
        while let Some(c) = self.bump() {
            match c {
                '?' => self.push(Token::One(Set::NotSeparator))?,
                '*' => self.star()?,
                '[' => self.class()?,
                '{' => {
                    self.open.push(self.branches.len());
                    self.branches.push(Vec::new());
                }
                '}' => {
                    let start = self.open.pop().ok_or(InvalidPattern::UnopenedAlternates)?;
                    let branches = self.branches.drain(start..).collect();
                    self.push(Token::Alternates(branches))?;
                }
                ',' if !self.open.is_empty() => self.branches.push(Vec::new()),
                '\\' => {
                    let c = self.bump().ok_or(InvalidPattern::DanglingEscape)?;
                    self.push(Token::One(Set::Exactly(c)))?;
                }
                c => self.push(Token::One(Set::Exactly(c)))?,
            }
        }
        Ok(())
    }

    fn push(&mut self, token: Token) -> Result<(), InvalidPattern> {
        self.branches.last_mut().ok_or(InvalidPattern::UnopenedAlternates)?.push(token);
        Ok(())
    }

    fn push_stars(&mut self) -> Result<(), InvalidPattern> {
        self.push(Token::ZeroOrMore)?;
        self.push(Token::ZeroOrMore)
    }

    /// `*`, or `**`, which crosses separators only as a whole level.
    fn star(&mut self) -> Result<(), InvalidPattern> {
        let previous = self.previous;
        if self.peek() != Some('*') {
            return self.push(Token::ZeroOrMore);
        }
        self.bump();
        let next = self.peek();
        if self.branches.last().is_none_or(Vec::is_empty) {
            if next.is_some_and(|next| next != '/') {
                return self.push_stars();
            }
            self.bump();
            return self.push(Token::RecursivePrefix);
        }
        if previous != Some('/') {
            return self.push_stars();
        }
        let is_suffix = match next {
            None => true,
            Some(',' | '}') if self.branches.len() >= 2 => true,
            Some('/') => {
                self.bump();
                false
            }
            Some(_) => return self.push_stars(),
        };
        // Replaces the separator before it, or joins what has replaced one.
        let token = match self.branches.last_mut().and_then(Vec::pop) {
            Some(token @ (Token::RecursivePrefix | Token::RecursiveSuffix)) => token,
            _ if is_suffix => Token::RecursiveSuffix,
            _ => Token::RecursiveZeroOrMore,
        };
        self.push(token)
    }

    fn class(&mut self) -> Result<(), InvalidPattern> {
        let negated = matches!(self.peek(), Some('!' | '^'));
        if negated {
            self.bump();
        }
        let mut ranges: Vec<(char, char)> = Vec::new();
        let mut in_range = false;
        loop {
            let c = self.bump().ok_or(InvalidPattern::UnclosedClass)?;
            match (c, ranges.last_mut()) {
                (']', Some(_)) => break,
                ('-', Some(_)) if !in_range => in_range = true,
                (c, Some(last)) if in_range => {
                    if c < last.0 {
                        return Err(InvalidPattern::InvalidRange(last.0, c));
                    }
                    last.1 = c;
                    in_range = false;
                }
                (c, _) => ranges.push((c, c)),
            }
        }
        if in_range {
            ranges.push(('-', '-'));
        }
        self.push(Token::One(Set::Class { negated, ranges }))
    }
}
