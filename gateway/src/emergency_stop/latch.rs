//! The latch as it is stored, and what a command does to it.

use std::collections::{BTreeMap, VecDeque};

use roverline_protocol::limits::IDENTITY_BYTES;
use serde::{Deserialize, Serialize};

use crate::emergency_stop::StopError;

/// Ids of engages that the latch remembers.
const REMEMBERED_ENGAGES: usize = 64;
/// Ids of releases that the latch remembers: no engage pushes one out.
const REMEMBERED_RELEASES: usize = 192;
/// Command ids that the latch remembers.
pub(crate) const REMEMBERED_IDS: usize = REMEMBERED_ENGAGES + REMEMBERED_RELEASES;
/// Longest command id. A longer one is cut for an engage, which always engages, and refused for a release.
pub(crate) const ID_CHARS: usize = 128;
/// Longest reason that is stored.
pub(crate) const REASON_CHARS: usize = 256;

/// The latch as stored on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Latch {
    /// Whether the stop is engaged.
    pub(crate) engaged: bool,
    /// The command that set this state.
    pub(crate) id: String,
    /// The identity that gave it; empty if that is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) by: String,
    /// The reason given.
    pub(crate) reason: String,
    /// The time of the command, nanoseconds since the Unix epoch.
    pub(crate) at_ns: i64,
    /// The newest commands, oldest first.
    #[serde(default)]
    pub(crate) done: VecDeque<DoneCommand>,
}

/// A command that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DoneCommand {
    pub(crate) id: String,
    /// The identity whose id it is; empty if that is not known: then it is everybody's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) by: String,
    pub(crate) engage: bool,
    /// Tells two uses of an id apart.
    #[serde(default)]
    pub(crate) at_ns: i64,
}

/// A command for the latch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StopCommand {
    pub(crate) id: String,
    /// The identity that gives it: an id of another one is another id.
    pub(crate) by: String,
    pub(crate) engage: bool,
    pub(crate) reason: String,
    pub(crate) at_ns: i64,
    /// Whether its id was too long, and is no longer the client's.
    is_cut: bool,
}

/// The effect of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// It releases the stop.
    Release,
    /// It was carried out before, and changes nothing now.
    AlreadyDone,
}

impl StopCommand {
    pub(crate) fn new(id: &str, engage: bool, reason: &str, at_ns: i64) -> StopCommand {
        let is_cut = id.chars().nth(ID_CHARS).is_some();
        let (id, reason) = (bounded(id, ID_CHARS), bounded(reason, REASON_CHARS));
        StopCommand { id, by: String::new(), engage, reason, at_ns, is_cut }
    }

    /// The command as one of this identity.
    pub(crate) fn by(self, by: &str) -> StopCommand {
        StopCommand { by: bounded(by, IDENTITY_BYTES), ..self }
    }
}

impl Latch {
    /// The latch as a file of an earlier version has it: with the last command's id only.
    pub(crate) fn with_own_id(mut self) -> Latch {
        if self.done.is_empty() && !self.id.is_empty() {
            let (id, by, engage, at_ns) = (self.id.clone(), self.by.clone(), self.engaged, self.at_ns);
            self.done.push_back(DoneCommand { id, by, engage, at_ns });
        }
        self
    }

    /// Judges a release. An id makes a repeated release harmless; an id that engaged the stop cannot
    /// release it.
    pub(crate) fn judge_release(&self, command: &StopCommand) -> Result<Release, StopError> {
        if command.id.is_empty() {
            return Err(StopError::NoId);
        }
        if command.is_cut {
            return Err(StopError::LongId(ID_CHARS));
        }
        // The newest use of an id decides.
        match self.done.iter().rev().find(|done| done.has_id_of(command)) {
            None => Ok(Release::Release),
            Some(done) if done.engage => Err(StopError::IdUsed { id: command.id.clone() }),
            Some(_) => Ok(Release::AlreadyDone),
        }
    }

    /// Whether this command's id has released the stop before.
    pub(crate) fn was_release(&self, command: &StopCommand) -> bool {
        self.done.iter().any(|done| !done.engage && done.has_id_of(command))
    }

    /// Whether this very command is in the latch's history.
    pub(crate) fn contains(&self, command: &StopCommand) -> bool {
        let StopCommand { id, engage, at_ns, .. } = command;
        self.done.iter().any(|done| (&done.id, &done.engage, &done.at_ns) == (id, engage, at_ns))
    }

    /// The latch after this command.
    pub(crate) fn after(mut self, command: &StopCommand) -> Latch {
        self.remember(command);
        let StopCommand { id, by, engage, reason, at_ns, .. } = command.clone();
        Latch { engaged: engage, id, by, reason, at_ns, done: self.done }
    }

    /// Remembers a command as the newest one. With too many of its kind, the oldest one of the identity that has most
    /// is forgotten.
    pub(crate) fn remember(&mut self, command: &StopCommand) {
        let StopCommand { id, by, engage, at_ns, .. } = command.clone();
        self.done.retain(|done| (&done.id, &done.by) != (&id, &by));
        self.done.push_back(DoneCommand { id, by, engage, at_ns });
        let most = if engage { REMEMBERED_ENGAGES } else { REMEMBERED_RELEASES };
        while let Some(at) = self.surplus(engage, most) {
            self.done.remove(at);
        }
    }

