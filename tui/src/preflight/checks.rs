//! The checks, one function each.

use roverline_client::LinkState;
use roverline_protocol::api::alarms::{AlarmDocument, AlarmSource};
use roverline_protocol::service_level::ServiceLevel;

use crate::format::{self, printable};
use crate::model::quality::Quality;
use crate::model::{Model, Reading, StopState};
use crate::preflight::{Check, Verdict};
use crate::screen::alarms::model::URGENT;
use crate::screen::preflight::model::StopCheck;
use crate::screen::team::model::USUAL_LOCKS;

use Verdict::{Caution, Go, NoGo};

/// Endpoints of a complete rover.
const ENDPOINTS: usize = 4;
/// A clock that is further off is no go, seconds.
const CLOCK_S: f64 = 0.5;
/// Charge, percent: below the first it is looked at, below the second it is no go.
const CHARGE: (f64, f64) = (50.0, 30.0);
/// A topic that comes with less than this share of its expected rate is slow.
const SLOW: f64 = 0.7;
/// Names that a line has room for.
const NAMES: usize = 3;

type Found = (Verdict, String);

/// All checks, in the order of the list.
pub(super) fn all(model: &Model) -> Vec<Check> {
    let checks: [(&'static str, &'static str, Found); 13] = [
        ("endpoints", "Endpoints", endpoints(model)),
        ("service", "Service", service(model)),
        ("clock", "Clocks", clock(model)),
        ("role", "Role", role(model)),
        ("topics", "Topics", topics(model)),
        ("battery", "Battery", battery(model)),
        ("fix", "Fix", fix(model)),
        ("boundary", "Boundary", boundary(model)),
        ("locks", "Locks", locks(model)),
        ("queues", "Queues", queues(model)),
        ("alarms", "Alarms", alarms(model)),
        ("stop", "Stop", stop(model)),
        ("stop-check", "Stop tried", stop_check(model)),
    ];
    let check = |(id, name, (verdict, text))| Check { id, name, verdict, text, confirmed: None };
    checks.into_iter().map(check).collect()
}

fn go(text: impl Into<String>) -> Found {
    (Go, text.into())
}

fn caution(text: impl Into<String>) -> Found {
    (Caution, text.into())
}

fn no_go(text: impl Into<String>) -> Found {
    (NoGo, text.into())
}

/// The first names, and how many more there are.
fn names(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(NAMES).map(String::as_str).collect();
    let more = names.len().saturating_sub(NAMES);
    let more = if more > 0 { format!(" +{more}") } else { String::new() };
    printable(&format!("{}{more}", shown.join(", ")))
}

fn endpoints(model: &Model) -> Found {
    let all = &model.network.endpoints;
    let is_up = |state: &LinkState| matches!(state, LinkState::Active | LinkState::Standby);
    let down = all.iter().filter(|endpoint| !is_up(&endpoint.state));
    let down: Vec<String> = down.map(|endpoint| model.network.short_name_of(&endpoint.url)).collect();
    let up = all.len() - down.len();
    let text = format!("{up} of {}", all.len().max(ENDPOINTS));
    match (up, down.len()) {
        _ if !model.network.is_responsive() => no_go("no endpoint answers"),
        (1, _) => no_go(format!("{text}: none in reserve")),
        (_, 1..) => no_go(format!("{text}: {} down", names(&down))),
        (up, _) if up < ENDPOINTS => caution(format!("{text}: the others are not known to this console")),
        _ => go(text),
    }
}

fn service(model: &Model) -> Found {
    match model.network.active().filter(|_| model.network.is_responsive()).map(|endpoint| endpoint.service) {
        None => no_go("no endpoint answers"),
        Some(ServiceLevel::Full) => go("full"),
        Some(level) => caution(format!("{}: something is left out", level.word())),
    }
}

fn clock(model: &Model) -> Found {
    if let Some(alarm) = active_alarms(model).find(|alarm| alarm.source == AlarmSource::Clock) {
        return no_go(printable(&alarm.text));
    }
    let offset = model.network.active().and_then(|endpoint| endpoint.clock_offset_s);
    match offset {
        None => caution("the offset to the endpoint is not measured yet"),
        Some(offset) if !offset.is_finite() || offset.abs() > CLOCK_S => {
            no_go(format!("the endpoint's clock differs by {}", format::number(offset, 2, " s")))
        }
        Some(offset) => go(format!("offset {}", format::number(offset * 1e3, 1, " ms"))),
    }
}

fn role(model: &Model) -> Found {
    match model.network.identity() {
        None => no_go("no endpoint has recognized us"),
        Some(identity) if identity.role == "observer" => {
            no_go("an observer may not stop the rover: start with --token-file FILE")
        }
        Some(identity) if format::is_address(&identity.name) => {
            go(format!("{} may stop", printable(&identity.role)))
        }
        Some(identity) => go(format!("{} {} may stop", printable(&identity.name), printable(&identity.role))),
    }
}

/// By the gateway's alarms, and by the rates that it measures itself.
fn topics(model: &Model) -> Found {
    let Some(list) = &model.screens.preflight.topics.value else { return no_go("rates not received yet") };
    let expected = || list.topics.iter().filter_map(|topic| Some((topic, topic.expected_rate_hz?)));
    let mut bad: Vec<String> = expected()
        .filter(|(topic, rate)| topic.rate_hz < rate * SLOW)
        .map(|(topic, rate)| format!("{} {} of {rate} Hz", topic.name, format::rate(topic.rate_hz)))
        .collect();
    for alarm in active_alarms(model).filter(|alarm| alarm.source == AlarmSource::Topic) {
        let topic = alarm.topic.clone().unwrap_or_default();
        if !bad.iter().any(|text| text.starts_with(&topic)) {
            bad.push(format!("{topic}: {}", alarm.text));
        }
    }
    let count = expected().count();
    match (bad.is_empty(), count) {
        (false, _) => no_go(names(&bad)),
        (true, 0) => caution("none is expected: e in Topics sets a rate"),
        (true, count) => go(format!("{count} of {count} at their rates")),
    }
}

