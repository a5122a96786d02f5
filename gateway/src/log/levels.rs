//! The levels of this process's log while it runs: the configured filter, and another one for a limited time. The log
//! always goes back to the configured one, so that a forgotten `debug` does not fill the disk.

use std::time::Duration;

use roverline_protocol::api::log::LogDocument;
use roverline_protocol::limits::{LOG_CHANGE_DEFAULT_S, LOG_CHANGE_MAX_S};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::identity::log_name;
use crate::log::filter::{FilterError, LogFilter};

/// Two ends of a change that are this close are the same: the change came by two ways.
const SAME_END: Duration = Duration::from_secs(2);
/// Who a change is by that names nobody.
const UNKNOWN: &str = "unknown";

/// The filter in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelState {
    /// The filter.
    pub filter: String,
    /// The end of a change, by the monotonic clock; `None`: the filter is the configured one.
    pub until: Option<Duration>,
    /// Who changed it last; `None`: nobody.
    pub by: Option<String>,
}

/// A change, as it goes from process to process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelChange {
    /// The filter; `None` puts the configured one back.
    #[serde(default)]
    pub level: Option<String>,
    /// How long it holds, seconds; `None`: an hour.
    #[serde(default)]
    pub for_s: Option<u64>,
    /// Who changes it.
    #[serde(default)]
    pub by: String,
}

/// Why a level is not changed.
#[derive(Debug, thiserror::Error)]
pub enum LevelError {
    /// The filter is not understood.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// It would hold for too short or too long.
    #[error(
        "a level holds for 1 s to {LOG_CHANGE_MAX_S} s (24 h), then the configured one is put back; for longer, set \
         level under [log] in roverline.toml"
    )]
    Duration,
    /// There is no log whose level could change.
    #[error("this process writes no log: its directory could not be used at the start")]
    NoLog,
    /// The process is stopping.
    #[error("the process is stopping")]
    Stopping,
}

/// Who puts levels back that an earlier supervisor changed.
const SUPERVISOR: &str = "the supervisor";

/// Makes a filter effective.
type Apply = Box<dyn Fn(&LogFilter) + Send + Sync>;

/// The levels of one process.
pub struct Levels {
    configured: LogFilter,
    apply: Option<Apply>,
    state: watch::Sender<LevelState>,
}

impl Levels {
    /// `apply` makes a filter effective; without it, there is no log.
    pub(super) fn new(configured: LogFilter, apply: Option<Apply>) -> Levels {
        let state = LevelState { filter: configured.text().to_owned(), until: None, by: None };
        Levels { configured, apply, state: watch::Sender::new(state) }
    }

    /// Receives every change.
    pub fn subscribe(&self) -> watch::Receiver<LevelState> {
        self.state.subscribe()
    }

    /// Whether the level differs from the configured one for now.
    pub fn is_changed(&self) -> bool {
        self.state.borrow().until.is_some()
    }

    /// Whether there is a log.
    pub(super) fn has_log(&self) -> bool {
        self.apply.is_some()
    }

    /// The change in effect at `now`, for a process that has not been told.
    pub fn change_in_effect(&self, now: Duration) -> LevelChange {
        let state = self.state.borrow();
        let left = state.until.map(|until| (until.saturating_sub(now).as_secs_f64().ceil() as u64).max(1));
        LevelChange {
            level: left.map(|_| state.filter.clone()),
            for_s: left,
            by: state.by.clone().unwrap_or_else(|| SUPERVISOR.to_owned()),
        }
    }

    /// Changes the level at `now`, or puts the configured one back.
    pub fn change(&self, change: &LevelChange, now: Duration) -> Result<(), LevelError> {
        let Some(apply) = &self.apply else { return Err(LevelError::NoLog) };
        let by = log_name(&change.by).unwrap_or_else(|| UNKNOWN.to_owned());
        let Some(text) = &change.level else {
            self.restore(&by);
            return Ok(());
        };
        let filter: LogFilter = text.parse()?;
        let seconds = change.for_s.unwrap_or(LOG_CHANGE_DEFAULT_S);
        if !(1..=LOG_CHANGE_MAX_S).contains(&seconds) {
            return Err(LevelError::Duration);
        }
        let until = now + Duration::from_secs(seconds);
        let before = self.state.borrow().clone();
        let is_same = before.filter == filter.text()
            && before.by.as_ref() == Some(&by)
            && before.until.is_some_and(|before| before.abs_diff(until) < SAME_END);
        if is_same {
            return Ok(());
        }
        apply(&filter);
        tracing::info!(
            event_type = "log.level_changed",
            from = before.filter,
            to = filter.text(),
            by,
            for_s = seconds,
            "the level of the log was changed"
        );
        self.state.send_replace(LevelState {
            filter: filter.text().to_owned(),
            until: Some(until),
            by: Some(by),
        });
        Ok(())
    }