    /// The command to forget, if there are more than `most` of this kind.
    fn surplus(&self, engage: bool, most: usize) -> Option<usize> {
        // The newest one stays in any case.
        let older =
            || self.done.iter().take(self.done.len().saturating_sub(1)).filter(|done| done.engage == engage);
        let mut by_identity: BTreeMap<&str, usize> = BTreeMap::new();
        older().for_each(|done| *by_identity.entry(&done.by).or_default() += 1);
        let (by, _) =
            by_identity.into_iter().max_by_key(|(_, count)| *count).filter(|_| older().count() >= most)?;
        self.done.iter().position(|done| done.engage == engage && done.by == by)
    }
}

impl DoneCommand {
    /// Whether it has the id of this command, by the same identity.
    fn has_id_of(&self, command: &StopCommand) -> bool {
        self.id == command.id && (self.by.is_empty() || self.by == command.by)
    }
}

fn bounded(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(id: &str, engage: bool) -> StopCommand {
        StopCommand::new(id, engage, "test", 1)
    }

    #[test]
    fn a_repeated_release_is_harmless_and_no_release_uses_an_engages_id() {
        let engaged = Latch::default().after(&command("1", true));
        assert!(matches!(engaged.judge_release(&command("1", false)), Err(StopError::IdUsed { .. })));
        assert!(matches!(engaged.judge_release(&command("", false)), Err(StopError::NoId)));
        assert_eq!(engaged.judge_release(&command("2", false)).unwrap(), Release::Release);
        let again = engaged.after(&command("2", false)).after(&command("3", true));
        assert_eq!(again.judge_release(&command("2", false)).unwrap(), Release::AlreadyDone);
        assert!(again.engaged && again.was_release(&command("2", true)));
        // The id of a release that engaged the stop later releases nothing.
        let reused = again.after(&command("2", true));
        assert!(matches!(reused.judge_release(&command("2", false)), Err(StopError::IdUsed { .. })));
    }

    #[test]
    fn an_id_is_its_identitys_own() {
        let command = |id, engage, by| command(id, engage).by(by);
        let latch = Latch::default().after(&command("1", true, "ada"));
        assert!(matches!(latch.judge_release(&command("1", false, "ada")), Err(StopError::IdUsed { .. })));
        let release = command("1", false, "mallory");
        assert_eq!(latch.judge_release(&release).unwrap(), Release::Release);
        let latch = latch.after(&release).after(&command("2", true, "ada"));
        assert_eq!(latch.judge_release(&release).unwrap(), Release::AlreadyDone);
        // The release of one does not swallow that of the other.
        assert_eq!(latch.judge_release(&command("1", false, "bob")).unwrap(), Release::Release);
        assert!(matches!(latch.judge_release(&command("1", false, "ada")), Err(StopError::IdUsed { .. })));
        assert!(latch.was_release(&command("1", true, "mallory")));
        assert!(!latch.was_release(&command("1", true, "ada")));
        // A version before this one wrote ids without an identity: they are everybody's.
        let old = r#"{"engaged":true,"id":"2","reason":"","at_ns":2,"done":[
            {"id":"1","engage":false,"at_ns":1},{"id":"2","engage":true,"at_ns":2}]}"#;
        let old: Latch = serde_json::from_str(old).unwrap();
        assert_eq!(old.judge_release(&release).unwrap(), Release::AlreadyDone);
        assert!(matches!(old.judge_release(&command("2", false, "bob")), Err(StopError::IdUsed { .. })));
        assert!(!serde_json::to_string(&old).unwrap().contains("by"));
    }

    proptest::proptest! {
        #[test]
        fn after_an_engage_only_a_new_id_releases(
            ids in proptest::collection::vec((0_u8..4, proptest::bool::ANY), 0..40), last in 0_u8..4,
        ) {
            let mut latch = Latch::default();
            for (id, engage) in ids {
                let command = command(&id.to_string(), engage);
                if engage || latch.judge_release(&command).is_ok_and(|r| r == Release::Release) {
                    latch = latch.after(&command);
                }
            }
            let known: Vec<String> = latch.done.iter().map(|done| done.id.clone()).collect();
            let latch = latch.after(&command(&last.to_string(), true));
            assert!(latch.engaged);
            for id in known {
                assert!(!matches!(latch.judge_release(&command(&id, false)), Ok(Release::Release)), "{id}");
            }
        }
    }

    #[test]
    fn the_ids_and_texts_kept_are_bounded() {
        let long = "x".repeat(10_000);
        let mut latch = Latch::default().after(&StopCommand::new(&long, true, &long, 1));
        assert_eq!((latch.id.len(), latch.reason.len()), (ID_CHARS, REASON_CHARS));
        let is_cut = StopCommand::new(&long, false, "", 1);
        assert!(matches!(latch.judge_release(&is_cut), Err(StopError::LongId(ID_CHARS))));
        latch.remember(&command("first", false).by("ada"));
        for n in 0..2 * REMEMBERED_IDS {
            latch.remember(&command(&n.to_string(), false));
            latch.remember(&command(&format!("e{n}"), true).by("eve"));
        }
        assert_eq!(latch.done.len(), REMEMBERED_IDS);
        assert!(latch.was_release(&command("first", false).by("ada")), "others push nothing of hers out");
        for n in 0..2 * REMEMBERED_IDS {
            let newest = command("r", false).by(&format!("{:04}", 9_999 - n));
            latch.remember(&newest);
            assert!(latch.was_release(&newest), "the newest one stays");
        }
        let old: Latch = serde_json::from_str(r#"{"engaged":true,"id":"a","reason":"","at_ns":1}"#).unwrap();
        assert!(matches!(
            old.with_own_id().judge_release(&command("a", false).by("ada")),
            Err(StopError::IdUsed { .. })
        ));
    }
}
