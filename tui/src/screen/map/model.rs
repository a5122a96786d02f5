//! State of the Map screen.

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
}

impl Default for State {
    fn default() -> State {
        State { scale: SCALE, center: None, measured_from: None }
    }
}

impl State {
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
