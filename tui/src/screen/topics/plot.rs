//! The plot of the field under the cursor, and the fields that are pinned to the Drive screen.

use std::time::Duration;

use roverline_protocol::native::TopicInfo;
use roverline_schema::Value;

use crate::model::{Focus, Model};
use crate::screen::topics::series::{SPAN, Series, SeriesFault};

/// Most fields that are pinned.
pub const MAX_PINS: usize = 3;
/// Larger messages are not decoded for a value.
const MESSAGE_BYTES: usize = 256 << 10;
/// Most bytes of recorded messages from which a new series is filled.
const BACKFILL_BYTES: usize = 1 << 20;
/// The times that a plot shows.
pub const WINDOWS: [Duration; 4] =
    [Duration::from_secs(60), Duration::from_secs(120), Duration::from_secs(300), SPAN];
/// Steps of the cursor across a plot.
pub const CURSOR_STEPS: u32 = 60;

/// The plot.
#[derive(Clone, Debug, Default)]
pub struct Plot {
    /// What is plotted.
    pub series: Option<Series>,
    /// Whether it is closed.
    pub is_closed: bool,
    /// Index of its time in [`WINDOWS`].
    pub window: usize,
    /// The lowest and highest value, if they are fixed.
    pub fixed: Option<(f64, f64)>,
    /// Until when it shows values, if it is paused.
    pub paused: Option<Duration>,
    /// Where the cursor is, in steps before the end.
    pub cursor: Option<u32>,
}

impl Plot {
    /// The time that it shows.
    pub fn span(&self) -> Duration {
        WINDOWS.get(self.window).copied().unwrap_or(SPAN)
    }

    /// The last moment that it shows.
    pub fn end(&self, now: Duration) -> Duration {
        self.paused.unwrap_or(now)
    }

    /// The moment under the cursor.
    pub fn cursor_time(&self, now: Duration) -> Option<Duration> {
        let before = self.span() * self.cursor? / CURSOR_STEPS;
        Some(self.end(now).saturating_sub(before))
    }

    /// Lowest and highest value on the plot: the fixed ones, or those of the shown time with some room.
    pub fn bounds(&self, parts: &[Option<(f64, f64)>]) -> (f64, f64) {
        self.fixed.unwrap_or_else(|| bounds(parts))
    }
}

/// The lowest and the highest value with some room.
pub fn bounds(parts: &[Option<(f64, f64)>]) -> (f64, f64) {
    let start = (f64::INFINITY, f64::NEG_INFINITY);
    let (low, high) = parts.iter().flatten().fold(start, |(a, b), (low, high)| (a.min(*low), b.max(*high)));
    if low > high {
        return (0.0, 1.0);
    }
    // Halves, because the difference of two finite numbers may be infinite.
    let half = (high / 2.0 - low / 2.0) * 1.1;
    let middle = high / 2.0 + low / 2.0;
    let half = half.max(middle.abs() * 1e-3).max(1e-9);
    ((middle - half).max(f64::MIN), (middle + half).min(f64::MAX))
}

/// Takes a sample for the plot and the pins of its topic.
pub fn feed(model: &mut Model, info: &TopicInfo, payload: &[u8], at: Duration) {
    let state = &mut model.screens.topics;
    let all = || state.plot.series.iter().chain(&state.pins);
    if !all().any(|series| series.topic == info.name && series.is_due(at)) {
        return;
    }
    let message = decode(model, info, payload);
    let state = &mut model.screens.topics;
    for series in state.plot.series.iter_mut().chain(&mut state.pins) {
        if series.topic != info.name || !series.is_due(at) {
            continue;
        }
        series.set_type(&info.type_name);
        match &message {
            Ok(message) => series.take(message, at),
            Err(fault) => series.fail(*fault, at),
        }
    }
}

fn decode(model: &Model, info: &TopicInfo, payload: &[u8]) -> Result<Value, SeriesFault> {
    if payload.len() > MESSAGE_BYTES {
        return Err(SeriesFault::TooLarge);
    }
    if info.encoding == roverline_protocol::MessageEncoding::Json {
        let value = serde_json::from_slice::<serde_json::Value>(payload);
        return value.map(Value::from).map_err(|_| SeriesFault::Undecoded);
    }
    if !info.encoding.is_cdr() {
        return Err(SeriesFault::Undecoded);
    }
    let plan = model.registry.plan(&info.type_name).map_err(|_| SeriesFault::Undecoded)?;
    plan.decode(payload).map_err(|_| SeriesFault::Undecoded)
}

