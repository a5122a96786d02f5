//! Decides which topics are subscribed: all small ones, and a heavy one while it is selected.

use roverline_protocol::limits;

use crate::model::{Model, Screen};
use crate::update::Effect;

/// Maximum rate of a heavy topic: a person watches it, perhaps over a radio.
const HEAVY_RATE_HZ: f64 = 2.0;
/// Most patterns: the gateway refuses more in one session; a few are reserved for selected topics.
const MOST: usize = limits::PATTERNS_PER_SESSION - 16;

/// Subscribes and unsubscribes to reach the desired set.
pub(super) fn adjust(model: &mut Model) -> Vec<Effect> {
    let watched = model.topics.selected.clone().filter(|_| model.screen == Screen::Topics);
    let mut subscribed = model.topics.rows.values().filter(|row| row.subscribed).count();
    let mut effects = Vec::new();
    for (name, row) in &mut model.topics.rows {
        let is_watched = watched.as_ref() == Some(name);
        let wanted = is_watched || (!row.heavy() && (row.subscribed || (row.listed && subscribed < MOST)));
        if wanted && !row.subscribed {
            let max_rate_hz = row.heavy().then_some(HEAVY_RATE_HZ);
            effects.push(Effect::Subscribe { topic: name.clone(), max_rate_hz });
            subscribed += 1;
        } else if !wanted && row.subscribed {
            effects.push(Effect::Unsubscribe(name.clone()));
            // Not selected: the payload of a large topic is not kept.
            row.latest = None;
            subscribed = subscribed.saturating_sub(1);
        }
        row.subscribed = wanted;
    }
    effects
}
