//! Rows of the Drive screen beside those of `overview_rows`: trends, distances, and who drives.

use roverline_protocol::api::locks::LockDocument;

use crate::format::{self, number};
use crate::model::{Fix, Model};
use crate::overview_rows::{self, AlarmLevel, Group, Row};
use crate::screen::drive::model::{Trend, WayPoint, bearing};
use crate::screen::team::model::USUAL_LOCKS;
use crate::screen::topics::series::Series;
use crate::screen::topics::trend_of;
use crate::widget::{short_number, trend};

/// Columns of a trend.
const TREND_COLUMNS: usize = 14;
/// Metres of a degree of latitude (WGS 84, mean).
const METRES_PER_DEGREE: f64 = 111_132.0;

fn with_trend(model: &Model, row: &mut Row, of: Trend, least: f64) {
    row.trend = Some(trend(&model.screens.drive.trend(of), TREND_COLUMNS, least));
}

/// Motion with the trend of the speed, and distances.
pub fn motion(model: &Model) -> Group {
    let mut group = overview_rows::motion(model);
    group.rows.retain(|row| !row.label.starts_with("Odom"));
    if let Some(speed) = group.rows.iter_mut().find(|row| row.label == "Speed") {
        with_trend(model, speed, Trend::Speed, 0.2);
    }
    let mut safety = overview_rows::safety(model);
    group.rows.extend([start(model), next(model)]);
    group.rows.extend(safety.rows.pop());
    group
}

/// Power, heat and delay with their trends.
pub(super) fn power(model: &Model) -> Group {
    let mut group = overview_rows::power(model);
    if let Some(current) = group.rows.iter_mut().find(|row| row.label == "Current") {
        with_trend(model, current, Trend::Current, 1.0);
    }
    let temperatures = overview_rows::temperatures(model).rows;
    let hottest = temperatures
        .into_iter()
        .max_by(|a, b| (a.tone, hot(a)).partial_cmp(&(b.tone, hot(b))).unwrap_or(std::cmp::Ordering::Equal));
    if let Some(mut hottest) = hottest {
        with_trend(model, &mut hottest, Trend::Heat, 5.0);
        group.rows.push(hottest);
    }
    group
}

fn hot(row: &Row) -> f64 {
    row.value.split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or(f64::MIN)
}

/// The compass course, from the IMU, else from odometry.
pub fn course(model: &Model) -> Option<f64> {
    let imu = model.rover.imu_heading.as_ref().map(|reading| reading.value);
    imu.or_else(|| model.rover.odometry.as_ref()?.value.heading)
}

/// A way-point in metres east and north of the start.
pub fn position_of(model: &Model, goal: WayPoint) -> Option<(f64, f64)> {
    let WayPoint::Global(latitude, longitude) = goal else {
        let WayPoint::Local(x, y) = goal else { return None };
        return Some((x, y));
    };
    let fix: Fix = model.rover.fix.as_ref()?.value;
    let odometry = model.rover.odometry.as_ref()?.value;
    let north = (latitude - fix.latitude) * METRES_PER_DEGREE;
    let east = (longitude - fix.longitude) * METRES_PER_DEGREE * fix.latitude.to_radians().cos();
    Some((odometry.x + east, odometry.y + north))
}

/// Distance, course, and how far to turn: `43.2 m  087° E  12° right`.
fn way(model: &Model, to: (f64, f64)) -> String {
    let Some(here) = model.rover.odometry.as_ref().map(|reading| reading.value) else {
        return "–".to_owned();
    };
    let (distance, course_to) = bearing((here.x, here.y), to);
    let turn = course(model).map(|course| (course_to - course + 540.0).rem_euclid(360.0) - 180.0);
    let turn = turn.map_or_else(String::new, |turn| {
        let side = if turn < 0.0 { "left" } else { "right" };
        format!("  {:.0}° {side}", turn.abs())
    });
    format!("{}{turn}", number(distance, 1, " m"))
}

/// A row of the age and quality of odometry.
fn from_odometry(model: &Model, label: &str, value: impl Fn() -> String) -> Row {
    overview_rows::row(model, label, model.rover.odometry.as_ref(), |_| (value(), AlarmLevel::Normal))
}

fn start(model: &Model) -> Row {
    from_odometry(model, "To start", || way(model, (0.0, 0.0)))
}

fn next(model: &Model) -> Row {
    let goal = model.screens.drive.way_points().first().and_then(|goal| position_of(model, *goal));
    from_odometry(model, "To next", || {
        goal.map_or_else(|| "no way-point".to_owned(), |goal| way(model, goal))
    })
}

/// Who drives, and who has the arm.
pub(super) fn control(model: &Model) -> Group {
    let rows = USUAL_LOCKS.iter().map(|name| {
        let own = model.own();
        let value = match (model.screens.team.lock(name), &model.screens.team.locks.value) {
            (Some(lock), _) if own.holds(lock) => "▶ YOU".to_owned(),
            (Some(lock), _) => holder(lock),
            (None, Some(_)) => "free".to_owned(),
            (None, None) => "–".to_owned(),
        };
        let mut row = overview_rows::row::<()>(model, name, None, |()| (String::new(), AlarmLevel::Normal));
        if model.screens.team.locks.value.is_some() {
            row.quality = crate::model::quality::Quality::Fresh;
        }
        if !model.network.is_connected() && model.screens.team.locks.value.is_some() {
            row.quality = crate::model::quality::Quality::Stale;
            row.age = model.network.all_down_since.map(|since| model.now.since(since));
        }
        row.value = value;
        row
    });
    Group { title: "CONTROL", rows: rows.collect() }
}

/// The pinned fields with their trends, if there are any.
pub(super) fn pinned(model: &Model) -> Option<Group> {
    let row = |series: &Series| {
        let field = series.field.rsplit('.').next().unwrap_or_default();
        let topic = series.topic.rsplit('/').next().unwrap_or_default();
        let label = format::printable(if series.field.contains('.') { field } else { topic });
        let mut row = overview_rows::row::<()>(model, &label, None, |()| (String::new(), AlarmLevel::Normal));
        if let (Some(topic), Some(_)) = (model.topics.rows.get(&series.topic), series.newest()) {
            (row.quality, row.age) = (topic.quality(model.now), topic.age(model.now));
        }
        if series.fault.is_some() {
            row.quality = crate::model::quality::Quality::Invalid;
        }
        row.value = series.newest().map_or_else(|| "–".to_owned(), |point| short_number(point.last));
        row.trend = Some(trend_of(model, series));
        row
    };
    let rows: Vec<Row> = model.screens.topics.pins.iter().map(row).collect();
    (!rows.is_empty()).then_some(Group { title: "PINNED", rows })
}

fn holder(lock: &LockDocument) -> String {
    let names: Vec<String> = lock.holders.iter().map(|holder| format::printable(&holder.client)).collect();
    if names.is_empty() { "free".to_owned() } else { names.join(", ") }
}