/// A value that has to be current. One that was never received may be one that this rover does not have.
fn current<'a, T>(model: &Model, reading: Option<&'a Reading<T>>, what: &str) -> Result<&'a T, Found> {
    let Some(reading) = reading else { return Err(caution(format!("no {what} was received"))) };
    if let Some(fault) = reading.fault {
        return Err(no_go(fault));
    }
    match reading.quality(&model.topics, model.now) {
        Quality::Fresh | Quality::Ageing => Ok(&reading.value),
        _ => Err(no_go(format!("{} old", format::age(model.now.since(reading.at))))),
    }
}

fn battery(model: &Model) -> Found {
    match current(model, model.rover.battery.as_ref(), "battery state") {
        Err(found) => found,
        Ok(battery) => {
            let volts = format::number(battery.voltage, 1, " V");
            let text = format!("{} %, {volts}", format::number(battery.percent, 0, ""));
            match battery.percent {
                percent if percent >= CHARGE.0 => go(text),
                percent if percent >= CHARGE.1 => caution(text),
                // NaN as well.
                _ => no_go(text),
            }
        }
    }
}

fn fix(model: &Model) -> Found {
    match current(model, model.rover.fix.as_ref(), "fix") {
        Err(found) => found,
        Ok(fix) => {
            let [north, east] = [fix.latitude, fix.longitude].map(|angle| format::number(angle, 5, ""));
            go(format!("{north}, {east}"))
        }
    }
}

fn boundary(model: &Model) -> Found {
    match current(model, model.rover.boundary.as_ref(), "boundary state") {
        Err(found) => found,
        Ok(false) => go("inside"),
        Ok(true) => no_go("outside"),
    }
}

fn locks(model: &Model) -> Found {
    let Some(list) = &model.screens.team.locks.value else { return no_go("not received yet") };
    let own = model.own();
    let held = list.locks.iter().filter(|lock| !lock.holders.is_empty());
    let (own, others): (Vec<_>, Vec<_>) = held.partition(|lock| own.holds(lock));
    let name = |lock: &&roverline_protocol::api::locks::LockDocument| {
        let holder = lock.holders.first().map_or("", |holder| holder.client.as_str());
        format!("{}: {holder}", lock.resource)
    };
    let others: Vec<String> = others.iter().map(name).collect();
    match (others.is_empty(), own.is_empty()) {
        (false, _) => caution(names(&others)),
        (true, true) => go("all free"),
        (true, false) => {
            let usual = own.iter().filter(|lock| USUAL_LOCKS.contains(&lock.resource.as_str())).count();
            go(format!("{} yours, {usual} of {} usual ones", own.len(), USUAL_LOCKS.len()))
        }
    }
}

fn queues(model: &Model) -> Found {
    let state = &model.screens.preflight.queues;
    if state.fault.is_some() {
        return no_go("the store is away");
    }
    let Some(list) = &state.value else { return no_go("not received yet") };
    let full = list.queues.iter().filter_map(|queue| {
        let waiting = queue.ready + queue.in_flight + queue.delayed;
        (waiting + queue.dead > 0).then(|| format!("{}: {waiting} waiting, {} dead", queue.name, queue.dead))
    });
    let full: Vec<String> = full.collect();
    if full.is_empty() { go("empty") } else { caution(names(&full)) }
}

fn active_alarms(model: &Model) -> impl Iterator<Item = &AlarmDocument> {
    let all = model.screens.alarms.list.value.iter().flat_map(|list| &list.alarms);
    all.filter(|alarm| alarm.active && alarm.shelved.is_none())
}

fn alarms(model: &Model) -> Found {
    let Some((urgent, others)) = model.screens.alarms.counts() else { return no_go("not received yet") };
    let mut open: Vec<&AlarmDocument> = active_alarms(model).collect();
    open.sort_by_key(|alarm| std::cmp::Reverse(alarm.severity));
    let open: Vec<String> = open.iter().map(|alarm| format!("{} {}", alarm.name, alarm.text)).collect();
    let detail = if open.is_empty() { "acknowledge them: a".to_owned() } else { names(&open) };
    let is_urgent = urgent > 0 || active_alarms(model).any(|alarm| alarm.severity >= URGENT);
    match urgent + others {
        _ if is_urgent => no_go(format!("{urgent} need attention: {detail}")),
        0 => go("none open"),
        count => caution(format!("{count} open: {detail}")),
    }
}

fn stop(model: &Model) -> Found {
    match model.stop_state() {
        StopState::Released => go("released"),
        StopState::Engaged => no_go("engaged"),
        StopState::Unknown { .. } => no_go("its state is not known now"),
        StopState::Never => no_go("its state was never received"),
    }
}

fn stop_check(model: &Model) -> Found {
    match &model.screens.preflight.stop_check {
        StopCheck::NotTried => caution("not tried yet: s engages it"),
        StopCheck::Engaging { .. } => caution("sent, waiting for the rover"),
        StopCheck::Engaged { after } => {
            no_go(format!("engaged after {}: release it to finish", format::millis(*after)))
        }
        StopCheck::Done { at_ns, after } => {
            let (clock, after) = (format::clock(*at_ns), format::millis(*after));
            go(format!("engaged after {after}, released at {clock}"))
        }
        StopCheck::Failed(why) => no_go(*why),
    }
}
