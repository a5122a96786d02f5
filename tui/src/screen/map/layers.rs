//! What is drawn on the map beside the track: marks, which everybody sees, and the newest scan.

use std::time::Duration;

use roverline_client::LinkSample;
use roverline_schema::Value;
use serde_json::json;

use crate::effect::Effect;
use crate::format;
use crate::model::{Form, Model, QuestionKind, Screen};
use crate::screen::drive::model::bearing;
use crate::screen::drive::position_of;
use crate::screen::map::model::{MARKS, MAX_MARKS, MAX_SCAN_POINTS, Scan, middle};
use crate::shared_values;
use crate::update::subscriptions;

/// The type of scans.
const SCAN: &str = "sensor_msgs/msg/LaserScan";
/// Most bytes of a scan.
const SCAN_BYTES: usize = 256 << 10;
/// Most characters of a mark's name; the rest is its note.
const NAME_CHARS: usize = 24;

/// Watches the marks while the map is shown.
pub(super) fn watch(model: &mut Model) -> Vec<Effect> {
    let is_shown = model.screen == Screen::Map && model.is_attended;
    let path = format!("/api/v2/kv?prefix={MARKS}&limit={MAX_MARKS}");
    let present = model.screens.map.watch;
    let (watch, effects) = shared_values::watch_while(model, is_shown, present, &path, |model, answer| {
        let now = model.now;
        model.screens.map.marks.take(answer, now, |list| list.revision);
    });
    model.screens.map.watch = watch;
    effects
}

/// The topic whose scans are shown: the first one, while the map is.
pub fn scan_topic(model: &Model) -> Option<&str> {
    let is_shown = model.screen == Screen::Map && !model.screens.map.is_scan_hidden && model.is_attended;
    let mut rows = model.topics.rows.values().filter(|row| row.listed && row.info.type_name == SCAN);
    rows.next().filter(|_| is_shown).map(|row| row.info.name.as_str())
}

/// Takes a scan, seen from where the rover is now.
pub fn feed(model: &mut Model, sample: &LinkSample, at: Duration) {
    let is_shown = sample.topic.type_name == SCAN && scan_topic(model) == Some(&sample.topic.name);
    if !is_shown || !sample.topic.encoding.is_cdr() || sample.payload.len() > SCAN_BYTES {
        return;
    }
    let odometry = model.rover.odometry.as_ref().map(|reading| reading.value);
    let pose = odometry.and_then(|odometry| Some(((odometry.x, odometry.y), odometry.heading?)));
    let message = model.registry.plan(SCAN).ok().and_then(|plan| plan.decode(&sample.payload).ok());
    if let (Some((place, course)), Some(message)) = (pose, message) {
        let points = points(&message, place, course);
        model.screens.map.scan = Some(Scan { points, at });
    }
}

/// The places of a scan's returns, metres east and north. `course` is the rover's, degrees from north. Where the sensor
/// is on the rover is not taken into account.
fn points(message: &Value, (x, y): (f64, f64), course: f64) -> Vec<(f64, f64)> {
    let number = |field: &str| message.get(field).and_then(Value::as_f64).filter(|value| value.is_finite());
    let (Some(first), Some(step)) = (number("angle_min"), number("angle_increment")) else {
        return Vec::new();
    };
    let (least, most) = (number("range_min").unwrap_or(0.0), number("range_max").unwrap_or(f64::MAX));
    let ranges = message.get("ranges").and_then(Value::as_array).unwrap_or_default();
    let every = ranges.len().div_ceil(MAX_SCAN_POINTS).max(1);
    let yaw = (90.0 - course).to_radians();
    let place = |(n, range): (usize, &Value)| {
        let range = range.as_f64().filter(|range| range.is_finite() && (least..=most).contains(range))?;
        let angle = yaw + first + step * n as f64;
        Some((x + range * angle.cos(), y + range * angle.sin()))
    };
    ranges.iter().enumerate().step_by(every).filter_map(place).collect()
}

/// Shows the scan, or not.
pub(super) fn toggle_scan(model: &mut Model) -> Vec<Effect> {
    let state = &mut model.screens.map;
    state.is_scan_hidden = !state.is_scan_hidden;
    state.scan = None;
    subscriptions::adjust(model)
}

