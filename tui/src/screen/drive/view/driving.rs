//! The driving mode: what is commanded, what the rover does, and by which right.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};

use crate::format::{self, number};
use crate::model::Model;
use crate::model::quality::Quality;
use crate::overview_rows::{self, AlarmLevel, Group, Row};
use crate::screen::drive::model::driving::{Driving, PERIOD};
use crate::screen::drive::model::stick::{Direction, Stick, Velocity};
use crate::screen::drive::update::driving::DRIVE;
use crate::screen::drive::view::values::{motion, power};
use crate::theme::Theme;
use crate::widget::{below, group};

/// From this width on, the rover's values are beside the mode.
const TWO_COLUMNS: u16 = 76;

pub(super) fn draw(model: &Model, driving: &Driving, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let mode = Group { title: "DRIVING", rows: rows(model, driving) };
    if area.width < TWO_COLUMNS {
        let used = group(buf, area, &mode, theme);
        group(buf, below(area, used), &motion(model), theme);
        return;
    }
    let [left, right] = Layout::horizontal([Constraint::Fill(5), Constraint::Fill(4)]).spacing(2).areas(area);
    group(buf, left, &mode, theme);
    let used = group(buf, right, &motion(model), theme);
    group(buf, below(right, used), &power(model), theme);
}

/// A row of what this console knows by itself.
fn own(label: &str, value: String, tone: AlarmLevel) -> Row {
    Row { label: label.to_owned(), value, tone, quality: Quality::Fresh, age: None, gauge: None, trend: None }
}

/// The most important first: a small terminal shows these.
fn rows(model: &Model, driving: &Driving) -> Vec<Row> {
    let (stick, now) = (&driving.stick, model.now.mono);
    let mut rows = vec![
        own("Commanded", velocity(driving.velocity(now)), AlarmLevel::Normal),
        measured(model),
        held(driving, now),
        own("Gear", gear(stick), AlarmLevel::Normal),
        authority(model, driving),
        link(model),
    ];
    rows.extend(overview_rows::safety(model).rows.into_iter().take(1));
    rows.push(own("Terminal", terminal(stick), AlarmLevel::Normal));
    rows.push(own("Sent", sent(model, driving), AlarmLevel::Normal));
    let pad = driving.pad.as_ref().map(|pad| {
        let state = if pad.is_enabled() { "● dead-man held" } else { "○ hold L1 to drive" };
        own("Controller", format!("{state}  {}", format::printable(&pad.name)), AlarmLevel::Normal)
    });
    rows.extend(pad);
    rows
}

fn velocity(velocity: Velocity) -> String {
    let side = match velocity.angular {
        angular if angular > 0.0 => " left",
        angular if angular < 0.0 => " right",
        _ => "",
    };
    let linear = number(velocity.linear, 2, " m/s");
    format!("{linear}  {}{side}", number(velocity.angular.abs().to_degrees(), 0, " °/s"))
}

fn measured(model: &Model) -> Row {
    overview_rows::row(model, "Measured", model.rover.odometry.as_ref(), |odometry| {
        let angular = odometry.turn.to_radians();
        (velocity(Velocity { linear: odometry.speed, angular }), AlarmLevel::Normal)
    })
}

/// What is held, and whether that lets the rover move.
fn held(driving: &Driving, now: std::time::Duration) -> Row {
    let stick = &driving.stick;
    let keys: Vec<&str> =
        Direction::ALL.iter().filter(|key| stick.holds(**key, now)).map(|key| key.word()).collect();
    let keys = if keys.is_empty() { "no key".to_owned() } else { keys.join(" ") };
    let (value, tone) = if driving.waiting.is_some() {
        ("◌ waiting for the lock drive".to_owned(), AlarmLevel::Caution)
    } else if !driving.has_focus {
        ("no focus: click into this terminal".to_owned(), AlarmLevel::Caution)
    } else if stick.needs_dead_man && !stick.holds_dead_man(now) {
        (format!("○ hold Space  ({keys})"), AlarmLevel::Normal)
    } else if stick.is_enabled(now) {
        (format!("● {keys}"), AlarmLevel::Normal)
    } else {
        (format!("○ {keys}: the rover stands"), AlarmLevel::Normal)
    };
    own("Dead-man", value, tone)
}

fn gear(stick: &Stick) -> String {
    let (speed, rotation) = (stick.speed_limit, stick.rotation_limit.to_degrees());
    let limits = format!("{} {}", number(speed, 1, " m/s"), number(rotation, 0, " °/s"));
    format!("{} of {limits}", stick.effective_gear().word())
}

fn terminal(stick: &Stick) -> String {
    match stick.reports_release {
        true => "reports key releases".to_owned(),
        false => "no releases seen: hold a key".to_owned(),
    }
}

fn authority(model: &Model, driving: &Driving) -> Row {
    let own_token = model.screens.team.lock(DRIVE).and_then(|lock| {
        let own = model.own();
        lock.holders.iter().find(|holder| own.is(&holder.client, holder.by.as_deref()))
    });
    let (value, tone) = match (own_token, driving.document(DRIVE)) {
        (_, Some(document)) if document.problem.is_some() => {
            let problem = document.problem.as_deref().unwrap_or_default();
            (format!("unknown: {}", format::printable(problem)), AlarmLevel::Caution)
        }
        (Some(holder), Some(document)) => {
            let text =
                format!("▶ YOU #{}, {} after {} ms", holder.token, loss(document), document.timeout_ms);
            (text, AlarmLevel::Normal)
        }
        (Some(holder), None) => (format!("▶ YOU #{}", holder.token), AlarmLevel::Normal),
        (None, _) => ("not yours".to_owned(), AlarmLevel::Caution),
    };
    own("Authority", value, tone)
}

/// What happens when this console falls silent.
fn loss(document: &roverline_protocol::api::authority::AuthorityDocument) -> String {
    match document.link_loss.as_str() {
        "zero" => "zero".to_owned(),
        "latch_stop" => "stop".to_owned(),
        "none" => "nothing".to_owned(),
        other => format::printable(other),
    }
}

fn link(model: &Model) -> Row {
    let (value, tone) = match model.network.active() {
        Some(endpoint) if model.network.is_responsive() => {
            let name = model.network.short_name_of(&endpoint.url);
            let delay = endpoint.rtt.map_or_else(|| "delay unknown".to_owned(), format::millis);
            (format!("{name}, {delay} there and back"), AlarmLevel::Normal)
        }
        Some(endpoint) => {
            (format!("{} is silent", model.network.short_name_of(&endpoint.url)), AlarmLevel::Alarm)
        }
        None => ("no endpoint".to_owned(), AlarmLevel::Alarm),
    };
    own("Link", value, tone)
}

fn sent(model: &Model, driving: &Driving) -> String {
    let topic = format::printable(&driving.topic(DRIVE));
    let hertz = 1.0 / PERIOD.as_secs_f64();
    match driving.sent {
        None => format!("nothing yet, to {topic} at {hertz:.0} Hz"),
        Some((at, _)) => {
            let age = format::age(model.now.since(at));
            format!("{} to {topic} at {hertz:.0} Hz, last {} ago", driving.count, age.trim())
        }
    }
}
