//! Chooses the topic, and requests pictures: one at a time.

use std::time::Duration;

use roverline_client::LinkSample;

use crate::effect::Effect;
use crate::model::{Model, Screen};
use crate::picture::{Picture, PictureFault, PictureJob};
use crate::screen::camera::model::{Frame, PATIENCE, picture_area, topic, topics};
use crate::update::subscriptions;

pub(super) fn switched(model: &mut Model) -> Vec<Effect> {
    // A picture of the last visit is old, and takes memory.
    model.screens.camera.clear();
    subscriptions::adjust(model)
}

/// Shows the next topic with pictures.
pub(super) fn next_topic(model: &mut Model) -> Vec<Effect> {
    let all = topics(model);
    let shown = topic(model);
    let at = all.iter().position(|topic| Some(*topic) == shown.as_deref()).map_or(0, |at| at + 1);
    let next = all.get(at % all.len().max(1)).map(|topic| (*topic).to_owned());
    model.screens.camera.chosen = next;
    model.screens.camera.clear();
    subscriptions::adjust(model)
}

/// Takes a sample of the shown topic.
pub fn feed(model: &mut Model, sample: &LinkSample, at: Duration) -> Vec<Effect> {
    if model.screen != Screen::Camera || topic(model).as_ref() != Some(&sample.topic.name) {
        return Vec::new();
    }
    let (type_name, payload) = (sample.topic.type_name.clone(), sample.payload.clone());
    model.screens.camera.newest = Some(Frame { type_name, payload, at });
    request(model)
}

pub(super) fn tick(model: &mut Model) -> Vec<Effect> {
    // The list of topics may have come after the screen.
    let mut effects = match topic(model).filter(|_| model.screen == Screen::Camera) {
        Some(topic) if model.topics.rows.get(&topic).is_some_and(|row| !row.subscribed) => {
            subscriptions::adjust(model)
        }
        _ => Vec::new(),
    };
    effects.extend(request(model));
    effects
}

/// Requests a picture of the newest message, if it is not the one that is shown in this size.
fn request(model: &mut Model) -> Vec<Effect> {
    let (now, size) = (model.now.mono, picture_area(model.size));
    let state = &mut model.screens.camera;
    let Some(frame) = &state.newest else { return Vec::new() };
    let is_shown = state.picture.as_ref().is_some_and(|(_, at)| *at == frame.at) || state.fault.is_some();
    let is_busy = state.decoding.is_some_and(|(_, since)| now.saturating_sub(since) < PATIENCE);
    let is_new = !is_shown || state.size != size;
    if is_busy || !is_new || size.0 == 0 || size.1 == 0 || model.screen != Screen::Camera {
        return Vec::new();
    }
    state.number += 1;
    state.size = size;
    state.decoding = Some((frame.at, now));
    let (type_name, payload) = (frame.type_name.clone(), frame.payload.clone());
    vec![Effect::Picture(PictureJob { number: state.number, type_name, payload, size })]
}

/// A picture has been made, or none.
pub fn decoded(model: &mut Model, number: u64, made: Result<Picture, PictureFault>) -> Vec<Effect> {
    let state = &mut model.screens.camera;
    let Some((at, _)) = state.decoding.filter(|_| state.number == number) else { return Vec::new() };
    state.decoding = None;
    match made {
        Ok(picture) => (state.picture, state.fault) = (Some((picture, at)), None),
        Err(fault) => state.fault = Some(fault),
    }
    request(model)
}
