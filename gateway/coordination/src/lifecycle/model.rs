//! All robots and endpoints at one revision, with indexes; fed by what the store tells.

use std::collections::{BTreeMap, BTreeSet};

use roverline_protocol::lifecycle::State;
use tokio::time::Instant;

use crate::lifecycle::record::{BEATS, Kind, MONITOR, Name, Record, View};
use crate::store::{Change, Entry, Revision};

/// Which ones are wanted; what is not said does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Of this kind.
    pub kind: Option<Kind>,
    /// In this state.
    pub state: Option<State>,
    /// Of this type.
    pub type_name: Option<String>,
    /// At this address.
    pub address: Option<String>,
}

impl Selection {
    /// Whether it is one of them.
    pub fn wants(&self, name: &Name, record: &Record) -> bool {
        self.kind.is_none_or(|kind| kind == name.kind)
            && self.state.is_none_or(|state| state == record.state)
            && self.type_name.as_ref().is_none_or(|wanted| *wanted == record.type_name)
            && self.address.as_ref().is_none_or(|wanted| record.address.as_ref() == Some(wanted))
    }
}

#[derive(Debug)]
struct Thing {
    record: Record,
    created: Revision,
    modified: Revision,
    /// When this process learned of it.
    heard: Instant,
}

/// All of them at one revision.
#[derive(Debug, Default)]
pub struct Model {
    revision: Revision,
    things: BTreeMap<Name, Thing>,
    speakers: BTreeMap<Name, BTreeSet<String>>,
    by_state: BTreeMap<State, BTreeSet<Name>>,
    by_type: BTreeMap<String, BTreeSet<Name>>,
    by_address: BTreeMap<String, BTreeSet<Name>>,
    monitored: bool,
}

impl Model {
    /// The revision at which this holds.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.things.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.things.is_empty()
    }

    /// One of them.
    pub fn get(&self, name: &Name) -> Option<View> {
        Some(self.view(name, self.things.get(name)?))
    }

    /// Those that are wanted, by kind and name, behind `after` (a [`Name::path`]), at most `limit`; and how many are wanted
    /// in all.
    pub fn select(&self, wanted: &Selection, after: Option<&str>, limit: usize) -> (Vec<View>, usize) {
        let (mut found, mut total) = (Vec::new(), 0);
        let mut look = |name: &Name| {
            let Some(thing) = self.things.get(name).filter(|thing| wanted.wants(name, &thing.record)) else {
                return;
            };
            total += 1;
            if found.len() < limit && after.is_none_or(|after| name.path().as_str() > after) {
                found.push(self.view(name, thing));
            }
        };
        match self.smallest(wanted) {
            Some(names) => names.iter().for_each(&mut look),
            None => self.things.keys().for_each(&mut look),
        }
        (found, total)
    }

    /// The shortest list of an index that has all that is wanted; `None`: only all of them do.
    fn smallest(&self, wanted: &Selection) -> Option<&BTreeSet<Name>> {
        static NONE: BTreeSet<Name> = BTreeSet::new();
        let state = wanted.state.map(|state| self.by_state.get(&state));
        let type_name = wanted.type_name.as_ref().map(|name| self.by_type.get(name));
        let address = wanted.address.as_ref().map(|address| self.by_address.get(address));
        [state, type_name, address]
            .into_iter()
            .flatten()
            .map(|names| names.unwrap_or(&NONE))
            .min_by_key(|names| names.len())
    }

    /// Whether a process watches over all.
    pub(super) fn is_monitored(&self) -> bool {
        self.monitored
    }

    /// Those for whom somebody should speak and nobody does, and when this process learned of the newest
    /// fact about them.
    pub(super) fn silent(&self) -> impl Iterator<Item = (&Name, &Record, Instant)> {
        let silent = self.things.iter().filter(|(name, thing)| {
            thing.record.heartbeat_ms.is_some() && !self.speakers.contains_key(*name)
        });
        silent.map(|(name, thing)| (name, &thing.record, thing.heard))
    }

    /// How many each index has, by state, by type and by address.
    #[cfg(test)]
    pub(super) fn indexed(&self) -> [usize; 3] {
        let all = |sets: &mut dyn Iterator<Item = &BTreeSet<Name>>| sets.map(BTreeSet::len).sum();
        [
            all(&mut self.by_state.values()),
            all(&mut self.by_type.values()),
            all(&mut self.by_address.values()),
        ]
    }

    fn view(&self, name: &Name, thing: &Thing) -> View {
        View {
            name: name.clone(),
            record: thing.record.clone(),
            created: thing.created,
            modified: thing.modified,
            speakers: self.speakers.get(name).into_iter().flatten().cloned().collect(),
        }
    }

    /// From all keys of a revision.
    pub(super) fn of(entries: &[Entry], revision: Revision, now: Instant) -> Model {
        let mut model = Model { revision, ..Model::default() };
        for entry in entries {
            model.put(entry, now);
        }
        model
    }

    /// What a revision, or several, changed.
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
        if entry.key.starts_with(BEATS) {
            if let Some((name, speaker)) = Name::of_beat(&entry.key) {
                self.speakers.entry(name).or_default().insert(speaker);
            }
            return;
        }
        self.monitored |= entry.key == MONITOR;
        let (Some(name), Some(record)) = (Name::of_key(&entry.key), Record::of(entry)) else { return };
        self.remove(&name);
        self.by_state.entry(record.state).or_default().insert(name.clone());
        self.by_type.entry(record.type_name.clone()).or_default().insert(name.clone());
        if let Some(address) = &record.address {
            self.by_address.entry(address.clone()).or_default().insert(name.clone());
        }
        let (created, modified) = (entry.created, entry.modified);
        self.things.insert(name, Thing { record, created, modified, heard: now });
    }

    fn delete(&mut self, key: &str) {
        if let Some((name, speaker)) = Name::of_beat(key) {
            take(&mut self.speakers, &name, &speaker);
        }
        self.monitored &= key != MONITOR;
        if let Some(name) = Name::of_key(key) {
            self.remove(&name);
        }
    }

    fn remove(&mut self, name: &Name) {
        let Some(thing) = self.things.remove(name) else { return };
        take(&mut self.by_state, &thing.record.state, name);
        take(&mut self.by_type, &thing.record.type_name, name);
        if let Some(address) = &thing.record.address {
            take(&mut self.by_address, address, name);
        }
    }
}

/// Takes one out of a set, and the set with its last one.
fn take<K: Ord, V: Ord>(sets: &mut BTreeMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(set) = sets.get_mut(key) {
        set.remove(value);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}
