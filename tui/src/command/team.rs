//! `roverline locks`, `queues`, `kv` and `events`: what a team of operators shares.

pub mod locks;

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use roverline_link::{Config, Event, Events, Link, REQUEST_LOST};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Failure, at_once};
use crate::format;

/// How long an answer takes at most, beside what was asked to wait for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the first endpoint may take to answer.
const CONNECT: Duration = Duration::from_secs(3);

/// A link on which the team's things are asked for.
#[derive(Debug)]
pub struct Team {
    link: Link,
    events: Events,
    urls: Vec<String>,
}

/// A refusal as the API words it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status of HTTP, or [`REQUEST_LOST`].
    pub status: u16,
    /// A sentence.
    pub why: String,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure::Nothing(format::printable(&refusal.why))
    }
}

impl Team {
    /// Opens a link and waits for an endpoint.
    pub async fn open(config: Config) -> Result<Team, Failure> {
        let urls = config.endpoints.clone();
        let (link, mut events) = Link::open(at_once(config));
        let there = async {
            while let Some(event) = events.next().await {
                if matches!(&event, Event::Failover(failover) if failover.to.is_some()) {
                    return true;
                }
            }
            false
        };
        match tokio::time::timeout(CONNECT, there).await {
            Ok(true) => Ok(Team { link, events, urls }),
            _ => Err(unreachable(&urls)),
        }
    }

    /// Asks, and waits for the answer; `wait` is what was asked to wait for.
    pub async fn try_ask<T: DeserializeOwned>(
        &mut self,
        method: &str,
        path: &str,
        body: Option<Value>,
        wait: Duration,
    ) -> Result<Result<T, Refusal>, Failure> {
        let asked = self.link.ask(method, path, body);
        let answer = async {
            loop {
                match self.events.next().await {
                    Some(Event::Response { id, status, body }) if id == asked => return Some((status, body)),
                    Some(_) => {}
                    None => return None,
                }
            }
        };
        let answer = tokio::time::timeout(PATIENCE + wait, answer).await;
        let Ok(Some((status, body))) = answer else { return Err(unreachable(&self.urls)) };
        if !(200..300).contains(&status) {
            let why = body.get("detail").and_then(Value::as_str).unwrap_or("refused without a reason");
            return Ok(Err(Refusal { status, why: why.to_owned() }));
        }
        let odd = |error| {
            Failure::Nothing(format!(
                "an answer that is not understood ({error}): update one of the programs"
            ))
        };
        serde_json::from_value(body).map(Ok).map_err(odd)
    }

    /// The same, where a refusal ends the program.
    pub async fn ask<T: DeserializeOwned>(
        &mut self,
        method: &str,
        path: &str,
        body: Option<Value>,
        wait: Duration,
    ) -> Result<T, Failure> {
        Ok(self.try_ask(method, path, body, wait).await??)
    }

    /// What is there to read.
    pub async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, Failure> {
        self.ask("GET", path, None, Duration::ZERO).await
    }

    /// Changes something.
    pub async fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.ask("POST", path, Some(to_value(body)), Duration::ZERO).await
    }

    /// What a path shows, now and whenever it changes.
    pub async fn watch<T: DeserializeOwned>(
        &mut self,
        path: &str,
        mut show: impl FnMut(T) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let watched = self.link.watch(path);
        let mut before = Value::Null;
        while let Some(event) = self.events.next().await {
            let Event::Response { id, status, body } = event else { continue };
            if id != watched || body == before {
                continue;
            }
            before = body.clone();
            match serde_json::from_value(body) {
                Ok(shown) if (200..300).contains(&status) => show(shown)?,
                // The store cannot be read now, or the endpoint is lost: it goes on by itself.
                _ => {
                    let why = before.get("detail").and_then(Value::as_str).unwrap_or("no answer");
                    eprintln!("roverline: {}", format::printable(why));
                }
            }
        }
        Err(unreachable(&self.urls))
    }
}

fn unreachable(urls: &[String]) -> Failure {
    let tried = urls.join(", ");
    Failure::Nothing(format!("no endpoint answers ({tried}): start a gateway, or name another with --host"))
}

/// Our own types always are JSON.
fn to_value(body: &impl Serialize) -> Value {
    serde_json::to_value(body).unwrap_or_default()
}

/// A name in a path (RFC 3986, section 2.3).
pub fn escape(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out += &format!("%{byte:02X}"),
        }
    }
    out
}

/// Who this is, where it does not say: the user and the computer.
pub fn client(given: Option<String>) -> String {
    let user = std::env::var("USER").unwrap_or_else(|_| "operator".to_owned());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    given.unwrap_or_else(|| format!("{user}@{host}").replace('/', "-"))
}

/// A document as JSON, all of it.
pub fn print_json(document: &impl Serialize) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{:#}", to_value(document))?;
    Ok(out.flush()?)
}

/// One line of JSON, for those who follow.
pub fn print_line(document: &impl Serialize) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", to_value(document))?;
    Ok(out.flush()?)
}

/// A table whose columns are as wide as they have to be; the last one is as long as it is.
pub fn print_table(head: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| format::printable(cell)).collect()).collect();
    let wide = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.max().unwrap_or(0).max(head.get(column).map_or(0, |name| name.len())).min(48)
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

/// Says something to a person, where standard output is for programs.
pub fn tell(text: &str) {
    if std::io::stderr().is_terminal() {
        eprintln!("{}", format::printable(text));
    }
}

/// Whether an answer leaves open whether it was done.
pub fn is_in_doubt(refusal: &Refusal) -> bool {
    refusal.status == REQUEST_LOST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_into_a_path() {
        assert_eq!(escape("arm"), "arm");
        assert_eq!(escape("a/b c%é?"), "a%2Fb%20c%25%C3%A9%3F");
    }

    #[test]
    fn whoever_does_not_say_has_a_name_without_a_slash() {
        assert_eq!(client(Some("ann".to_owned())), "ann");
        assert!(client(None).contains('@') && !client(None).contains('/'));
    }
}
