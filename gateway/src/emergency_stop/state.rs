//! This process's current view of the latch.

use crate::emergency_stop::file::Content;
use crate::emergency_stop::latch::{Latch, StopCommand};

/// The state of the stop, as far as this process knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StopState {
    /// Whether the stop is engaged. What cannot be read is engaged.
    pub engaged: bool,
    /// The command that set this state; empty if none did.
    pub id: String,
    /// The identity that gave it; empty if that is not known.
    pub by: String,
    /// The reason given, or why it is engaged without a command.
    pub reason: String,
    /// The time of the command, nanoseconds since the Unix epoch; 0 without one.
    pub at_ns: i64,
    /// Whether the state is on disk, so that it survives a restart and other processes know it.
    pub stored: bool,
    /// What is wrong with the latch, and what to do.
    pub problem: Option<String>,
}

/// The inputs of the state: the file, and the engages that are not safely in it.
#[derive(Clone, Debug)]
pub(crate) struct Knowledge {
    /// What the file says; a damaged one counts as engaged.
    pub(crate) content: Content,
    /// Engages that wait for the disk, or could not be stored where the other processes see them.
    pub(crate) unstored: Vec<StopCommand>,
    /// Engages for which the file was emptied, because the disk took no more than that.
    pub(crate) emptied_by: Vec<StopCommand>,
    /// Why the last engage could not be stored.
    pub(crate) failure: Option<String>,
}

impl Knowledge {
    /// Only the file decides.
    pub(crate) fn of(content: Content) -> Knowledge {
        Knowledge { content, unstored: Vec::new(), emptied_by: Vec::new(), failure: None }
    }

    /// The state. Whatever says "engaged" wins.
    pub(crate) fn state(&self) -> StopState {
        let stored = match &self.content {
            Content::Missing => StopState { stored: true, ..StopState::default() },
            Content::Latch(latch) => of_latch(latch),
            Content::Damaged(why) | Content::Unknown(why) => StopState {
                engaged: true,
                reason: format!("the latch is not readable: {why}"),
                problem: Some(format!("{why}; release the emergency stop to replace it")),
                ..StopState::default()
            },
        };
        let emptied = self.emptied_by.last().filter(|_| matches!(self.content, Content::Damaged(_)));
        match self.unstored.last().or(emptied) {
            None => stored,
            Some(StopCommand { id, by, reason, at_ns, .. }) => StopState {
                engaged: true,
                id: id.clone(),
                by: by.clone(),
                reason: reason.clone(),
                at_ns: *at_ns,
                stored: false,
                problem: self.failure.clone(),
            },
        }
    }
}

fn of_latch(latch: &Latch) -> StopState {
    StopState {
        engaged: latch.engaged,
        id: latch.id.clone(),
        by: latch.by.clone(),
        reason: latch.reason.clone(),
        at_ns: latch.at_ns,
        stored: true,
        problem: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_says_engaged_wins() {
        let released = Content::Latch(Latch { id: "go".to_owned(), ..Latch::default() });
        assert!(!Knowledge::of(Content::Missing).state().engaged);
        assert!(!Knowledge::of(released.clone()).state().engaged);
        let damaged = Knowledge::of(Content::Damaged("latch.json is empty".to_owned())).state();
        assert!(damaged.engaged && !damaged.stored && damaged.reason.contains("is empty"), "{damaged:?}");
        assert!(Knowledge::of(Content::Unknown("too many open files".to_owned())).state().engaged);
        let unstored = vec![StopCommand::new("stop", true, "test", 1)];
        let state =
            Knowledge { unstored, failure: Some("full".to_owned()), ..Knowledge::of(released) }.state();
        assert!(state.engaged && !state.stored && state.id == "stop" && state.problem.is_some());
    }
}
