//! The overview as labelled rows, for the screen and for printing alike.

mod rows;

use std::time::Duration;

use roverline_protocol::quality::Quality;

use crate::model::{Model, Reading};
pub use crate::overview_rows::rows::{diagnostics, mission, motion, power, safety, temperatures};

/// Whether a value is as it should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    /// Not worth a colour.
    #[default]
    Normal,
    /// Watch it.
    Caution,
    /// Act.
    Alarm,
}

impl Tone {
    /// A mark beside the value, so that colour is never alone.
    pub const fn mark(self) -> &'static str {
        match self {
            Tone::Normal => "",
            Tone::Caution => "▲ ",
            Tone::Alarm => "■ ",
        }
    }
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What it is.
    pub label: String,
    /// With its unit; `–` when never received.
    pub value: String,
    /// Whether it is as it should be.
    pub tone: Tone,
    /// How far it can be trusted.
    pub quality: Quality,
    /// How old it is.
    pub age: Option<Duration>,
    /// Part of the whole, 0 to 1, where a gauge helps.
    pub gauge: Option<f64>,
}

/// Rows that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Their heading.
    pub title: &'static str,
    /// The most important first.
    pub rows: Vec<Row>,
}

/// Everything, in the order in which one reads it.
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

/// A row from a reading; `show` gives the text and how it should be taken.
fn row<T>(
    model: &Model,
    label: &str,
    reading: Option<&Reading<T>>,
    show: impl Fn(&T) -> (String, Tone),
) -> Row {
    let label = label.to_owned();
    let Some(reading) = reading else {
        return Row {
            label,
            value: "–".to_owned(),
            tone: Tone::Normal,
            quality: Quality::Never,
            age: None,
            gauge: None,
        };
    };
    let (value, tone) = show(&reading.value);
    let age = Some(model.now.since(reading.at));
    Row { label, value, tone, quality: reading.quality(&model.topics, model.now), age, gauge: None }
}
