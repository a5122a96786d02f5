//! Rewind: the screens as they were, rebuilt from the history. Nothing of it is now.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::effect::Effect;
use crate::model::history::{KEPT_BYTES, Kept, Moment, STEP, Step, TeamChanges};
use crate::model::{Document, Model, Now, Rewind};
use crate::update::sample;

/// Records a step of the history, if one is due.
pub fn record(model: &mut Model) {
    let now = model.now;
    if model.history.span().is_some_and(|(_, last)| now.since(last) < STEP) {
        return;
    }
    record_step(model);
}

fn record_step(model: &mut Model) {
    let now = model.now;
    let mut values = Vec::new();
    for row in model.topics.rows.values_mut() {
        let Some(at) = row.at.filter(|_| row.has_unrecorded()) else { continue };
        if let Some(payload) = row.latest.as_ref().filter(|payload| payload.len() <= KEPT_BYTES) {
            let payload = Bytes::copy_from_slice(payload);
            values.push(Kept { info: row.info.clone(), payload, at, period: row.period() });
        }
        row.set_recorded();
    }
    let (team, recorded) = (&model.screens.team, &mut model.recorded);
    let team = TeamChanges {
        locks: change(&team.locks, &mut recorded.locks),
        alarms: change(&model.screens.alarms.list, &mut recorded.alarms),
        queues: change(&team.queues, &mut recorded.queues),
        values: change(&team.values, &mut recorded.values),
    };
    model.history.push(Step {
        at: now.mono,
        wall_ns: now.wall_ns,
        values,
        endpoints: model.network.endpoints.clone(),
        all_down_since: model.network.all_down_since,
        team,
    });
}

/// What a document has become since it was recorded.
fn change<T: Clone>(document: &Document<T>, recorded: &mut Option<Duration>) -> Option<Option<Arc<T>>> {
    let at = document.value.as_ref().map(|_| document.at);
    let is_new = std::mem::replace(recorded, at) != at;
    is_new.then(|| document.value.clone().map(Arc::new))
}

/// Begins to show what was a second ago, or ends it.
pub fn toggle(model: &mut Model) -> Vec<Effect> {
    match model.rewind.is_some() {
        true => leave(model),
        false => show(model, model.now.mono.saturating_sub(STEP)),
    }
}

/// Holds everything still as it is now.
pub fn freeze(model: &mut Model) -> Vec<Effect> {
    record_step(model);
    let effects = show(model, model.now.mono);
    model.rewind.iter_mut().for_each(|rewind| rewind.is_frozen = true);
    effects
}

/// Back to now.
pub fn leave(model: &mut Model) -> Vec<Effect> {
    model.rewind = None;
    Vec::new()
}

/// Moves by this many seconds; beyond the newest moment, it is now again.
pub fn step(model: &mut Model, by_s: i64) -> Vec<Effect> {
    let Some(rewind) = &model.rewind else { return Vec::new() };
    let by = Duration::from_secs(by_s.unsigned_abs());
    let to = if by_s < 0 { rewind.at.saturating_sub(by) } else { rewind.at + by };
    if model.history.span().is_some_and(|(_, last)| to > last) {
        return leave(model);
    }
    show(model, to)
}

/// Moves to the next entry of the log, or the one before.
pub fn step_event(model: &mut Model, is_forward: bool) -> Vec<Effect> {
    let Some(rewind) = &model.rewind else { return Vec::new() };
    let Some((first, _)) = model.history.span() else { return Vec::new() };
    let now = model.now;
    let then_ns = now.wall_at(rewind.at);
    let first_ns = now.wall_at(first);
    let is_event = |at_ns: &i64| *at_ns >= first_ns;
    let times = || model.screens.log.entries().map(|entry| entry.at_ns).filter(is_event);
    // A step shows what came until then: the one of an event is up to a step later.
    let step_ns = STEP.as_nanos() as i64;
    let found = match is_forward {
        true => times().find(|at_ns| *at_ns > then_ns),
        false => times().rev().find(|at_ns| *at_ns < then_ns - step_ns),
    };
    match found {
        Some(at_ns) => show(model, now.mono.saturating_sub(now.since_wall(at_ns)) + STEP),
        None => {
            model.notify(false, "no event further on within the history".to_owned());
            Vec::new()
        }
    }
}

/// Shows everything as it was at a moment.
pub fn show(model: &mut Model, at: Duration) -> Vec<Effect> {
    let Some(moment) = model.history.at(at) else {
        model.notify(false, "nothing is recorded yet".to_owned());
        return Vec::new();
    };
    let at = moment.at;
    let before = model.rewind.take().map(|rewind| rewind.past);
    let past = past(model, &moment, before.as_deref());
    model.rewind = Some(Rewind { at, is_frozen: false, past: Box::new(past) });
    Vec::new()
}

/// A model of that moment, on the same screen and with the same cursors as the one that was shown before.
fn past(model: &Model, moment: &Moment, before: Option<&Model>) -> Model {
    let mut past = Model::new(model.theme_names.clone(), model.theme);
    (past.size, past.screen, past.registry) = (model.size, model.screen, model.registry.clone());
    past.client.clone_from(&model.client);
    past.is_past = true;
    past.now = Now { mono: moment.at, wall_ns: moment.wall_ns };
    past.network = model.network.at(moment.endpoints.clone(), moment.all_down_since, moment.wall_ns);
    let infos: Vec<_> = moment.values.values().map(|kept| (*kept.info).clone()).collect();
    past.topics.set_served(past.network.is_connected(), past.now);
    past.topics.list(&infos, past.now);
    for kept in moment.values.values() {
        sample::restore(&mut past, kept);
    }
    past.topics.adopt(&before.unwrap_or(model).topics, past.now);
    past.screens.topics = model.screens.topics.until(moment.at);
    past.screens.topics.fields = before.unwrap_or(model).screens.topics.fields.anew();
    past.screens.log = model.screens.log.until(moment.wall_ns);
    past.screens.drive = model.screens.drive.until(moment.at);
    past.screens.map = model.screens.map.clone();
    past.screens.team.cursor = before.unwrap_or(model).screens.team.cursor.clone();
    let team = &moment.team;
    past.screens.team.locks.value = team.locks.as_deref().cloned();
    past.screens.team.queues.value = team.queues.as_deref().cloned();
    past.screens.team.values.value = team.values.as_deref().cloned();
    past.screens.alarms.list.value = team.alarms.as_deref().cloned();
    past.screens.alarms.cursor.clone_from(&before.unwrap_or(model).screens.alarms.cursor);
    past.screens.alarms.with_cleared = model.screens.alarms.with_cleared;
    sample::decode_selected(&mut past);
    past
}
