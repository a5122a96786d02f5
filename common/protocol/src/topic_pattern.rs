//! A topic pattern: a small language of names, matched in time linear in pattern and name, without a compiler.
//!
//! | written | matches |
//! |---|---|
//! | `*` | any characters but `/` |
//! | `**` | as a whole level (`**/x`, `/a/**`, `/a/**/x`): any number of levels |
//! | `?` | one character but `/` |
//! | `[abc]`, `[a-z]`, `[!a-z]` | one of these characters, or none of them |
//! | `{a,b,}` | one of these patterns |
//! | `\x` | the character x |

mod parser;

use crate::topic_pattern::parser::{Parser, Token};

/// Longest pattern.
pub const PATTERN_CHARS: usize = 1_024;
/// Steps of one pattern that are not a leading plain text; see [`TopicPattern::cost`].
pub const PATTERN_STEPS: usize = 1_023;
const WORD_BITS: usize = u64::BITS as usize;
const WORDS: usize = PATTERN_STEPS / WORD_BITS + 1;

/// A malformed pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPattern {
    /// It is too long.
    #[error("a pattern may have {PATTERN_CHARS} characters")]
    TooLong,
    /// It is too costly to match.
    #[error("the pattern is too costly: it may have {PATTERN_STEPS} steps after its plain beginning")]
    TooCostly,
    /// `[` without `]`.
    #[error("a character class is not closed: write ']'")]
    UnclosedClass,
    /// `[z-a]`.
    #[error("the range {0}-{1} of a character class is empty: write the smaller character first")]
    InvalidRange(char, char),
    /// `{` without `}`.
    #[error("alternatives are not closed: write '}}'")]
    UnclosedAlternates,
    /// `}` without `{`.
    #[error("alternatives are closed that were not opened: write '{{'")]
    UnopenedAlternates,
    /// `\` at the end.
    #[error("a character is missing after the last '\\'")]
    DanglingEscape,
}

/// The characters that one step accepts.
#[derive(Clone, Debug)]
enum Set {
    Exactly(char),
    NotSeparator,
    Any,
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl Set {
    fn contains(&self, c: char) -> bool {
        match self {
            Set::Exactly(own) => *own == c,
            Set::NotSeparator => c != '/',
            Set::Any => true,
            Set::Class { negated, ranges } => {
                ranges.iter().any(|&(first, last)| (first..=last).contains(&c)) != *negated
            }
        }
    }
}

/// One state of the matcher. Every transition that consumes nothing leads forward.
#[derive(Clone, Debug)]
enum Step {
    /// Consumes one character and continues.
    One(Set),
    /// Continues, or consumes a character and stays.
    Many(Set),
    /// Continues, or goes to this step.
    Fork(usize),
    /// Goes to this step.
    Jump(usize),
}

/// A pattern of topic names.
///
/// ```
/// use roverline_protocol::topic_pattern::TopicPattern;
/// let pattern = TopicPattern::parse("/motor/*/{temperature,current}")?;
/// assert!(pattern.is_match("/motor/left/current"));
/// assert!(!pattern.is_match("/motor/left/rear/current"));
/// # Ok::<(), roverline_protocol::topic_pattern::InvalidPattern>(())
/// ```
#[derive(Clone, Debug)]
pub struct TopicPattern {
    /// The plain text that every match begins with.
    prefix: String,
    /// The steps after the prefix; without a step the pattern is one name.
    steps: Vec<Step>,
    cost: usize,
}

impl TopicPattern {
    /// Parses a pattern, in time linear in its length.
    pub fn parse(text: &str) -> Result<TopicPattern, InvalidPattern> {
        if text.len() > PATTERN_CHARS {
            return Err(InvalidPattern::TooLong);
        }
        let Some(special) = text.find(['*', '?', '[', '{', '}', '\\']) else {
            return Ok(TopicPattern::exactly(text));
        };
        // The plain beginning is not parsed, except for its last character, which `**` may depend on.
        let beginning = text[..special].char_indices().next_back().map_or(0, |(at, _)| at);
        let tokens = Parser::parse(&text[beginning..])?;
        let is_plain = |token: &&Token| matches!(token, Token::One(Set::Exactly(_)));
        let plain = tokens.iter().take_while(is_plain).count();
        let (plain, rest) = tokens.split_at(plain);
        let mut prefix = text[..beginning].to_owned();
        prefix.extend(plain.iter().filter_map(Token::plain));
        let mut steps = Vec::with_capacity(rest.len());
        match rest {
            // On its own it also matches names without a level.
            [Token::RecursivePrefix] if prefix.is_empty() => steps.push(Step::Many(Set::Any)),
            rest => emit(rest, &mut steps),
        }
        let cost = steps.iter().map(step_cost).sum();
        if cost > PATTERN_STEPS {
            return Err(InvalidPattern::TooCostly);
        }
        Ok(TopicPattern { prefix, steps, cost })
    }

