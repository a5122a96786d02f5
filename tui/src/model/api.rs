//! Requests to the HTTP API and watches of its paths: what they are for, and what their answers say.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::effect::Effect;
use crate::format;
use crate::model::{Model, Now};

/// Most requests that wait for their answers.
const MAX_PENDING: usize = 32;
/// Characters of a refusal.
const REASON_CHARS: usize = 300;
/// Answers of two endpoints may overtake each other for this long after a switch. Later, a lower revision is another
/// store's.
const OVERTAKEN: Duration = Duration::from_secs(5);

/// An answer of the API.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// HTTP status code.
    pub status: u16,
    /// The body.
    pub body: Value,
}

impl Answer {
    /// Whether it is a success.
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The reason of a refusal, printable.
    pub fn reason(&self) -> String {
        let detail = self.body.get("detail").and_then(Value::as_str).unwrap_or("refused without a reason");
        format::printable(&format::fit(detail, REASON_CHARS))
    }

    /// The body as a document, or why it is none.
    pub fn document<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        if !self.is_ok() {
            return Err(Fault(self.reason()));
        }
        let odd = |_| Fault("an answer that is not understood: update the console or the gateway".to_owned());
        serde_json::from_value(self.body.clone()).map_err(odd)
    }
}

/// Why there is no document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Fault(pub String);

/// What becomes of an answer.
type Taker = Box<dyn FnOnce(&mut Model, &Answer) -> Vec<Effect> + Send>;
/// What becomes of every result of a watch.
pub type Watcher = fn(&mut Model, &Answer);

struct Pending {
    /// For people: `take drive`.
    what: String,
    taken: Taker,
}

/// Requests and watches under way.
#[derive(Default)]
pub struct Api {
    last: u64,
    requests: BTreeMap<u64, Pending>,
    watches: BTreeMap<u64, Watcher>,
    /// Our numbers by the ids of the link.
    ids: BTreeMap<u64, u64>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (requests, watches) = (self.requests.len(), self.watches.len());
        f.debug_struct("Api").field("requests", &requests).field("watches", &watches).finish()
    }
}

impl Api {
    /// Requests without an answer.
    pub fn pending(&self) -> usize {
        self.requests.len()
    }

    /// The link knows a request or a watch by this id.
    pub(crate) fn sent(&mut self, number: u64, id: u64) {
        self.ids.insert(id, number);
    }
}

impl Model {
    /// A request whose answer goes to `taken`. A refusal is shown with `what` (`take drive`); nothing is sent while no
    /// endpoint is connected, because it would act later than it was meant.
    pub fn request(
        &mut self,
        what: &str,
        (method, path): (&'static str, String),
        body: Option<Value>,
        taken: impl FnOnce(&mut Model, &Answer) -> Vec<Effect> + Send + 'static,
    ) -> Vec<Effect> {
        let why = if !self.network.is_connected() {
            "no endpoint is connected, nothing was sent"
        } else if self.api.requests.len() >= MAX_PENDING {
            "too many requests wait for their answers, nothing was sent"
        } else {
            self.api.last += 1;
            let number = self.api.last;
            self.api.requests.insert(number, Pending { what: what.to_owned(), taken: Box::new(taken) });
            return vec![Effect::Request { number, method, path, body }];
        };
        self.notify(true, format!("{what}: {why}"));
        Vec::new()
    }

    /// Watches a path from now on.
    pub fn watch(&mut self, path: &str, taken: Watcher) -> Effect {
        self.api.last += 1;
        let number = self.api.last;
        self.api.watches.insert(number, taken);
        Effect::Watch { number, path: path.to_owned() }
    }

    /// Ends a watch that was begun with this effect.
    pub fn unwatch(&mut self, watch: u64) -> Vec<Effect> {
        self.api.watches.remove(&watch);
        let id = self.api.ids.iter().find(|(_, number)| **number == watch).map(|(id, _)| *id);
        id.into_iter()
            .map(|id| {
                self.api.ids.remove(&id);
                Effect::Unwatch(id)
            })
            .collect()
    }

    /// Takes a response of the link.
    pub(crate) fn respond(&mut self, id: u64, answer: &Answer) -> Vec<Effect> {
        let Some(&number) = self.api.ids.get(&id) else { return Vec::new() };
        if let Some(&taken) = self.api.watches.get(&number) {
            taken(self, answer);
            return Vec::new();
        }
        self.api.ids.remove(&id);
        let Some(Pending { what, taken }) = self.api.requests.remove(&number) else { return Vec::new() };
        if !answer.is_ok() && !what.is_empty() {
            let text = format!("{what} refused: {}{}", answer.reason(), self.remedy(answer.status));
            self.notify(true, text);
        }
        taken(self, answer)
    }

    /// What helps against a refusal, if its reason does not say it.
    fn remedy(&self, status: u16) -> &'static str {
        let role = self.network.identity().map_or("", |identity| identity.role.as_str());
        match (status, role) {
            (401 | 403, "observer") => " → start with --token-file FILE: a token of an operator",
            (403, "operator") => " → a commander may",
            (503, _) => " → nothing was changed, try again",
            _ => "",
        }
    }
}

