//! State of the Team screen: what the team shares, and which locks this console keeps alive.

use std::collections::BTreeMap;
use std::time::Duration;

use roverline_protocol::api::kv::KvList;
use roverline_protocol::api::lifecycle::LifecycleList;
use roverline_protocol::api::locks::{HandoverRequest, LockDocument, LockList};
use roverline_protocol::api::queues::{DeadMessage, ListedMessage, QueueList};
use roverline_protocol::native::ClientIdentity;

use crate::model::api::Document;
use crate::screen::team::rates::QueueRates;

/// Locks that are shown although nobody holds them, first.
pub const USUAL_LOCKS: [&str; 2] = ["drive", "arm"];
/// How long a lock outlives this console, milliseconds.
pub const LOCK_TTL_MS: u64 = 30_000;

/// The parts of the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pane {
    /// Who may command what.
    #[default]
    Locks,
    /// Work to be done.
    Queues,
    /// Shared values.
    Values,
    /// Who is here.
    People,
    /// Lifecycle of robots and endpoints.
    Robots,
}

impl Pane {
    /// From top to bottom.
    pub const ALL: [Pane; 5] = [Pane::Locks, Pane::Queues, Pane::Values, Pane::People, Pane::Robots];
}

/// A row by its name, so that the cursor stays on it when the list changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowName {
    /// Its pane.
    pub pane: Pane,
    /// Its name there.
    pub name: String,
}

/// A lock that this console has, or waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnLock {
    /// When the last accepted sign of life was sent; the lock lives [`LOCK_TTL_MS`] from there.
    pub renewed: Duration,
    /// When the last sign of life was sent.
    pub sent: Duration,
}

/// The first messages of the selected queue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueueDetail {
    /// The queue.
    pub queue: String,
    /// The next message.
    pub next: Option<ListedMessage>,
    /// The oldest dead letter.
    pub dead: Option<DeadMessage>,
}

/// The state.
#[derive(Debug, Default)]
pub struct State {
    /// Locks, on every screen.
    pub locks: Document<LockList>,
    /// Queues, while this screen is shown.
    pub queues: Document<QueueList>,
    /// What goes into the queues and out of them.
    pub rates: QueueRates,
    /// Values, while this screen is shown.
    pub values: Document<KvList>,
    /// Robots and endpoints, while this screen is shown.
    pub robots: Document<LifecycleList>,
    /// The selected row.
    pub cursor: RowName,
    /// Locks that are kept alive, by resource.
    pub own: BTreeMap<String, OwnLock>,
    /// Messages of the selected queue.
    pub detail: QueueDetail,
    /// The queue list has changed since the detail was read.
    pub is_detail_old: bool,
    /// Watches that end when the screen is left.
    pub watches: Vec<u64>,
    /// When our presence was last written, and the screen that it names.
    pub present: Option<(Duration, &'static str)>,
}

/// Who this console is at a lock.
#[derive(Clone, Copy, Debug)]
pub struct Own<'a> {
    /// Its name.
    pub client: &'a str,
    /// Its identity, once it is known.
    pub identity: Option<&'a ClientIdentity>,
}

impl Own<'_> {
    /// Whether a client under this name and identity is this console.
    pub fn is(&self, client: &str, by: Option<&str>) -> bool {
        client == self.client && self.identity.is_some_and(|own| by.is_none_or(|by| by == own.name))
    }

    /// Whether this console holds the lock.
    pub fn holds(&self, lock: &LockDocument) -> bool {
        lock.holders.iter().any(|holder| self.is(&holder.client, holder.by.as_deref()))
    }

    /// Whether it waits for the lock.
    pub fn waits(&self, lock: &LockDocument) -> bool {
        lock.waiting.iter().any(|waiter| self.is(&waiter.client, waiter.by.as_deref()))
    }
}

impl State {
    /// A lock that somebody holds.
    pub fn lock(&self, resource: &str) -> Option<&LockDocument> {
        let locks = self.locks.value.as_ref()?;
        locks.locks.iter().find(|lock| lock.resource == resource)
    }

    /// Names of the locks, the usual ones first.
    pub fn lock_names(&self) -> Vec<&str> {
        let held = self.locks.value.iter().flat_map(|list| &list.locks).map(|lock| lock.resource.as_str());
        USUAL_LOCKS.into_iter().chain(held.filter(|name| !USUAL_LOCKS.contains(name))).collect()
    }