    /// The pattern that matches only this name.
    pub fn exactly(name: &str) -> TopicPattern {
        TopicPattern { prefix: name.to_owned(), steps: Vec::new(), cost: 0 }
    }

    /// The text of the pattern that matches only this name.
    pub fn escape(name: &str) -> String {
        let mut escaped = String::with_capacity(name.len());
        for c in name.chars() {
            if matches!(c, '*' | '?' | '[' | ']' | '{' | '}' | '\\') {
                escaped.push('\\');
            }
            escaped.push(c);
        }
        escaped
    }

    /// The only name that it matches, if it is one.
    pub fn name(&self) -> Option<&str> {
        self.steps.is_empty().then_some(self.prefix.as_str())
    }

    /// Its cost: a match takes at most this many steps per character of the name. A plain name costs
    /// nothing, and neither does the plain beginning of a pattern.
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// Whether it matches the whole name.
    pub fn is_match(&self, name: &str) -> bool {
        let Some(rest) = name.strip_prefix(self.prefix.as_str()) else { return false };
        if self.steps.is_empty() {
            return rest.is_empty();
        }
        let end = self.steps.len();
        let mut active = States::default();
        active.insert(0);
        for c in rest.chars() {
            let mut next = States::default();
            self.advance(&mut active, |step, set| {
                if set.contains(c) {
                    next.insert(step);
                }
            });
            if next.is_empty(end) {
                return false;
            }
            active = next;
        }
        self.advance(&mut active, |_, _| {});
        active.contains(end)
    }

    /// Follows the transitions that consume nothing, and calls `consume` with the others: where each leads,
    /// and what it consumes. One pass in ascending order suffices, because they all lead forward.
    fn advance(&self, active: &mut States, mut consume: impl FnMut(usize, &Set)) {
        let mut word = 0;
        let mut done = 0u64;
        while word <= self.steps.len() / WORD_BITS {
            let waiting = active.0[word] & !done;
            if waiting == 0 {
                (word, done) = (word + 1, 0);
                continue;
            }
            let bit = waiting.trailing_zeros() as usize;
            done |= 1 << bit;
            let at = word * WORD_BITS + bit;
            match self.steps.get(at) {
                Some(Step::One(set)) => consume(at + 1, set),
                Some(Step::Many(set)) => {
                    consume(at, set);
                    active.insert(at + 1);
                }
                Some(Step::Fork(other)) => {
                    active.insert(at + 1);
                    active.insert(*other);
                }
                Some(Step::Jump(to)) => active.insert(*to),
                None => {}
            }
        }
    }
}

/// The active states, one bit each.
#[derive(Clone, Copy, Default)]
struct States([u64; WORDS]);

impl States {
    fn insert(&mut self, state: usize) {
        self.0[state / WORD_BITS] |= 1 << (state % WORD_BITS);
    }

    fn contains(&self, state: usize) -> bool {
        self.0[state / WORD_BITS] & (1 << (state % WORD_BITS)) != 0
    }

