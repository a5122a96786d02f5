//! Prints coordination documents for people and programs, without terminal control sequences.

use std::io::{IsTerminal as _, Write as _};

use serde::Serialize;
use serde_json::Value;

use crate::command::Failure;
use crate::command::coordination::to_value;
use crate::format;

/// Widest column of a table, except the last.
const COLUMN: usize = 48;
/// Columns of a value in a table.
const VALUE: usize = 120;

/// Prints a document as JSON.
pub fn print_json(document: &impl Serialize) -> Result<(), Failure> {
    print(&escaped(&format!("{:#}", to_value(document))))
}

/// Prints one line of JSON, for followers.
pub fn print_line(document: &impl Serialize) -> Result<(), Failure> {
    print(&escaped(&to_value(document).to_string()))
}

/// Prints a line and flushes it.
pub(super) fn print(line: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// Makes JSON safe for a terminal: JSON already escapes everything below a space.
pub(super) fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\n' => out.push(c),
            c if c.is_control() => out += &format!("\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out
}

/// A value on one line, cut to a table's width.
pub(super) fn short(value: &Value) -> String {
    format::fit(&escaped(&value.to_string()), VALUE)
}

/// Prints a table; columns are as wide as needed, the last one is unlimited.
pub fn print_table(head: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| format::printable(cell)).collect()).collect();
    let wide = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.max().unwrap_or(0).max(head.get(column).map_or(0, |name| name.len())).min(COLUMN)
    };
    let mut out = std::io::stdout().lock();
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    for row in std::iter::once(&head).chain(&rows) {
        let last = row.len().saturating_sub(1);
        let cells = row.iter().enumerate().map(|(column, cell)| match column == last {
            true => cell.clone(),
            false => format::left(cell, wide(column)),
        });
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(out.flush()?)
}

/// Prints a message for a person while standard output is for programs.
pub fn inform(text: &str) {
    if std::io::stderr().is_terminal() {
        eprintln!("{}", format::printable(text));
    }
}

/// Age of a time stamp, by the clocks of two computers.
pub(super) fn ago(then_ns: i64) -> String {
    let now = crate::command::Clock::start().now().wall_ns;
    let age = u64::try_from(now.saturating_sub(then_ns)).unwrap_or(0);
    format::age(std::time::Duration::from_nanos(age))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_steers_a_terminal() {
        let value = Value::from("a\u{1b}[2Jb\u{9b}c\u{7f}\n");
        assert_eq!(short(&value), r#""a\u001b[2Jb\u009bc\u007f\n""#);
    }

    proptest! {
        #[test]
        fn what_is_escaped_reads_the_same(text: String) {
            let json = escaped(&Value::from(text.clone()).to_string());
            prop_assert!(!json.chars().any(char::is_control));
            prop_assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), Value::from(text));
        }
    }
}
