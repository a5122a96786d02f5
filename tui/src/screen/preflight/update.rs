//! What the Preflight screen watches, the trial of the stop, and confirmations.

use std::time::Duration;

use serde_json::json;

use crate::effect::Effect;
use crate::format;
use crate::model::api::Watcher;
use crate::model::{Document, Form, Model, QuestionKind, Screen, StopState};
use crate::preflight::{Verdict, evaluate};
use crate::screen::preflight::model::{CONFIRMED, CONFIRMED_TTL_MS, StopCheck};
use crate::shared_values;

/// Topics that are read.
const TOPICS: usize = 1_000;
/// Interval of reading their rates.
const TOPICS_EVERY: Duration = Duration::from_secs(2);
/// Longest wait for the rover's answer to the stop.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Everything is watched while it is shown.
pub(super) fn switched(model: &mut Model) -> Vec<Effect> {
    let watches = std::mem::take(&mut model.screens.preflight.watches);
    let mut effects: Vec<Effect> = watches.into_iter().flat_map(|watch| model.unwatch(watch)).collect();
    if model.screen == Screen::Preflight && model.is_attended {
        effects.extend(begin(model));
    }
    effects
}

/// Begins to watch what the list needs. Locks and alarms are watched by an attended console already.
pub fn begin(model: &mut Model) -> Vec<Effect> {
    let state = &mut model.screens.preflight;
    (state.topics, state.queues, state.confirmations) =
        (Document::default(), Document::default(), Document::default());
    let confirmed = format!("/api/v2/kv?prefix={CONFIRMED}&limit=50");
    let own: [(&str, Watcher); 2] = [
        ("/api/v2/queues", |model, answer| {
            let now = model.now;
            model.screens.preflight.queues.take(answer, now, |_| 0);
        }),
        (&confirmed, |model, answer| {
            let now = model.now;
            model.screens.preflight.confirmations.take(answer, now, |list| list.revision);
        }),
    ];
    let mut effects: Vec<Effect> = Vec::new();
    for (path, taken) in own {
        let watch = model.watch(path, taken);
        if let Effect::Watch { number, .. } = &watch {
            model.screens.preflight.watches.push(*number);
        }
        effects.push(watch);
    }
    if !model.is_attended {
        effects.push(model.watch("/api/v2/locks", |model, answer| {
            let now = model.now;
            model.screens.team.locks.take(answer, now, |list| list.revision);
        }));
        effects.push(model.watch("/api/v2/alarms", |model, answer| {
            let now = model.now;
            model.screens.alarms.list.take(answer, now, |_| 0);
        }));
    }
    effects.extend(read_topics(model));
    effects
}

/// Reads the rates of the topics.
pub fn read_topics(model: &mut Model) -> Vec<Effect> {
    model.screens.preflight.requested = Some(model.now.mono);
    let path = format!("/api/v2/topics?limit={TOPICS}");
    model.request("", ("GET", path), None, |model, answer| {
        let now = model.now;
        model.screens.preflight.topics.take(answer, now, |_| 0);
        Vec::new()
    })
}

pub(super) fn tick(model: &mut Model) -> Vec<Effect> {
    follow_stop_check(model);
    let requested = model.screens.preflight.requested;
    let is_due = requested.is_none_or(|at| model.now.since(at) >= TOPICS_EVERY);
    let is_shown = model.screen == Screen::Preflight && model.network.is_connected();
    if is_due && is_shown { read_topics(model) } else { Vec::new() }
}

/// Moves the trial of the stop on: only the rover's answer counts.
pub fn follow_stop_check(model: &mut Model) {
    let (now, state) = (model.now, model.stop_state());
    let is_accepted = model.stop.as_ref().is_some_and(|stop| stop.has_engaged());
    let check = &mut model.screens.preflight.stop_check;
    match check {
        StopCheck::Engaging { since } => {
            let after = now.since(*since);
            if state == StopState::Engaged && is_accepted {
                *check = StopCheck::Engaged { after };
            } else if after > STOP_PATIENCE {
                *check = StopCheck::Failed("the rover has not said that it is engaged: use the red button");
            }
        }
        StopCheck::Engaged { after } if state == StopState::Released => {
            *check = StopCheck::Done { at_ns: now.wall_ns, after: *after };
        }
        _ => {}
    }
}

/// Engages the stop for a trial, unless it is engaged, or its state is not known.
pub fn begin_stop_check(model: &mut Model) -> Vec<Effect> {
    if model.stop_state() != StopState::Released {
        model.notify(true, "the stop is not known to be released: it is not tried".to_owned());
        return Vec::new();
    }
    model.screens.preflight.stop_check = StopCheck::Engaging { since: model.now.mono };
    vec![Effect::EmergencyStop { engage: true }]
}

pub(super) fn open_stop_check(model: &mut Model) -> Vec<Effect> {
    let lines = vec![
        "The rover stops at once, and stays stopped.".to_owned(),
        "When it has answered, release it with R: then the check is done.".to_owned(),
    ];
    let form =
        Form::yes_or_no("Try the emergency stop?", lines, Vec::new(), |model, _, _| begin_stop_check(model));
    model.open_question(QuestionKind::Other(form));
    Vec::new()
}

/// Confirms the selected check by hand, or takes the confirmation back.
pub(super) fn confirm(model: &mut Model) -> Vec<Effect> {
    let evaluation = evaluate(model);
    let Some(check) = evaluation.checks.iter().find(|check| check.id == cursor(model)) else {
        return Vec::new();
    };
    let (key, name) = (format!("{CONFIRMED}{}", check.id), check.name);
    if check.confirmed.is_some() {
        return shared_values::delete(model, "take back", &key, format!("{name} is not confirmed any more"));
    }
    if check.verdict == Verdict::NoGo {
        model.notify(true, format!("{name}: a no-go cannot be confirmed, {}", check.text));
        return Vec::new();
    }
    let body = json!({"found": format::fit(&check.text, 200)});
    let query = format!("?ttl_ms={CONFIRMED_TTL_MS}");
    shared_values::put(model, "confirm", (&key, &query), body, format!("{name} is confirmed for an hour"))
}

/// The selected check; the first one at the start.
pub(super) fn cursor(model: &Model) -> &'static str {
    match model.screens.preflight.cursor {
        "" => "endpoints",
        id => id,
    }
}

pub(super) fn scroll(model: &mut Model, by: isize) -> Vec<Effect> {
    let checks = evaluate(model).checks;
    let at = checks.iter().position(|check| check.id == cursor(model)).unwrap_or(0);
    let at = at.saturating_add_signed(by).min(checks.len().saturating_sub(1));
    model.screens.preflight.cursor = checks.get(at).map_or("", |check| check.id);
    Vec::new()
}