/// A series that is filled from the recorded half hour.
fn filled(model: &Model, topic: &str, type_name: &str, field: &str) -> Series {
    let mut series = Series::new(topic, type_name, field);
    let since = model.now.mono.saturating_sub(SPAN);
    let mut bytes = 0;
    let mut recorded: Vec<_> = model
        .history
        .values_of(topic)
        .take_while(|kept| {
            bytes += kept.payload.len();
            kept.at >= since && bytes <= BACKFILL_BYTES
        })
        .filter(|kept| kept.info.type_name == type_name)
        .collect();
    recorded.reverse();
    for kept in recorded {
        if let Ok(message) = decode(model, &kept.info, &kept.payload) {
            series.take(&message, kept.at);
        }
    }
    let newest = model.topics.rows.get(topic).and_then(|row| Some((row, row.latest.as_ref()?, row.at?)));
    if let Some((row, payload, at)) = newest
        && let Ok(message) = decode(model, &row.info, payload)
    {
        series.take(&message, at);
    }
    series
}

/// Plots the field under the cursor, if it is a number.
pub fn follow(model: &mut Model) {
    let state = &model.screens.topics;
    let Some(row) = model.topics.selected_row() else { return };
    let Some(field) = state.fields.rows.get(state.fields.cursor).filter(|field| field.is_number) else {
        return;
    };
    let (topic, type_name) = (&row.info.name, &row.info.type_name);
    let is_plotted = state.plot.series.as_ref().is_some_and(|series| series.is_of(topic, &field.path));
    if is_plotted || model.topics.focus != Focus::Fields {
        return;
    }
    let series = filled(model, topic, type_name, &field.path);
    let plot = &mut model.screens.topics.plot;
    // What was chosen for one field means nothing for another.
    *plot = Plot { series: Some(series), is_closed: plot.is_closed, window: plot.window, ..Plot::default() };
}

/// Pins the plotted field to the Drive screen, or takes it off. Returns what to tell the operator.
pub fn toggle_pin(model: &mut Model) -> Option<(bool, String)> {
    follow(model);
    let state = &mut model.screens.topics;
    let Some(series) = &state.plot.series else {
        return Some((false, "no number is under the cursor".to_owned()));
    };
    let name = crate::format::printable(&format!("{} {}", series.topic, series.field));
    if let Some(at) = state.pins.iter().position(|pin| pin.is_of(&series.topic, &series.field)) {
        state.pins.remove(at);
        return Some((false, format!("{name} is off the Drive screen")));
    }
    if state.pins.len() >= MAX_PINS {
        return Some((true, format!("{MAX_PINS} fields are pinned: p on one of them takes it off")));
    }
    let pin = series.clone();
    state.pins.push(pin);
    Some((false, format!("{name} is on the Drive screen")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_have_room_and_survive_the_largest_numbers() {
        let of = |values: &[f64]| bounds(&values.iter().map(|v| Some((*v, *v))).collect::<Vec<_>>());
        assert_eq!(bounds(&[None, None]), (0.0, 1.0));
        let (low, high) = of(&[1.0, 3.0]);
        assert!(low < 1.0 && low > 0.5 && high > 3.0 && high < 3.5);
        let (low, high) = of(&[5.0]);
        assert!(low < 5.0 && high > 5.0);
        let (low, high) = of(&[f64::MAX, f64::MIN]);
        assert!(low.is_finite() && high.is_finite() && low < high);
    }

    #[test]
    fn the_cursor_is_a_time_before_the_end() {
        let plot = Plot { cursor: Some(30), ..Plot::default() };
        assert_eq!(plot.cursor_time(Duration::from_secs(100)), Some(Duration::from_secs(70)));
        let paused = Plot { paused: Some(Duration::from_secs(90)), ..plot };
        assert_eq!(paused.cursor_time(Duration::from_secs(100)), Some(Duration::from_secs(60)));
    }
}
