//! Decides which topics are subscribed: all small ones, and a heavy one while it is selected.

use roverline_protocol::limits;

use crate::effect::Effect;
use crate::model::{Model, Screen};
use crate::screen::{camera, map};

/// Maximum rate of a heavy topic: a person watches it, perhaps over a radio.
const HEAVY_RATE_HZ: f64 = 2.0;
/// Most patterns: the gateway refuses more in one session; a few are reserved for selected topics.
const MOST: usize = limits::PATTERNS_PER_SESSION - 16;

/// Subscribes and unsubscribes to reach the desired set. Topics that there is no room for are counted.
pub fn adjust(model: &mut Model) -> Vec<Effect> {
    let watched = model.topics.selected.clone().filter(|_| model.screen == Screen::Topics);
    let shown = camera::model::topic(model).filter(|_| model.screen == Screen::Camera);
    let scanned = map::scan_topic(model).map(str::to_owned);
    let pinned = &model.screens.topics;
    let mut subscribed = model.topics.rows.values().filter(|row| row.subscribed).count();
    let (mut small, mut heavy, mut ended, mut left_out) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for (name, row) in &mut model.topics.rows {
        let is_watched = watched.as_ref() == Some(name)
            || pinned.has_pin_of(name)
            || [&shown, &scanned].into_iter().any(|topic| topic.as_ref() == Some(name));
        let wanted = is_watched || (!row.heavy() && (row.subscribed || (row.listed && subscribed < MOST)));
        if wanted && !row.subscribed {
            if row.heavy() { &mut heavy } else { &mut small }.push(name.clone());
            subscribed += 1;
        } else if !wanted && row.subscribed {
            ended.push(name.clone());
            // Not selected: the payload of a large topic is not kept.
            row.latest = None;
            subscribed = subscribed.saturating_sub(1);
        }
        row.subscribed = wanted;
        left_out += usize::from(row.listed && !wanted && !row.heavy());
    }
    if left_out > std::mem::replace(&mut model.left_out_topics, left_out) {
        let text = format!(
            "{left_out} topics are listed without values, {MOST} are subscribed: select one to see it"
        );
        model.notify(true, text);
    }
    let mut effects = Vec::new();
    if !ended.is_empty() {
        effects.push(Effect::Unsubscribe(ended));
    }
    for (topics, max_rate_hz) in [(small, None), (heavy, Some(HEAVY_RATE_HZ))] {
        if !topics.is_empty() {
            effects.push(Effect::Subscribe { topics, max_rate_hz });
        }
    }
    effects
}
