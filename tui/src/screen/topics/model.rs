//! State of the Topics screen.

use std::time::Duration;

use roverline_protocol::api::kv::KvList;

use crate::model::api::Document;
pub use crate::screen::topics::fields::{FieldRow, Fields};
use crate::screen::topics::plot::Plot;
use crate::screen::topics::series::Series;

/// The state. The list itself is shared: its rows know rate and age.
#[derive(Debug, Default)]
pub struct State {
    /// Fields of the selected topic.
    pub fields: Fields,
    /// The plot of one of them.
    pub plot: Plot,
    /// Fields that are pinned to the Drive screen.
    pub pins: Vec<Series>,
    /// Limits and expected rates that were set from consoles, while this screen is shown.
    pub settings: Document<KvList>,
    /// The watch of them.
    pub watch: Option<u64>,
}

impl State {
    /// Whether a field of this topic is pinned: it is subscribed then.
    pub fn has_pin_of(&self, topic: &str) -> bool {
        self.pins.iter().any(|series| series.topic == topic)
    }

    /// Plot and pins as they were at a moment.
    pub fn until(&self, at: Duration) -> State {
        let series = self.plot.series.as_ref().map(|series| series.until(at));
        let plot = Plot { series, paused: Some(at), ..self.plot.clone() };
        let pins = self.pins.iter().map(|series| series.until(at)).collect();
        State { plot, pins, ..State::default() }
    }
}
