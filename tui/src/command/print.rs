//! Printing: all output of the program, except the console's screen: no other module writes to standard output
//! or standard error. Control characters are escaped, so no printed text can control the terminal.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use roverline_protocol::printable::{printable_json, printable_lines};
use serde::Serialize;
use serde_json::Value;

use crate::command::Failure;
use crate::format;

/// Widest column of a table, except the last.
const COLUMN: usize = 48;
/// Columns of a value in a table.
const VALUE: usize = 120;

/// Prints a document as JSON.
pub fn print_json(document: &impl Serialize) -> Result<(), Failure> {
    print(&printable_json(&format!("{:#}", to_value(document))))
}

/// Prints one line of JSON, for followers.
pub fn print_line(document: &impl Serialize) -> Result<(), Failure> {
    print(&printable_json(&to_value(document).to_string()))
}

/// Our own types always serialize.
fn to_value(document: &impl Serialize) -> Value {
    serde_json::to_value(document).unwrap_or_default()
}

/// Prints a line and flushes it.
pub fn print(line: &str) -> Result<(), Failure> {
    print_text(&format!("{line}\n"))
}

/// Prints lines with one write, flushed, so that a reader never waits for half of them.
pub fn print_text(text: &str) -> Result<(), Failure> {
    print_own(printable_lines(text).as_bytes())
}

/// Prints bytes that this program made alone: a completion script.
pub fn print_own(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// Prints why something does not work, to standard error.
pub fn complain(why: impl Display) {
    eprintln!("roverline: {}", printable_lines(&why.to_string()));
}

/// Replaces or removes the progress line, if standard error is a terminal.
pub fn show_progress(text: Option<&str>) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{}", format::printable(text.unwrap_or_default()));
    }
}

/// The author of an action: the proven identity, and the name that the client declares. The latter may be
/// anything, so it never stands alone where there is an identity.
pub(crate) fn identity(by: Option<&str>, client: Option<&str>) -> String {
    match (by, client.filter(|client| !client.is_empty())) {
        (Some(by), Some(client)) if by != client => format!("{by} as {client}"),
        (Some(by), _) => by.to_owned(),
        (None, client) => client.unwrap_or_default().to_owned(),
    }
}

/// A value on one line, cut to a table's width.
pub(crate) fn short(value: &Value) -> String {
    format::fit(&printable_json(&value.to_string()), VALUE)
}

/// Prints a table.
pub fn print_table(head: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    print_text(&table(head, rows))
}

/// The lines of a table; columns are as wide as needed, the last one is unlimited.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| format::printable(cell)).collect()).collect();
    let wide = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.max().unwrap_or(0).max(head.get(column).map_or(0, |name| name.len())).min(COLUMN)
    };
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    let mut out = String::new();
    for row in std::iter::once(&head).chain(&rows) {
        let last = row.len().saturating_sub(1);
        let cells = row.iter().enumerate().map(|(column, cell)| match column == last {
            true => cell.clone(),
            false => format::left(cell, wide(column)),
        });
        out += cells.collect::<Vec<_>>().join("  ").trim_end();
        out.push('\n');
    }
    out
}

/// Prints a message for a person while standard output is for programs.
pub fn inform(text: &str) {
    if std::io::stderr().is_terminal() {
        eprintln!("{}", format::printable(text));
    }
}

/// Age of a time stamp, by the clocks of two computers.
pub(crate) fn ago(then_ns: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let now = i64::try_from(now).unwrap_or(0);
    let age = u64::try_from(now.saturating_sub(then_ns)).unwrap_or(0);
    format::age(std::time::Duration::from_nanos(age))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_calls_itself_stands_beside_its_identity() {
        assert_eq!(identity(Some("ada"), Some("console")), "ada as console");
        assert_eq!(identity(Some("ada"), Some("ada")), "ada");
        assert_eq!(
            (identity(Some("ada"), None), identity(Some("ada"), Some(""))),
            ("ada".into(), "ada".into())
        );
        assert_eq!(
            (identity(None, Some("console")), identity(None, None)),
            ("console".into(), String::new())
        );
    }

    #[test]
    fn a_value_in_a_table_steers_nothing() {
        let value = Value::from("a\u{1b}[2Jb\u{9b}c\u{7f}\n\u{202e}");
        assert_eq!(short(&value), r#""a\u001b[2Jb\u009bc\u007f\n\u202e""#);
    }
}