/// A document of the store, as a watch delivers it.
#[derive(Clone, Debug, PartialEq)]
pub struct Document<T> {
    /// The newest one.
    pub value: Option<T>,
    /// When it came.
    pub at: Duration,
    /// Since when there is none, and why.
    pub fault: Option<(Duration, String)>,
    /// The store's revision of it; 0 if it has none.
    pub revision: u64,
}

impl<T> Default for Document<T> {
    fn default() -> Document<T> {
        Document { value: None, at: Duration::ZERO, fault: None, revision: 0 }
    }
}

impl<T: DeserializeOwned> Document<T> {
    /// Takes a result of the watch; `revision` is that of the store, if the document has one. Returns whether it is new.
    pub fn take(&mut self, answer: &Answer, now: Now, revision: impl Fn(&T) -> u64) -> bool {
        match answer.document::<T>() {
            Ok(value) => {
                let new = revision(&value);
                if new < self.revision && now.since(self.at) < OVERTAKEN {
                    return false;
                }
                *self = Document { value: Some(value), at: now.mono, fault: None, revision: new };
                true
            }
            Err(fault) => {
                let since = self.fault.as_ref().map_or(now.mono, |(since, _)| *since);
                self.fault = Some((since, fault.0));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(status: u16, body: Value) -> Answer {
        Answer { status, body }
    }

    #[test]
    fn an_overtaken_answer_replaces_nothing_and_another_store_does() {
        let mut document = Document::<Value>::default();
        let revision = |value: &Value| value["revision"].as_u64().unwrap_or(0);
        let now = |s| Now { mono: Now::ORIGIN + Duration::from_secs(s), wall_ns: 0 };
        let of = |revision: u64| answer(200, json!({"revision": revision}));
        assert!(document.take(&of(7), now(0), revision));
        assert!(!document.take(&of(6), now(1), revision));
        assert_eq!(document.value.as_ref().map(revision), Some(7));
        assert!(document.take(&of(2), now(6), revision));
    }

    #[test]
    fn a_store_that_is_away_leaves_the_last_value_and_says_since_when() {
        let mut document = Document::<Vec<u8>>::default();
        let now = |s| Now { mono: Now::ORIGIN + Duration::from_secs(s), wall_ns: 0 };
        document.take(&answer(200, json!([1])), now(0), |_| 0);
        for s in [3, 9] {
            document.take(&answer(503, json!({"detail": "the disk is full\u{1b}[2J"})), now(s), |_| 0);
        }
        let (since, why) = document.fault.clone().unwrap();
        assert_eq!((since, why.as_str()), (now(3).mono, "the disk is full·[2J"));
        assert_eq!(document.value, Some(vec![1]));
        document.take(&answer(200, json!([2])), now(10), |_| 0);
        assert_eq!(document.fault, None);
        document.take(&answer(200, json!("x")), now(11), |_| 0);
        assert!(document.fault.unwrap().1.contains("not understood"));
    }
}
