//! The emergency stop as the operator must see it: what was asked for, and what is known now.

use std::time::Duration;

use crate::model::quality::Quality;
use crate::model::rover::Reading;
use crate::model::{Model, NOTIFICATION_DURATION};

/// A release without an answer for this long counts as failed.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a refused or unanswered release is shown.
const RELEASE_SHOWN: Duration = Duration::from_secs(16);
/// Ids of one command that are kept: each press of the key is a command of its own.
const IDS: usize = 16;

/// The operator's last stop or release command. Pressing the stop again while it is unanswered is
/// the same command: one accepted answer is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopCommand {
    /// The ids under which it was sent, assigned by the client.
    pub ids: Vec<String>,
    /// Engage or release.
    pub engage: bool,
    /// When it was first asked for.
    pub asked: Duration,
    /// The same, by the wall clock, nanoseconds.
    pub asked_ns: i64,
    /// The answer so far.
    pub answer: Option<StopAnswer>,
}

/// An endpoint's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopAnswer {
    /// Whether it was accepted.
    pub accepted: bool,
    /// The gateway's message.
    pub message: String,
    /// When it came.
    pub at: Duration,
}

/// The known state of the rover's stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopState {
    /// Its state was never received.
    Never,
    /// It is engaged.
    Engaged,
    /// It is released.
    Released,
    /// Its state was received, and may have changed since.
    Unknown {
        /// Whether it was engaged.
        engaged: bool,
        /// When it was last known to be so.
        since: Duration,
    },
}

impl Model {
    /// Records that a stop or release was sent under this id.
    pub(crate) fn stop_sent(&mut self, id: String, engage: bool) {
        let now = self.now;
        match &mut self.stop {
            Some(stop) if engage && stop.is_unheard() => {
                if stop.ids.len() >= IDS {
                    stop.ids.remove(0);
                }
                stop.ids.push(id);
            }
            _ => {
                let (asked, asked_ns) = (now.mono, now.wall_ns);
                self.stop = Some(StopCommand { ids: vec![id], engage, asked, asked_ns, answer: None });
            }
        }
    }

    /// Records an answer. Every connected endpoint answers; the first acceptance is enough, so nothing
    /// replaces it.
    pub(crate) fn stop_answered(&mut self, id: &str, accepted: bool, message: String) {
        let at = self.now.mono;
        let Some(stop) = self.stop.as_mut().filter(|stop| stop.ids.iter().any(|own| own == id)) else {
            return;
        };
        let is_accepted = stop.answer.as_ref().is_some_and(|answer| answer.accepted);
        if !is_accepted && (accepted || stop.answer.is_none()) {
            stop.answer = Some(StopAnswer { accepted, message, at });
        }
    }

    /// The stop that no endpoint has accepted yet.
    pub fn unheard_stop(&self) -> Option<&StopCommand> {
        self.stop.as_ref().filter(|stop| stop.is_unheard())
    }

    /// The last command, as long as the operator should see what became of it.
    pub fn shown_command(&self) -> Option<&StopCommand> {
        let now = self.now;
        self.stop.as_ref().filter(|stop| match &stop.answer {
            _ if stop.is_unheard() => true,
            Some(answer) if answer.accepted => now.since(answer.at) <= NOTIFICATION_DURATION,
            _ => now.since(stop.asked) < RELEASE_SHOWN,
        })
    }

    /// The answer that accepted the last stop, while no state has been received that would say more.
    pub fn accepted_without_state(&self) -> Option<&StopAnswer> {
        let answer = self.stop.as_ref().filter(|stop| stop.has_engaged())?.answer.as_ref()?;
        let is_before = |reading: &Reading<bool>| !reading.value && reading.at < answer.at;
        let says_nothing = self.rover.emergency_stop.as_ref().is_none_or(is_before);
        let is_unknown = matches!(self.stop_state(), StopState::Never | StopState::Unknown { .. });
        (says_nothing && is_unknown).then_some(answer)
    }

    /// The known state of the rover's stop. Nothing is while no endpoint is connected, or while the state's
    /// topic is stale.
    pub fn stop_state(&self) -> StopState {
        let Some(reading) = &self.rover.emergency_stop else { return StopState::Never };
        let quality = reading.quality(&self.topics, self.now);
        if self.network.is_connected() && matches!(quality, Quality::Fresh | Quality::Ageing) {
            return if reading.value { StopState::Engaged } else { StopState::Released };
        }
        let vouched = self.topics.rows.get(&reading.topic).map(|row| row.vouched(reading.at));
        StopState::Unknown { engaged: reading.value, since: vouched.unwrap_or(reading.at) }
    }
}

impl StopCommand {
    /// Whether it is a stop that no endpoint has accepted.
    pub fn is_unheard(&self) -> bool {
        self.engage && !self.answer.as_ref().is_some_and(|answer| answer.accepted)
    }

    /// Whether an endpoint has accepted this stop.
    pub fn has_engaged(&self) -> bool {
        self.engage && !self.is_unheard()
    }

    /// Whether an answer is overdue. A release is not said again.
    pub fn is_overdue(&self, model: &Model) -> bool {
        self.answer.is_none() && model.now.since(self.asked) >= RELEASE_TIMEOUT
    }
}
