//! An in-memory model of all robots and endpoints at one revision, with indexes, updated from store
//! changes.

use std::collections::{BTreeMap, BTreeSet};

use roverline_protocol::lifecycle::State;
use tokio::time::Instant;

use crate::lifecycle::record::{EntityId, EntityKind, HEARTBEATS_PREFIX, MONITOR_KEY, Record, View};
use crate::store::{Change, Entry, Revision};

/// A filter; absent fields match everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The kind.
    pub kind: Option<EntityKind>,
    /// The state.
    pub state: Option<State>,
    /// The type.
    pub type_name: Option<String>,
    /// The address.
    pub address: Option<String>,
}

impl Selection {
    /// Whether an entity matches.
    pub fn matches(&self, entity: &EntityId, record: &Record) -> bool {
        self.kind.is_none_or(|kind| kind == entity.kind)
            && self.state.is_none_or(|state| state == record.state)
            && self.type_name.as_ref().is_none_or(|name| *name == record.type_name)
            && self.address.as_ref().is_none_or(|address| record.address.as_ref() == Some(address))
    }
}

#[derive(Debug)]
struct Entity {
    record: Record,
    created: Revision,
    modified: Revision,
    /// When this process received the record.
    received_at: Instant,
}

/// All entities at one revision.
#[derive(Debug, Default)]
pub struct Model {
    revision: Revision,
    entities: BTreeMap<EntityId, Entity>,
    senders: BTreeMap<EntityId, BTreeSet<String>>,
    by_state: BTreeMap<State, BTreeSet<EntityId>>,
    by_type: BTreeMap<String, BTreeSet<EntityId>>,
    by_address: BTreeMap<String, BTreeSet<EntityId>>,
    monitored: bool,
}

impl Model {
    /// The revision of this model.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The number of entities.
    pub fn len(&self) -> usize {
        self.entities.len()
    }

    /// Whether there are no entities.
    pub fn is_empty(&self) -> bool {
        self.entities.is_empty()
    }

    /// One entity.
    pub fn get(&self, entity: &EntityId) -> Option<View> {
        Some(self.view(entity, self.entities.get(entity)?))
    }

    /// The matching entities, sorted by [`EntityId::path`], after `after` (a path), at most `limit`;
    /// and the number of all matches.
    pub fn select(&self, selection: &Selection, after: Option<&str>, limit: usize) -> (Vec<View>, usize) {
        let (mut found, mut total) = (Vec::new(), 0);
        let mut visit = |entity: &EntityId| {
            let Some(entry) =
                self.entities.get(entity).filter(|entry| selection.matches(entity, &entry.record))
            else {
                return;
            };
            total += 1;
            if found.len() < limit && after.is_none_or(|after| entity.path().as_str() > after) {
                found.push(self.view(entity, entry));
            }
        };
        match self.smallest(selection) {
            Some(names) => names.iter().for_each(&mut visit),
            None => self.entities.keys().for_each(&mut visit),
        }
        (found, total)
    }

    /// The smallest index set that contains all matches; `None`: no index applies.
    fn smallest(&self, selection: &Selection) -> Option<&BTreeSet<EntityId>> {
        static NONE: BTreeSet<EntityId> = BTreeSet::new();
        let state = selection.state.map(|state| self.by_state.get(&state));
        let type_name = selection.type_name.as_ref().map(|name| self.by_type.get(name));
        let address = selection.address.as_ref().map(|address| self.by_address.get(address));
        [state, type_name, address]
            .into_iter()
            .flatten()
            .map(|names| names.unwrap_or(&NONE))
            .min_by_key(|names| names.len())
    }

    /// Whether a process holds the monitor lease.
    pub(super) fn is_monitored(&self) -> bool {
        self.monitored
    }

    /// Entities that should send heartbeats and do not, with the time at which this process received
    /// their records.
    pub(super) fn without_heartbeat(&self) -> impl Iterator<Item = (&EntityId, &Record, Instant)> {
        let silent = self.entities.iter().filter(|(entity, entry)| {
            entry.record.heartbeat_ms.is_some() && !self.senders.contains_key(*entity)
        });
        silent.map(|(entity, entry)| (entity, &entry.record, entry.received_at))
    }

    /// The sizes of the indexes by state, by type and by address.
    #[cfg(test)]
    pub(super) fn indexed(&self) -> [usize; 3] {
        let all = |sets: &mut dyn Iterator<Item = &BTreeSet<EntityId>>| sets.map(BTreeSet::len).sum();
        [
            all(&mut self.by_state.values()),
            all(&mut self.by_type.values()),
            all(&mut self.by_address.values()),
        ]
    }

    fn view(&self, entity: &EntityId, entry: &Entity) -> View {
        View {
            entity: entity.clone(),
            record: entry.record.clone(),
            created: entry.created,
            modified: entry.modified,
            senders: self.senders.get(entity).into_iter().flatten().cloned().collect(),
        }
    }

    /// Builds the model from all keys at a revision.
    pub(super) fn from_entries(entries: &[Entry], revision: Revision, now: Instant) -> Model {
        let mut model = Model { revision, ..Model::default() };
        for entry in entries {
            model.put(entry, now);
        }
        model
    }

    /// Applies the changes of one or more revisions.
    pub(super) fn apply(&mut self, changes: &[Change], now: Instant) {
        for change in changes {
            match change {
                Change::Put(entry) => self.put(entry, now),
                Change::Delete { key, .. } => self.delete(key),
            }
            self.revision = self.revision.max(change.revision());
        }
    }

    fn put(&mut self, entry: &Entry, now: Instant) {
        if entry.key.starts_with(HEARTBEATS_PREFIX) {
            if let Some((entity, sender)) = EntityId::from_heartbeat_key(&entry.key) {
                self.senders.entry(entity).or_default().insert(sender);
            }
            return;
        }
        self.monitored |= entry.key == MONITOR_KEY;
        let (Some(entity), Some(record)) = (EntityId::from_key(&entry.key), Record::parse(entry)) else {
            return;
        };
        self.remove(&entity);
        self.by_state.entry(record.state).or_default().insert(entity.clone());
        self.by_type.entry(record.type_name.clone()).or_default().insert(entity.clone());
        if let Some(address) = &record.address {
            self.by_address.entry(address.clone()).or_default().insert(entity.clone());
        }
        let (created, modified) = (entry.created, entry.modified);
        self.entities.insert(entity, Entity { record, created, modified, received_at: now });
    }

    fn delete(&mut self, key: &str) {
        if let Some((entity, sender)) = EntityId::from_heartbeat_key(key) {
            remove_from(&mut self.senders, &entity, &sender);
        }
        self.monitored &= key != MONITOR_KEY;
        if let Some(entity) = EntityId::from_key(key) {
            self.remove(&entity);
        }
    }

    fn remove(&mut self, entity: &EntityId) {
        let Some(entry) = self.entities.remove(entity) else { return };
        remove_from(&mut self.by_state, &entry.record.state, entity);
        remove_from(&mut self.by_type, &entry.record.type_name, entity);
        if let Some(address) = &entry.record.address {
            remove_from(&mut self.by_address, address, entity);
        }
    }
}

/// Removes a value from a set, and the set with its last value.
fn remove_from<K: Ord, V: Ord>(sets: &mut BTreeMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(set) = sets.get_mut(key) {
        set.remove(value);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}