    /// Puts the configured level back once a change has ended.
    pub(super) fn end_change(&self, now: Duration) {
        if self.state.borrow().until.is_some_and(|until| until <= now) {
            self.restore("the end of its time");
        }
    }

    fn restore(&self, by: &str) {
        let before = self.state.borrow().clone();
        if before.until.is_none() {
            return;
        }
        if let Some(apply) = &self.apply {
            apply(&self.configured);
        }
        let to = self.configured.text();
        tracing::info!(
            event_type = "log.level_restored",
            from = before.filter,
            to,
            by,
            "the configured level of the log is back"
        );
        self.state.send_replace(LevelState { filter: to.to_owned(), until: None, by: Some(by.to_owned()) });
    }

    /// The levels as a document; `processes`: those that were told of a change.
    pub fn document(&self, now: Duration, processes: Vec<String>) -> LogDocument {
        let state = self.state.borrow();
        LogDocument {
            level: state.filter.clone(),
            configured: self.configured.text().to_owned(),
            remaining_s: state.until.map(|until| until.saturating_sub(now).as_secs_f64()),
            changed_by: state.until.and(state.by.clone()),
            processes,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn levels() -> (Levels, Arc<Mutex<Vec<String>>>) {
        let applied = Arc::<Mutex<Vec<String>>>::default();
        let kept = applied.clone();
        let apply: Apply = Box::new(move |filter| kept.lock().push(filter.text().to_owned()));
        (Levels::new("warn".parse().unwrap(), Some(apply)), applied)
    }

    fn to(level: &str, for_s: Option<u64>) -> LevelChange {
        LevelChange { level: Some(level.to_owned()), for_s, by: "ann\n".to_owned() }
    }

    #[test]
    fn a_change_ends_by_itself() {
        let (levels, applied) = levels();
        levels.change(&to("debug", Some(600)), 5 * S).unwrap();
        assert_eq!(
            levels.change_in_effect(6 * S),
            LevelChange { by: "ann".into(), ..to("debug", Some(599)) }
        );
        levels.end_change(604 * S);
        let shown = levels.document(604 * S, Vec::new());
        assert_eq!((shown.level.as_str(), shown.configured.as_str()), ("debug", "warn"));
        assert_eq!((shown.remaining_s, shown.changed_by.as_deref()), (Some(1.0), Some("ann")));
        levels.end_change(605 * S);
        levels.end_change(606 * S);
        assert_eq!(*applied.lock(), ["debug", "warn"]);
        assert_eq!(levels.document(606 * S, Vec::new()).changed_by, None);
        assert_eq!(levels.change_in_effect(606 * S).level, None);
    }

    #[test]
    fn without_an_end_it_holds_for_an_hour() {
        let (levels, _) = levels();
        levels.change(&to("debug", None), Duration::ZERO).unwrap();
        levels.end_change(Duration::from_secs(LOG_CHANGE_DEFAULT_S) - S);
        assert!(levels.is_changed());
        levels.end_change(Duration::from_secs(LOG_CHANGE_DEFAULT_S));
        assert!(!levels.is_changed());
    }

    #[test]
    fn a_change_that_comes_by_two_ways_is_one() {
        let (levels, applied) = levels();
        let mut changes = levels.subscribe();
        levels.change(&to("debug", Some(600)), Duration::ZERO).unwrap();
        changes.mark_unchanged();
        levels.change(&to("debug", Some(600)), S).unwrap();
        assert!(!changes.has_changed().unwrap() && applied.lock().len() == 1);
        levels.change(&to("debug", Some(600)), 60 * S).unwrap();
        assert!(changes.has_changed().unwrap(), "it holds for longer");
        levels.change(&LevelChange { level: None, for_s: None, by: String::new() }, 61 * S).unwrap();
        assert_eq!(changes.borrow_and_update().by.as_deref(), Some(UNKNOWN));
    }

    #[test]
    fn what_is_not_understood_changes_nothing() {
        let (levels, applied) = levels();
        for (change, words) in [
            (to("debgu", None), "character 1: 'debgu' is no level"),
            (to("debug", Some(0)), "24 h"),
            (to("debug", Some(LOG_CHANGE_MAX_S + 1)), "24 h"),
        ] {
            let error = levels.change(&change, S).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        assert!(applied.lock().is_empty() && !levels.is_changed());
        let none = Levels::new(LogFilter::default(), None);
        assert!(matches!(none.change(&to("debug", None), S), Err(LevelError::NoLog)));
    }
}