    /// The oldest request for one of our locks that waits for an answer.
    pub fn request_to(&self, own: Own<'_>) -> Option<(&str, &HandoverRequest)> {
        let locks = self.locks.value.iter().flat_map(|list| &list.locks);
        locks.filter(|lock| own.holds(lock)).find_map(|lock| {
            let open = lock.handovers.iter().find(|request| request.refused.is_none())?;
            Some((lock.resource.as_str(), open))
        })
    }

    /// All rows that the cursor can be on.
    pub fn rows(&self) -> Vec<RowName> {
        let row = |pane: Pane| move |name: &str| RowName { pane, name: name.to_owned() };
        let mut rows: Vec<RowName> = self.lock_names().into_iter().map(row(Pane::Locks)).collect();
        let queues = self.queues.value.iter().flat_map(|list| &list.queues);
        rows.extend(queues.map(|queue| queue.name.as_str()).map(row(Pane::Queues)));
        let keys = || self.values.value.iter().flat_map(|list| &list.keys).map(|value| value.key.as_str());
        rows.extend(keys().filter(|key| !is_presence(key)).map(row(Pane::Values)));
        rows.extend(keys().filter(|key| is_presence(key)).map(row(Pane::People)));
        let robots = self.robots.value.iter().flat_map(|list| &list.entries);
        rows.extend(
            robots.map(|robot| format!("{}/{}", robot.kind, robot.id)).map(|name| row(Pane::Robots)(&name)),
        );
        rows
    }

    /// The index of the cursor's row; of the first one if it is gone.
    pub fn cursor_index(&self, rows: &[RowName]) -> usize {
        let exact = rows.iter().position(|row| *row == self.cursor);
        exact.or_else(|| rows.iter().position(|row| row.pane == self.cursor.pane)).unwrap_or(0)
    }

    /// The name of the selected queue.
    pub fn selected_queue(&self) -> Option<String> {
        let row = self.selected();
        (row.pane == Pane::Queues && !row.name.is_empty()).then_some(row.name)
    }

    /// The row of the cursor.
    pub fn selected(&self) -> RowName {
        let rows = self.rows();
        let at = self.cursor_index(&rows);
        rows.into_iter().nth(at).unwrap_or_default()
    }
}

/// Whether a key says who is here.
pub fn is_presence(key: &str) -> bool {
    key.starts_with(PRESENCE)
}

/// The keys under which clients say that they are here.
pub const PRESENCE: &str = "here/";

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn state(locks: &Value) -> State {
        let list = serde_json::from_value(json!({"revision": 1, "locks": locks})).unwrap();
        State { locks: Document { value: Some(list), ..Document::default() }, ..State::default() }
    }

    #[test]
    fn drive_and_arm_come_first_though_nobody_holds_them() {
        let lock = |name: &str| json!({"resource": name, "mode": "exclusive", "holders": [], "waiting": [], "handovers": []});
        assert_eq!(state(&json!([lock("a"), lock("arm")])).lock_names(), ["drive", "arm", "a"]);
        assert_eq!(State::default().selected(), RowName { pane: Pane::Locks, name: "drive".to_owned() });
    }

    #[test]
    fn only_name_and_identity_together_are_this_console() {
        let identity = ClientIdentity { name: "ann".to_owned(), role: "operator".to_owned() };
        let own = Own { client: "ann@base", identity: Some(&identity) };
        assert!(own.is("ann@base", Some("ann")));
        assert!(own.is("ann@base", None), "granted by an earlier version");
        assert!(!own.is("ann@base", Some("mallory")) && !own.is("bob@base", Some("ann")));
        assert!(!Own { client: "ann@base", identity: None }.is("ann@base", Some("ann")));
    }

    #[test]
    fn a_request_is_ours_while_we_hold_the_lock_and_have_not_refused() {
        let identity = ClientIdentity { name: "ann".to_owned(), role: "operator".to_owned() };
        let own = Own { client: "ann@base", identity: Some(&identity) };
        let lock = |holder: &str, refused: Value| {
            json!([{"resource": "arm", "mode": "exclusive", "waiting": [],
                "holders": [{"client": holder, "by": "ann", "token": 3}],
                "handovers": [{"client": "bob", "by": "bob", "message": "m", "refused": refused}]}])
        };
        assert_eq!(state(&lock("ann@base", Value::Null)).request_to(own).map(|(name, _)| name), Some("arm"));
        assert!(state(&lock("ann@base", json!("no"))).request_to(own).is_none());
        assert!(state(&lock("other", Value::Null)).request_to(own).is_none());
    }
}
