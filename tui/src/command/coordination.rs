//! `roverline locks`, `queues`, `kv` and `events`: what a team of operators shares.

pub mod events;
pub mod kv;
pub mod locks;
mod print;
pub mod queues;
mod value;

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use roverline_client::{Config, Event, Events, Link, REQUEST_LOST};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use crate::command::coordination::print::{print_json, print_line, print_table, tell};
use crate::command::{Failure, at_once};
use crate::format;

/// How long an answer takes at most, beside what was asked to wait for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the first endpoint may take to answer.
const CONNECT: Duration = Duration::from_secs(3);
/// How often something that may be done twice is asked for while endpoints are lost.
const TRIES: usize = 5;
/// Who follows looks so often in any case.
const LOOK: Duration = Duration::from_secs(5);

/// A link on which the team's things are asked for.
#[derive(Debug)]
pub struct Team {
    link: Link,
    events: Events,
    urls: Vec<String>,
    /// What is watched.
    watched: Option<u64>,
    /// Whether that may have changed.
    stirred: bool,
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
            Ok(true) => Ok(Team { link, events, urls, watched: None, stirred: false }),
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
                    Some(Event::Response { id, .. }) if Some(id) == self.watched => self.stirred = true,
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

    /// The same of something that may be done twice: again, while endpoints are lost before they answer.
    /// Says whether it was asked for more than once.
    pub async fn insist<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<(Result<T, Refusal>, bool), Failure> {
        let body = to_value(body);
        let mut tries = 1;
        loop {
            match self.try_ask("POST", path, Some(body.clone()), Duration::ZERO).await? {
                Err(refusal) if is_in_doubt(&refusal) && tries < TRIES => tries += 1,
                answer => return Ok((answer, tries > 1)),
            }
        }
    }

    /// Reads a page of what may be large: where an answer does not fit a link, less is asked for. The
    /// path ends where `limit=` and the number follow.
    pub async fn page<T: DeserializeOwned>(
        &mut self,
        path: &str,
        most: usize,
    ) -> Result<Result<T, Refusal>, Failure> {
        let mut limit = most.max(1);
        loop {
            match self.try_ask("GET", &format!("{path}limit={limit}"), None, Duration::ZERO).await? {
                Err(refusal) if refusal.status == 503 && limit > 1 => limit = (limit / 8).max(1),
                answer => return Ok(answer),
            }
        }
    }

    /// From now on [`Team::stirred`] tells when what a path shows may have changed.
    pub fn listen(&mut self, path: &str) {
        self.watched = Some(self.link.watch(path));
    }

    /// Waits until something may have changed since it was last asked for. Fails when the link has ended.
    pub async fn stirred(&mut self) -> Result<(), Failure> {
        let change = async {
            while !self.stirred {
                match self.events.next().await {
                    Some(Event::Response { id, .. }) if Some(id) == self.watched => self.stirred = true,
                    Some(_) => {}
                    None => return false,
                }
            }
            true
        };
        let ended = tokio::time::timeout(LOOK, change).await == Ok(false);
        self.stirred = false;
        if ended { Err(unreachable(&self.urls)) } else { Ok(()) }
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
pub fn to_value(body: &impl Serialize) -> Value {
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

/// Whether an answer leaves open whether it was done.
pub fn is_in_doubt(refusal: &Refusal) -> bool {
    refusal.status == REQUEST_LOST
}

/// A name that nobody else makes: by it the other side knows again what is sent twice.
pub fn own_id() -> String {
    // Keyed by the system's random numbers, each time anew.
    let half = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", half(), half())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_comes_twice() {
        let ids: std::collections::BTreeSet<String> = (0..1_000).map(|_| own_id()).collect();
        assert_eq!((ids.len(), ids.first().map(String::len)), (1_000, Some(32)));
    }

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
