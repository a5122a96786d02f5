//! Samples trends and track, and watches the queue of way-points while it is shown.

pub(super) mod driving;

use crate::effect::Effect;
use crate::model::quality::Quality;
use crate::model::{Document, Model, Reading, Screen};

/// Way-points that are shown.
const SHOWN: usize = 9;

/// The screen is shown from the start.
pub(super) fn start(model: &mut Model) -> Vec<Effect> {
    switched(model)
}

/// Watches the way-points while they are shown, here and on the map.
pub fn switched(model: &mut Model) -> Vec<Effect> {
    let is_shown = matches!(model.screen, Screen::Drive | Screen::Map) && model.is_attended;
    match model.screens.drive.watch {
        Some(watch) if !is_shown => {
            model.screens.drive.watch = None;
            model.unwatch(watch)
        }
        None if is_shown => {
            model.screens.drive.waypoints = Document::default();
            let path = format!("/api/v2/queues/waypoints/peek?max={SHOWN}");
            let watch = model.watch(&path, |model, answer| {
                let now = model.now;
                model.screens.drive.waypoints.take(answer, now, |_| 0);
            });
            if let Effect::Watch { number, .. } = &watch {
                model.screens.drive.watch = Some(*number);
            }
            vec![watch]
        }
        _ => Vec::new(),
    }
}

pub(super) fn tick(model: &mut Model) -> Vec<Effect> {
    let now = model.now;
    if !model.screens.drive.is_due(now.mono) {
        return Vec::new();
    }
    let rover = &model.rover;
    let delay =
        model.network.active().filter(|_| model.network.is_responsive()).and_then(|endpoint| endpoint.rtt);
    let heat =
        rover.temperatures.values().filter(|reading| is_current(model, reading)).map(|reading| reading.value);
    let odometry =
        rover.odometry.as_ref().filter(|reading| is_current(model, reading)).map(|reading| reading.value);
    let battery = rover.battery.as_ref().filter(|reading| is_current(model, reading));
    let values = [
        odometry.map(|odometry| odometry.speed),
        battery.map(|reading| reading.value.current),
        heat.max_by(f64::total_cmp),
        delay.map(|rtt| rtt.as_secs_f64() * 1e3),
    ];
    let state = &mut model.screens.drive;
    state.sample(now.mono, values);
    if let Some(odometry) = odometry {
        state.visit(now.mono, (odometry.x, odometry.y));
    }
    Vec::new()
}

/// Whether a value is young enough to be a point of a trend.
fn is_current<T>(model: &Model, reading: &Reading<T>) -> bool {
    matches!(reading.quality(&model.topics, model.now), Quality::Fresh | Quality::Ageing)
}
