//! The rows of the overview and their alarm limits.

use crate::format::{compass, number};
use crate::model::{Battery, Fix, Model, Odometry, Severity};
use crate::overview_rows::{AlarmLevel, Group, Row, row};

/// Battery charge limits for warning and critical, percent.
const BATTERY: (f64, f64) = (30.0, 15.0);
/// Temperature limits for warning and critical, degrees Celsius.
const MOTOR: (f64, f64) = (70.0, 85.0);

fn above(value: f64, (caution, alarm): (f64, f64)) -> AlarmLevel {
    match value {
        _ if value >= alarm => AlarmLevel::Alarm,
        _ if value >= caution => AlarmLevel::Caution,
        _ => AlarmLevel::Normal,
    }
}

fn plain(text: String) -> (String, AlarmLevel) {
    (text, AlarmLevel::Normal)
}

fn degrees(value: f64, positive: char, negative: char) -> String {
    let side = if value < 0.0 { negative } else { positive };
    format!("{:.7}° {side}", value.abs())
}

/// Position and motion.
pub fn motion(model: &Model) -> Group {
    let rover = &model.rover;
    let fix = |label, show: fn(&Fix) -> String| row(model, label, rover.fix.as_ref(), |f| plain(show(f)));
    let odometry =
        |label, show: fn(&Odometry) -> String| row(model, label, rover.odometry.as_ref(), |o| plain(show(o)));
    let rows = vec![
        fix("Latitude", |f| degrees(f.latitude, 'N', 'S')),
        fix("Longitude", |f| degrees(f.longitude, 'E', 'W')),
        fix("Altitude", |f| number(f.altitude, 1, " m")),
        odometry("Odom x", |o| number(o.x, 2, " m")),
        odometry("Odom y", |o| number(o.y, 2, " m")),
        heading(model),
        odometry("Speed", |o| number(o.speed, 2, " m/s")),
        odometry("Turn rate", |o| number(o.turn, 1, " °/s")),
    ];
    Group { title: "MOTION", rows }
}

/// From the IMU, which knows north; else from odometry.
fn heading(model: &Model) -> Row {
    let show = |degrees: &f64| plain(compass(*degrees));
    let imu = row(model, "Heading", model.rover.imu_heading.as_ref(), show);
    let odometry = model.rover.odometry.as_ref();
    if model.rover.imu_heading.is_none() && odometry.is_some_and(|o| o.value.heading.is_some()) {
        return row(model, "Heading", odometry, |o| plain(compass(o.heading.unwrap_or(f64::NAN))));
    }
    imu
}

/// Battery.
pub fn power(model: &Model) -> Group {
    let battery = model.rover.battery.as_ref();
    let charge = |b: &Battery| {
        let tone = above(-b.percent, (-BATTERY.0, -BATTERY.1));
        (number(b.percent, 0, " %"), tone)
    };
    let mut percent = row(model, "Battery", battery, charge);
    percent.gauge = battery.map(|b| b.value.percent / 100.0).filter(|part| part.is_finite());
    let rows = vec![
        percent,
        row(model, "Voltage", battery, |b| plain(number(b.voltage, 1, " V"))),
        row(model, "Current", battery, |b| plain(number(b.current, 1, " A"))),
    ];
    Group { title: "POWER", rows }
}

/// Minutes and seconds.
fn minutes(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "–".to_owned();
    }
    let whole = seconds.clamp(0.0, 1e9) as u64;
    format!("T {}:{:02}", whole / 60, whole % 60)
}

/// Mission.
pub fn mission(model: &Model) -> Group {
    let rover = &model.rover;
    let text = |s: &String| plain(if s.is_empty() { "(none)".to_owned() } else { s.clone() });
    let rows = vec![
        row(model, "Mission", rover.mission_name.as_ref(), text),
        row(model, "Status", rover.mission_status.as_ref(), text),
        row(model, "Samples", rover.samples.as_ref(), |n| plain(number(*n, 0, ""))),
        row(model, "Mode", rover.mode.as_ref(), text),
        row(model, "Autonomy", rover.autonomous.as_ref(), |on| {
            plain(if *on { "on" } else { "off" }.to_owned())
        }),
        row(model, "Clock", rover.mission_time.as_ref(), |s| plain(minutes(*s))),
        row(model, "LED", rover.led.as_ref(), |led| plain(led.word())),
    ];
    Group { title: "MISSION", rows }
}

/// Safety.
pub fn safety(model: &Model) -> Group {
    let stop = |on: &bool| {
        if *on { ("ENGAGED".to_owned(), AlarmLevel::Alarm) } else { plain("released".to_owned()) }
    };
    let boundary = |out: &bool| {
        if *out { ("VIOLATED".to_owned(), AlarmLevel::Alarm) } else { plain("inside".to_owned()) }
    };
    let rows = vec![
        row(model, "E-stop", model.rover.emergency_stop.as_ref(), stop),
        row(model, "Boundary", model.rover.boundary.as_ref(), boundary),
    ];
    Group { title: "SAFETY", rows }
}

/// Motor temperatures.
pub fn temperatures(model: &Model) -> Group {
    let show = |c: &f64| (number(*c, 1, " °C"), above(*c, MOTOR));
    let mut rows: Vec<Row> = model
        .rover
        .temperatures
        .iter()
        .map(|(label, reading)| row(model, label, Some(reading), show))
        .collect();
    if rows.is_empty() {
        rows.push(row(model, "(any)", None, show));
    }
    Group { title: "TEMPERATURES", rows }
}

/// Label of the counts of diagnostics.
pub(super) const SUMMARY: &str = "Summary";

/// A count per severity, then the worst ones; `most` rows in total.
pub fn diagnostics(model: &Model, most: usize) -> Group {
    let all = &model.rover.diagnostics;
    let newest = all.values().max_by_key(|reading| reading.at);
    let mut rows = vec![row(model, SUMMARY, newest, |_| summary(model))];
    let mut bad: Vec<_> = all.iter().filter(|(_, r)| r.value.severity > Severity::Ok).collect();
    bad.sort_by_key(|(name, reading)| (std::cmp::Reverse(reading.value.severity), name.as_str()));
    rows.extend(bad.into_iter().take(most.saturating_sub(1)).map(|(name, reading)| {
        row(model, reading.value.severity.word(), Some(reading), |status| {
            (format!("{name}: {}", status.message), tone(status.severity))
        })
    }));
    Group { title: "DIAGNOSTICS", rows }
}

const fn tone(severity: Severity) -> AlarmLevel {
    match severity {
        Severity::Ok => AlarmLevel::Normal,
        Severity::Stale | Severity::Warn => AlarmLevel::Caution,
        Severity::Error => AlarmLevel::Alarm,
    }
}

fn summary(model: &Model) -> (String, AlarmLevel) {
    let count = |severity| {
        let n = model.rover.diagnostics.values().filter(|r| r.value.severity == severity).count();
        (n, severity)
    };
    let counts = [Severity::Error, Severity::Warn, Severity::Stale, Severity::Ok].map(count);
    let worst = counts.iter().find(|(n, _)| *n > 0).map_or(Severity::Ok, |(_, severity)| *severity);
    let words = counts.iter().filter(|(n, _)| *n > 0).map(|(n, s)| format!("{n} {}", s.word()));
    (words.collect::<Vec<_>>().join(", "), tone(worst))
}
