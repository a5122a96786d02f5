//! What the Team screen watches, and its cursor.

use std::time::Duration;

use serde_json::json;

use crate::effect::Effect;
use crate::format::escape;
use crate::model::api::Watcher;
use crate::model::{Document, Model, Screen};
use crate::screen::team::model::{Own, PRESENCE, RowName};
use crate::screen::team::{locks, queues};

/// Values that are read; the others are counted.
const VALUES: usize = 200;
/// How long our presence outlives this console, and how often it is renewed.
const PRESENCE_TTL_MS: u64 = 60_000;
const PRESENCE_EVERY: Duration = Duration::from_secs(25);
/// A person who walks through the screens writes no value for each.
const PRESENCE_PAUSE: Duration = Duration::from_secs(3);

impl Model {
    /// Who this console is at a lock.
    pub fn own(&self) -> Own<'_> {
        Own { client: &self.client, identity: self.network.identity() }
    }
}

/// Locks are watched on every screen: who drives is never out of sight.
pub(super) fn start(model: &mut Model) -> Vec<Effect> {
    vec![model.watch("/api/v2/locks", |model, answer| {
        let now = model.now;
        if model.screens.team.locks.take(answer, now, |list| list.revision) {
            locks::changed(model);
        }
    })]
}

/// Everything else is watched while it is shown, because it costs the radio.
pub(super) fn switched(model: &mut Model) -> Vec<Effect> {
    let watches = std::mem::take(&mut model.screens.team.watches);
    let mut effects: Vec<Effect> = watches.into_iter().flat_map(|watch| model.unwatch(watch)).collect();
    // What was read before may not be true any more.
    let state = &mut model.screens.team;
    state.rates.clear();
    (state.queues, state.values, state.robots) =
        (Document::default(), Document::default(), Document::default());
    if model.screen != Screen::Team {
        return effects;
    }
    let values = format!("/api/v2/kv?limit={VALUES}");
    let watches: [(&str, Watcher); 3] = [
        ("/api/v2/queues", |model, answer| {
            let now = model.now;
            let state = &mut model.screens.team;
            state.is_detail_old |= state.queues.take(answer, now, |_| 0);
        }),
        (&values, |model, answer| {
            let now = model.now;
            model.screens.team.values.take(answer, now, |list| list.revision);
        }),
        ("/api/v2/lifecycle", |model, answer| {
            let now = model.now;
            model.screens.team.robots.take(answer, now, |list| list.revision);
        }),
    ];
    for (path, taken) in watches {
        let watch = model.watch(path, taken);
        if let Effect::Watch { number, .. } = &watch {
            model.screens.team.watches.push(*number);
        }
        effects.push(watch);
    }
    effects
}

/// Keeps locks alive, says who is here, and reads the selected queue.
pub(super) fn tick(model: &mut Model) -> Vec<Effect> {
    let (now, state) = (model.now.mono, &mut model.screens.team);
    match (&state.queues.value, &state.queues.fault) {
        (Some(list), None) => state.rates.sample(now, &list.queues),
        _ => state.rates.clear(),
    }
    let mut effects = locks::keep_alive(model);
    effects.extend(write_presence(model));
    effects.extend(queues::read_detail(model));
    effects
}

/// Writes who is here and which screen is shown. An observer may not write.
fn write_presence(model: &mut Model) -> Vec<Effect> {
    let screen = model.screen.title();
    let due = match model.screens.team.present {
        None => true,
        Some((at, shown)) => {
            let since = model.now.since(at);
            since >= PRESENCE_EVERY || (shown != screen && since >= PRESENCE_PAUSE)
        }
    };
    let may_write = model.network.identity().is_some_and(|identity| identity.role != "observer");
    if !due || !may_write || !model.is_attended || !model.network.is_responsive() {
        return Vec::new();
    }
    model.screens.team.present = Some((model.now.mono, screen));
    let path = format!("/api/v2/kv/{PRESENCE}{}?ttl_ms={PRESENCE_TTL_MS}", escape(&model.client));
    let body = json!({"screen": screen, "with": "console"});
    // A refusal is not worth a word: nobody asked for it.
    model.request("", ("PUT", path), Some(body), |_, _| Vec::new())
}

/// Moves the cursor to a row.
pub fn select(model: &mut Model, row: RowName) {
    model.screens.team.cursor = row;
    model.screens.team.is_detail_old = true;
}

pub(super) fn scroll(model: &mut Model, by: isize) -> Vec<Effect> {
    let state = &mut model.screens.team;
    let rows = state.rows();
    let at = state.cursor_index(&rows).saturating_add_signed(by).min(rows.len().saturating_sub(1));
    state.cursor = rows.into_iter().nth(at).unwrap_or_default();
    state.is_detail_old |= state.selected_queue().is_some_and(|queue| queue != state.detail.queue);
    Vec::new()
}