    /// Whether there is none up to `last`.
    fn is_empty(&self, last: usize) -> bool {
        self.0[..=last / WORD_BITS].iter().all(|word| *word == 0)
    }
}

fn step_cost(step: &Step) -> usize {
    match step {
        Step::One(Set::Class { ranges, .. }) => 1 + ranges.len(),
        _ => 1,
    }
}

fn emit(tokens: &[Token], steps: &mut Vec<Step>) {
    let levels = |steps: &mut Vec<Step>| {
        // Nothing, or anything that ends with a separator.
        steps.push(Step::Fork(steps.len() + 3));
        steps.push(Step::Many(Set::Any));
        steps.push(Step::One(Set::Exactly('/')));
    };
    for token in tokens {
        match token {
            Token::One(set) => steps.push(Step::One(set.clone())),
            Token::ZeroOrMore => steps.push(Step::Many(Set::NotSeparator)),
            Token::RecursivePrefix => levels(steps),
            Token::RecursiveSuffix => {
                steps.push(Step::One(Set::Exactly('/')));
                steps.push(Step::Many(Set::Any));
            }
            Token::RecursiveZeroOrMore => {
                steps.push(Step::One(Set::Exactly('/')));
                levels(steps);
            }
            Token::Alternates(branches) => emit_alternates(branches, steps),
        }
    }
}

fn emit_alternates(branches: &[Vec<Token>], steps: &mut Vec<Step>) {
    let mut exits = Vec::new();
    for (index, branch) in branches.iter().enumerate() {
        let is_last = index + 1 == branches.len();
        let fork = steps.len();
        if !is_last {
            steps.push(Step::Fork(0));
        }
        emit(branch, steps);
        if !is_last {
            exits.push(steps.len());
            steps.push(Step::Jump(0));
            steps[fork] = Step::Fork(steps.len());
        }
    }
    let end = steps.len();
    for exit in exits {
        steps[exit] = Step::Jump(end);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The language before it had a matcher of its own.
    fn reference(pattern: &str) -> Option<globset::GlobMatcher> {
        let mut builder = globset::GlobBuilder::new(pattern);
        Some(builder.literal_separator(true).empty_alternates(true).build().ok()?.compile_matcher())
    }

    fn check(pattern: &str, name: &str) -> Result<(), TestCaseError> {
        match (TopicPattern::parse(pattern), reference(pattern)) {
            (Ok(own), Some(known)) => {
                prop_assert_eq!(
                    own.is_match(name),
                    known.is_match(name),
                    "{} on {}: {:?}",
                    pattern,
                    name,
                    own
                );
            }
            (Err(InvalidPattern::TooCostly), _) | (Err(_), None) => {}
            (own, known) => prop_assert!(false, "{}: {:?}, {:?}", pattern, own, known.is_some()),
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn patterns_mean_what_they_meant_before(
            pattern in r"([ab/]|\*|\*\*|\*\*/|/\*\*|\?|\[ab\]|\[!a\]|\[a-b/\]|\{|\}|,|\{a,b/\}|\{,/\*\*\}|\\[a*]){0,9}",
            names in prop::collection::vec("[ab/]{0,9}", 1..8),
        ) {
            for name in &names {
                check(&pattern, name)?;
            }
        }

        #[test]
        fn any_text_is_parsed_as_before(pattern in r"[ab/*?\[\]{},\\!^-]{0,24}", name in "[ab/,*-]{0,6}") {
            // The old parser took an escaped delimiter for the delimiter.
            prop_assume!(!pattern.contains("\\{*") && !pattern.contains("\\,*"));
            check(&pattern, &name)?;
        }

        #[test]
        fn an_escaped_name_matches_itself_only(name in r"[ab*?\[\]{},\\!-]{0,12}", other in "[ab*?]{0,12}") {
            let pattern = TopicPattern::parse(&TopicPattern::escape(&name)).unwrap();
            prop_assert_eq!(pattern.name(), Some(name.as_str()));
            prop_assert!(pattern.is_match(&name));
            prop_assert_eq!(pattern.is_match(&other), name == other);
        }
    }

    #[test]
    fn a_plain_beginning_costs_nothing() {
        let cost = |text: &str| TopicPattern::parse(text).unwrap().cost();
        assert_eq!((cost("/imu/data"), cost("/imu/*"), cost("/imu/**"), cost("**")), (0, 1, 2, 1));
        assert_eq!(cost("/imu/[a-z0-9]"), 3);
        assert_eq!(TopicPattern::parse("/a").unwrap().name(), Some("/a"));
        assert_eq!(TopicPattern::parse("/a*").unwrap().name(), None);
    }

    #[test]
    fn limits_are_named() {
        let error = |text: String| TopicPattern::parse(&text).unwrap_err().to_string();
        assert!(error("x".repeat(PATTERN_CHARS + 1)).contains("1024 characters"));
        assert!(error(format!("{{{}}}", ",".repeat(1_000))).contains("1023 steps"));
        assert!(error("/a/[".to_owned()).contains("write ']'"));
    }

    #[test]
    fn the_worst_pattern_takes_steps_and_not_seconds() {
        // Quadratic at most: each character of the name visits each step once.
        let worst = TopicPattern::parse(&format!("{}b", "*a".repeat(500))).unwrap();
        let begun = std::time::Instant::now();
        assert!(!worst.is_match(&"a".repeat(1_000)));
        assert!(begun.elapsed() < std::time::Duration::from_secs(2), "{:?}", begun.elapsed());
    }
}
