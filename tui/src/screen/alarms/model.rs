//! State of the Alarms screen: the alarms of the gateway, which all consoles share.

use std::collections::BTreeSet;
use std::time::Duration;

use roverline_protocol::api::alarms::{AlarmDocument, AlarmList, AlarmSeverity, AlarmState};

use crate::model::api::Document;

/// The state.
#[derive(Debug, Default)]
pub struct State {
    /// The alarms.
    pub list: Document<AlarmList>,
    /// Id of the selected one.
    pub cursor: String,
    /// Whether cleared ones are listed as well.
    pub with_cleared: bool,
    /// Occurrences that have been on the screen; `None` before the first list.
    known: Option<BTreeSet<(String, u64)>>,
    /// When the newest alarm came.
    pub news: Option<Duration>,
    /// The terminal has not been rung for it yet.
    pub is_bell_due: bool,
    /// The title that the terminal has.
    pub title: String,
}

/// Alarms from this severity on need attention now.
pub const URGENT: AlarmSeverity = AlarmSeverity::Distress;

impl State {
    /// The alarms that are listed, the most urgent first.
    pub fn listed(&self) -> Vec<&AlarmDocument> {
        let all = self.list.value.iter().flat_map(|list| &list.alarms);
        all.filter(|alarm| self.with_cleared || alarm.state != AlarmState::Cleared).collect()
    }

    /// Those that wait for an acknowledgement, the most urgent first.
    pub fn unacknowledged(&self) -> impl Iterator<Item = &AlarmDocument> {
        let all = self.list.value.iter().flat_map(|list| &list.alarms);
        all.filter(|alarm| alarm.state == AlarmState::Raised && alarm.shelved.is_none())
    }

    /// How many open ones need attention now, and how many others there are.
    pub fn counts(&self) -> Option<(usize, usize)> {
        let totals = &self.list.value.as_ref()?.totals;
        let urgent: usize =
            totals.by_severity.iter().filter(|(severity, _)| **severity >= URGENT).map(|(_, n)| n).sum();
        Some((urgent, totals.open.saturating_sub(urgent)))
    }

    /// The index of the selected row.
    pub fn cursor_index(&self) -> usize {
        self.listed().iter().position(|alarm| alarm.id == self.cursor).unwrap_or(0)
    }

    /// The selected alarm.
    pub fn selected(&self) -> Option<&AlarmDocument> {
        self.listed().get(self.cursor_index()).copied()
    }

    /// Takes notice of alarms that were not there before. Those of the first list are not new.
    pub fn observe(&mut self, now: Duration) {
        let open = self.list.value.iter().flat_map(|list| &list.alarms);
        let is_open = |alarm: &&AlarmDocument| alarm.state == AlarmState::Raised && alarm.shelved.is_none();
        let open: BTreeSet<(String, u64)> =
            open.filter(is_open).map(|alarm| (alarm.id.clone(), alarm.occurrence)).collect();
        if self.known.as_ref().is_some_and(|known| open.iter().any(|one| !known.contains(one))) {
            (self.news, self.is_bell_due) = (Some(now), true);
        }
        self.known = Some(open);
    }
}
