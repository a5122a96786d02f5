//! State of the Map screen.

use std::time::Duration;

use roverline_protocol::api::kv::{KvDocument, KvList};

use crate::model::Model;
use crate::model::api::Document;
use crate::screen::drive::model::{WayPoint, way_point};

/// Keys of marks begin so: `marks/NAME` is an object with `x` and `y` or `lat` and `lon`, and a `note`.
pub const MARKS: &str = "marks/";
/// Most marks that are shown.
pub const MAX_MARKS: usize = 100;
/// Most returns of a scan that are shown.
pub const MAX_SCAN_POINTS: usize = 2_048;
/// An older scan is not where the rover is now.
pub const SCAN_OLD: Duration = Duration::from_secs(2);
/// Smallest and largest scale, metres for each column.
const SCALES: (f64, f64) = (0.05, 1_000.0);
/// Scale at the start.
const SCALE: f64 = 0.5;
/// Columns that one key pans by.
const PAN_COLUMNS: f64 = 8.0;

/// The state.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Metres for each column.
    pub scale: f64,
    /// The place in the middle, metres east and north of the start; `None` follows the rover.
    pub center: Option<(f64, f64)>,
    /// The place from which is measured.
    pub measured_from: Option<(f64, f64)>,
    /// Marks, while the map is shown.
    pub marks: Document<KvList>,
    /// The watch of them.
    pub watch: Option<u64>,
    /// The newest scan.
    pub scan: Option<Scan>,
    /// Whether scans are not shown.
    pub is_scan_hidden: bool,
}

/// A mark, which everybody sees.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// Its name.
    pub name: String,
    /// Where.
    pub at: WayPoint,
    /// What is there.
    pub note: String,
}

/// The returns of a scan.
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    /// Their places, metres east and north.
    pub points: Vec<(f64, f64)>,
    /// When it was created.
    pub at: Duration,
}

impl Default for State {
    fn default() -> State {
        State {
            scale: SCALE,
            center: None,
            measured_from: None,
            marks: Document::default(),
            watch: None,
            scan: None,
            is_scan_hidden: false,
        }
    }
}

impl State {
    /// The marks, by name.
    pub fn marks(&self) -> Vec<Mark> {
        let values = self.marks.value.iter().flat_map(|list| &list.keys).take(MAX_MARKS);
        let mark = |value: &KvDocument| {
            let name = value.key.strip_prefix(MARKS)?.to_owned();
            let note = value.value.get("note").and_then(serde_json::Value::as_str).unwrap_or_default();
            Some(Mark { name, at: way_point(&value.value)?, note: note.to_owned() })
        };
        values.filter_map(mark).collect()
    }

    /// Zooms by a factor; above 1 shows more.
    pub fn zoom(&mut self, factor: f64) {
        self.scale = (self.scale * factor).clamp(SCALES.0, SCALES.1);
    }

    /// Pans from this place by some keys east and north; the map does not follow the rover then.
    pub fn pan(&mut self, (x, y): (f64, f64), east: f64, north: f64) {
        let step = self.scale * PAN_COLUMNS;
        self.center = Some((x + east * step, y + north * step));
    }
}

/// The rover, metres east and north of the start.
pub(super) fn rover(model: &Model) -> Option<(f64, f64)> {
    model.rover.odometry.as_ref().map(|reading| (reading.value.x, reading.value.y))
}

/// The place in the middle of the map.
pub(super) fn middle(model: &Model) -> (f64, f64) {
    model.screens.map.center.or_else(|| rover(model)).unwrap_or((0.0, 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zoom_is_bounded_and_a_pan_is_of_what_is_seen() {
        let mut state = State::default();
        for _ in 0..100 {
            state.zoom(2.0);
        }
        assert_eq!(state.scale, SCALES.1);
        state.scale = 1.0;
        state.pan((10.0, 0.0), 1.0, -1.0);
        assert_eq!(state.center, Some((18.0, -8.0)));
    }
}
