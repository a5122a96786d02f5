//! Labelled rows of the overview, for the screen and for printing.

mod rows;

use std::time::Duration;

use crate::model::quality::Quality;

use crate::model::{MAX_DIAGNOSTICS, Model, Reading};
use crate::overview_rows::rows::SUMMARY;
pub use crate::overview_rows::rows::{diagnostics, mission, motion, power, safety, temperatures};

/// Alarm level of a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlarmLevel {
    /// Normal.
    #[default]
    Normal,
    /// Warning.
    Caution,
    /// Critical.
    Alarm,
}

impl AlarmLevel {
    /// A symbol beside the value, so that colour is never alone.
    pub const fn mark(self) -> &'static str {
        match self {
            AlarmLevel::Normal => "",
            AlarmLevel::Caution => "▲ ",
            AlarmLevel::Alarm => "■ ",
        }
    }
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Label.
    pub label: String,
    /// Value with its unit; `–` if never received.
    pub value: String,
    /// Alarm level.
    pub tone: AlarmLevel,
    /// Quality.
    pub quality: Quality,
    /// Age.
    pub age: Option<Duration>,
    /// Fraction 0 to 1 for a gauge.
    pub gauge: Option<f64>,
    /// The last minute, as bars.
    pub trend: Option<String>,
}

/// Related rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Heading.
    pub title: &'static str,
    /// Most important first.
    pub rows: Vec<Row>,
}

/// All groups in reading order.
pub fn groups(model: &Model) -> Vec<Group> {
    vec![
        safety(model),
        motion(model),
        power(model),
        mission(model),
        temperatures(model),
        diagnostics(model, 8),
    ]
}

/// Values that are not normal and young enough to act on, the worst first; without the stop, which has a line of its
/// own.
pub fn abnormal(model: &Model) -> Vec<Row> {
    let is_current = |row: &Row| matches!(row.quality, Quality::Fresh | Quality::Ageing);
    let mut rows = safety(model).rows.split_off(1);
    let groups = [power(model), temperatures(model), diagnostics(model, MAX_DIAGNOSTICS)];
    // The summary repeats the others.
    let rest = groups.into_iter().flat_map(|group| group.rows).filter(|row| row.label != SUMMARY);
    rows.extend(rest);
    rows.retain(|row| row.tone != AlarmLevel::Normal && is_current(row));
    rows.sort_by_key(|row| std::cmp::Reverse(row.tone));
    rows
}

/// How many alarms need attention now, and how many others are open, as the gateway evaluates them; values that this
/// console finds abnormal, if the gateway evaluates none.
pub fn alarm_counts(model: &Model) -> (usize, usize) {
    if let Some(counts) = model.screens.alarms.counts() {
        return counts;
    }
    let rows = abnormal(model);
    let count = |level| rows.iter().filter(|row| row.tone == level).count();
    (count(AlarmLevel::Alarm), count(AlarmLevel::Caution))
}

/// A row from a reading; `show` returns text and alarm level.
pub fn row<T>(
    model: &Model,
    label: &str,
    reading: Option<&Reading<T>>,
    show: impl Fn(&T) -> (String, AlarmLevel),
) -> Row {
    let label = label.to_owned();
    let Some(reading) = reading else {
        return Row {
            label,
            value: "–".to_owned(),
            tone: AlarmLevel::Normal,
            quality: Quality::Never,
            age: None,
            gauge: None,
            trend: None,
        };
    };
    let (value, tone) = show(&reading.value);
    let age = Some(model.now.since(reading.at));
    Row {
        label,
        value,
        tone,
        quality: reading.quality(&model.topics, model.now),
        age,
        gauge: None,
        trend: None,
    }
}