/// Opens the question for a mark in the middle.
pub(super) fn open_mark(model: &mut Model) -> Vec<Effect> {
    let (x, y) = middle(model);
    let lines = vec![
        format!("{} east, {} north of the start", format::number(x, 1, " m"), format::number(y, 1, " m")),
        "A name without blanks, then a note: bottle green, behind the rock".to_owned(),
    ];
    let form = Form::text("Mark the middle", lines, "Name, note", vec![x.to_string(), y.to_string()], mark);
    model.open_question(QuestionKind::Other(form));
    Vec::new()
}

fn mark(model: &mut Model, form: &Form, text: &str) -> Vec<Effect> {
    let numbers: Vec<f64> = form.subject.iter().filter_map(|text| text.parse().ok()).collect();
    let [x, y] = numbers.as_slice() else { return Vec::new() };
    let (name, note) = text.split_once(' ').unwrap_or((text, ""));
    let name: String = name.replace('/', "-").chars().take(NAME_CHARS).collect();
    let round = |metres: f64| (metres * 100.0).round() / 100.0;
    let value = json!({"x": round(*x), "y": round(*y), "note": note.trim()});
    let done = format!("{} is marked", format::printable(&name));
    // A mark of that name is not replaced.
    shared_values::put(model, "mark", (&format!("{MARKS}{name}"), "?version=0"), value, done)
}

/// Opens the question whether the mark that is nearest to the middle is deleted.
pub(super) fn open_unmark(model: &mut Model) -> Vec<Effect> {
    let here = middle(model);
    let distance = |mark: &crate::screen::map::model::Mark| {
        position_of(model, mark.at).map_or(f64::MAX, |at| bearing(here, at).0)
    };
    let marks = model.screens.map.marks();
    let nearest = marks.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)));
    let Some(nearest) = nearest else {
        model.notify(false, "there are no marks".to_owned());
        return Vec::new();
    };
    let away = format::number(distance(nearest), 1, " m");
    let lines = vec![format!("{away} from the middle: {}", format::printable(&nearest.note))];
    let title = format!("Delete the mark {}?", format::printable(&nearest.name));
    let form = Form::yes_or_no(&title, lines, vec![nearest.name.clone()], |model, form, _| {
        let Some(name) = form.subject.first() else { return Vec::new() };
        let done = format!("the mark {} is deleted", format::printable(name));
        shared_values::delete(model, "delete a mark", &format!("{MARKS}{name}"), done)
    });
    model.open_question(QuestionKind::Other(form));
    Vec::new()
}

#[cfg(test)]
mod tests {
    use roverline_schema::Registry;

    use super::*;

    #[test]
    fn a_scan_is_turned_with_the_rover_and_what_is_no_range_is_left_out() {
        let plan = Registry::bundled();
        let plan = plan.plan(SCAN).unwrap();
        let message = json!({"angle_min": 0.0, "angle_increment": std::f64::consts::FRAC_PI_2, "range_min": 0.1,
            "range_max": 10.0, "ranges": [2.0, 3.0, 0.01, 99.0]});
        let message = plan.decode(&plan.encode_json(&message).unwrap()).unwrap();
        // North: ahead is north, left is west.
        let found = points(&message, (1.0, 1.0), 0.0);
        let near = |(a, b): (f64, f64), (x, y): (f64, f64)| (a - x).hypot(b - y) < 1e-6;
        assert!(found.len() == 2 && near(found[0], (1.0, 3.0)) && near(found[1], (-2.0, 1.0)), "{found:?}");
        let many = Value::Array(vec![Value::F32(1.0); 100_000]);
        let fields =
            [("angle_min", Value::F64(0.0)), ("angle_increment", Value::F64(1e-4)), ("ranges", many)];
        let many = Value::Struct(fields.into_iter().collect());
        assert!(points(&many, (0.0, 0.0), 0.0).len() <= MAX_SCAN_POINTS);
        assert!(points(&Value::Bool(true), (0.0, 0.0), 0.0).is_empty());
    }
}
