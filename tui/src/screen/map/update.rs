//! What the keys of the Map screen do.

use crate::effect::Effect;
use crate::format;
use crate::model::{Form, Model, QuestionKind};
use crate::screen::drive;
use crate::screen::map::layers;
use crate::screen::map::model::middle;
use crate::screen::team::enqueue;
use crate::update::subscriptions;

/// The queue of way-points.
pub(super) const QUEUE: &str = "waypoints";
/// Factor of a zoom.
const ZOOM: f64 = 1.5;

/// Way-points, marks and scans are watched while they are shown.
pub(super) fn switched(model: &mut Model) -> Vec<Effect> {
    model.screens.map.scan = None;
    let mut effects = drive::switched(model);
    effects.extend(layers::watch(model));
    effects.extend(subscriptions::adjust(model));
    effects
}

pub(super) fn scroll(_model: &mut Model, _by: isize) -> Vec<Effect> {
    Vec::new()
}

pub(super) fn zoom_in(model: &mut Model) -> Vec<Effect> {
    model.screens.map.zoom(1.0 / ZOOM);
    Vec::new()
}

pub(super) fn zoom_out(model: &mut Model) -> Vec<Effect> {
    model.screens.map.zoom(ZOOM);
    Vec::new()
}

fn pan(model: &mut Model, east: f64, north: f64) -> Vec<Effect> {
    let middle = middle(model);
    model.screens.map.pan(middle, east, north);
    Vec::new()
}

pub(super) fn west(model: &mut Model) -> Vec<Effect> {
    pan(model, -1.0, 0.0)
}

pub(super) fn east(model: &mut Model) -> Vec<Effect> {
    pan(model, 1.0, 0.0)
}

pub(super) fn north(model: &mut Model) -> Vec<Effect> {
    pan(model, 0.0, 1.0)
}

pub(super) fn south(model: &mut Model) -> Vec<Effect> {
    pan(model, 0.0, -1.0)
}

pub(super) fn follow(model: &mut Model) -> Vec<Effect> {
    model.screens.map.center = None;
    Vec::new()
}

pub(super) fn measure(model: &mut Model) -> Vec<Effect> {
    let middle = middle(model);
    let from = &mut model.screens.map.measured_from;
    *from = if from.is_some() { None } else { Some(middle) };
    Vec::new()
}

/// Opens the question whether the middle becomes a way-point.
pub(super) fn open_way_point(model: &mut Model) -> Vec<Effect> {
    if model.screens.map.center.is_none() {
        model.notify(false, "pan to the place first: the rover is in the middle".to_owned());
        return Vec::new();
    }
    let (x, y) = middle(model);
    let message = format!("{{\"x\": {x:.2}, \"y\": {y:.2}}}");
    let lines = vec![
        format!("{} east, {} north of the start,", format::number(x, 1, " m"), format::number(y, 1, " m")),
        format!("into the queue {QUEUE}, behind the others: {message}"),
    ];
    let form = Form::yes_or_no("Send a way-point?", lines, vec![message], |model, form, _| {
        form.subject.first().map(|message| enqueue(model, QUEUE, message)).unwrap_or_default()
    });
    model.open_question(QuestionKind::Other(form));
    Vec::new()
}

/// Copies latitude and longitude into the terminal's clipboard.
pub(super) fn copy_position(model: &mut Model) -> Vec<Effect> {
    let Some(fix) = model.rover.fix.as_ref().map(|reading| reading.value) else {
        model.notify(false, "no position was received: nothing is copied".to_owned());
        return Vec::new();
    };
    let text = format!("{:.7}, {:.7}", fix.latitude, fix.longitude);
    model.notify(false, format!("copied: {text}"));
    vec![Effect::Copy(text)]
}
