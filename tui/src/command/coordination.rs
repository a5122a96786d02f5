//! `roverline locks`, `queues`, `kv` and `events`: requests over one client connection.

pub mod events;
pub mod kv;
pub mod locks;
pub mod queues;
mod value;

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use roverline_client::{Config, Event, Events, Link, REQUEST_LOST};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::command::print::complain;
pub use crate::command::print::{inform, print_json, print_line, print_table};
use crate::command::{Failure, no_answer, without_delay};
use crate::format;
pub use crate::format::escape;

/// Longest time for an answer, in addition to a requested wait.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest time until the first endpoint answers.
const CONNECT: Duration = Duration::from_secs(3);
/// Attempts of an idempotent request while endpoints are lost.
const TRIES: usize = 5;
/// Poll interval of followers, besides notifications.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// A client connection for coordination requests.
#[derive(Debug)]
pub struct CoordinationClient {
    link: Link,
    events: Events,
    urls: Vec<String>,
    /// The watched path.
    watched: Option<u64>,
    /// Whether the watched path may have changed.
    next_change: bool,
}

/// An error as worded by the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// HTTP status, or [`REQUEST_LOST`].
    pub status: u16,
    /// The problem's detail.
    pub why: String,
}

impl From<ApiError> for Failure {
    fn from(refusal: ApiError) -> Failure {
        Failure::Nothing(format::printable(&refusal.why))
    }
}

impl CoordinationClient {
    /// Opens a connection and waits for an endpoint.
    async fn open(config: Config) -> Result<CoordinationClient, Failure> {
        let urls = config.endpoints.clone();
        let (link, mut events) = Link::open(without_delay(config));
        let there = async {
            while let Some(event) = events.next().await {
                if matches!(&event, Event::Failover(failover) if failover.to.is_some()) {
                    return true;
                }
            }
            false
        };
        match tokio::time::timeout(CONNECT, there).await {
            Ok(true) => Ok(CoordinationClient { link, events, urls, watched: None, next_change: false }),
            _ => Err(unreachable(&urls)),
        }
    }

    /// Runs a command over a connection of its own, which is then closed, so that the command's spans arrive.
    pub async fn run<T>(
        config: Config,
        command: impl AsyncFnOnce(&mut CoordinationClient) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut client = CoordinationClient::open(config).await?;
        let result = command(&mut client).await;
        client.close().await;
        result
    }

    /// Closes the connection when the spans of its last requests have arrived.
    async fn close(self) {
        self.link.close(self.events).await;
    }

    /// Sends a request and waits for its answer; `wait` is the wait that the request itself asks
    /// for.
    pub async fn try_request<T: DeserializeOwned>(
        &mut self,
        method: &str,
        path: &str,
        body: Option<Value>,
        wait: Duration,
    ) -> Result<Result<T, ApiError>, Failure> {
        let pending = self.link.request(method, path, body);
        let answer = async {
            loop {
                match self.events.next().await {
                    Some(Event::Response { id, status, body }) if id == pending => {
                        return Some((status, body));
                    }
                    Some(Event::Response { id, .. }) if Some(id) == self.watched => self.next_change = true,
                    Some(_) => {}
                    None => return None,
                }
            }
        };
        let answer = tokio::time::timeout(PATIENCE + wait, answer).await;
        let Ok(Some((status, body))) = answer else { return Err(unreachable(&self.urls)) };
        if !(200..300).contains(&status) {
            let why = body.get("detail").and_then(Value::as_str).unwrap_or("refused without a reason");
            return Ok(Err(ApiError { status, why: why.to_owned() }));
        }
        let odd = |error| {
            Failure::Nothing(format!(
                "an answer that is not understood ({error}): update one of the programs"
            ))
        };
        serde_json::from_value(body).map(Ok).map_err(odd)
    }

    /// The same; a refusal becomes the program's failure.
    pub async fn request<T: DeserializeOwned>(
        &mut self,
        method: &str,
        path: &str,
        body: Option<Value>,
        wait: Duration,
    ) -> Result<T, Failure> {
        Ok(self.try_request(method, path, body, wait).await??)
    }

    /// Reads a document.
    pub async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, Failure> {
        self.request("GET", path, None, Duration::ZERO).await
    }

    /// Sends a change.
    pub async fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.request("POST", path, Some(to_value(body)), Duration::ZERO).await
    }

    /// Sends an idempotent request, repeatedly while endpoints are lost before they answer. Returns
    /// whether it was sent more than once.
    pub async fn retry_idempotent<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<(Result<T, ApiError>, bool), Failure> {
        let body = to_value(body);
        let mut tries = 1;
        loop {
            match self.try_request("POST", path, Some(body.clone()), Duration::ZERO).await? {
                Err(refusal) if is_indeterminate(&refusal) && tries < TRIES => tries += 1,
                answer => return Ok((answer, tries > 1)),
            }
        }
    }

    /// Reads one page of a long list: if an answer is too large for the connection, fewer entries
    /// are requested. The path ends where `limit=` and the number follow.
    pub async fn page<T: DeserializeOwned>(
        &mut self,
        path: &str,
        most: usize,
    ) -> Result<Result<T, ApiError>, Failure> {
        let mut limit = most.max(1);
        loop {
            match self.try_request("GET", &format!("{path}limit={limit}"), None, Duration::ZERO).await? {
                Err(refusal) if refusal.status == 503 && limit > 1 => limit = (limit / 8).max(1),
                answer => return Ok(answer),
            }
        }
    }

    /// From now on `next_change` returns when the document at this path may have changed.
    pub fn listen(&mut self, path: &str) {
        self.watched = Some(self.link.watch(path));
    }

    /// Waits until the watched document may have changed since the last request. Fails when the
    /// connection has ended.
    pub async fn next_change(&mut self) -> Result<(), Failure> {
        let change = async {
            while !self.next_change {
                match self.events.next().await {
                    Some(Event::Response { id, .. }) if Some(id) == self.watched => self.next_change = true,
                    Some(_) => {}
                    None => return false,
                }
            }
            true
        };
        let ended = tokio::time::timeout(POLL_INTERVAL, change).await == Ok(false);
        self.next_change = false;
        if ended { Err(unreachable(&self.urls)) } else { Ok(()) }
    }

    /// Prints a document now and after every change.
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
                // The store is unavailable or the endpoint is lost: it recovers by itself.
                _ => {
                    let why = before.get("detail").and_then(Value::as_str).unwrap_or("no answer");
                    complain(format::printable(why));
                }
            }
        }
        Err(unreachable(&self.urls))
    }
}

fn unreachable(urls: &[String]) -> Failure {
    let tried: Vec<_> = urls.iter().map(|url| (url.clone(), None)).collect();
    no_answer(&tried)
}

/// Our own types always serialize.
pub fn to_value(body: &impl Serialize) -> Value {
    serde_json::to_value(body).unwrap_or_default()
}

/// The default client name: user and computer.
pub fn client(given: Option<String>) -> String {
    let user = std::env::var("USER").unwrap_or_else(|_| "operator".to_owned());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    given.unwrap_or_else(|| format!("{user}@{host}").replace('/', "-"))
}

/// Whether the answer leaves open if the change was applied.
pub fn is_indeterminate(refusal: &ApiError) -> bool {
    refusal.status == REQUEST_LOST
}

/// A random id, by which the gateway recognises a repeated request.
pub fn random_id() -> String {
    // Keyed by the system's random numbers.
    let half = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", half(), half())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_comes_twice() {
        let ids: std::collections::BTreeSet<String> = (0..1_000).map(|_| random_id()).collect();
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
