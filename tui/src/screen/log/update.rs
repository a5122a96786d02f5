//! What the keys of the Log screen do; and notes, which are written from every screen.

use roverline_protocol::api::events::NewEventRequest;
use roverline_protocol::printable::is_unprintable;
use serde_json::json;

use crate::effect::Effect;
use crate::model::{Form, Model, QuestionKind, Screen};
use crate::screen::log::events::NOTE;
use crate::screen::log::model::{FILTER_CHARS, Level, Origin};
use crate::screen::traces;

/// The stream of notes.
const NOTES: &str = "notes";

pub(super) fn scroll(model: &mut Model, by: isize) -> Vec<Effect> {
    model.screens.log.select(by);
    Vec::new()
}

/// Shows the trace of the selected entry, on the screen of traces.
pub(super) fn open_trace(model: &mut Model) -> Vec<Effect> {
    let Some(id) = model.screens.log.selected().and_then(|entry| entry.trace.clone()) else {
        model.notify(false, "this entry has no trace".to_owned());
        return Vec::new();
    };
    model.next_screen = Some(Screen::Traces);
    traces::open(model, &id)
}

pub(super) fn start_filter(model: &mut Model) -> Vec<Effect> {
    model.screens.log.is_filtering = true;
    Vec::new()
}

pub(super) fn accept_filter(model: &mut Model) -> Vec<Effect> {
    model.screens.log.is_filtering = false;
    Vec::new()
}

pub(super) fn clear_filters(model: &mut Model) -> Vec<Effect> {
    let state = &mut model.screens.log;
    state.filter.clear();
    (state.is_filtering, state.level, state.origin) = (false, Level::Info, None);
    state.follow();
    Vec::new()
}

pub(super) fn erase_filter(model: &mut Model) -> Vec<Effect> {
    model.screens.log.filter.pop();
    model.screens.log.follow();
    Vec::new()
}

pub(super) fn type_filter(model: &mut Model, c: char) -> Vec<Effect> {
    paste_filter(model, c.encode_utf8(&mut [0; 4]))
}

pub(super) fn paste_filter(model: &mut Model, text: &str) -> Vec<Effect> {
    let filter = &mut model.screens.log.filter;
    let room = FILTER_CHARS.saturating_sub(filter.chars().count());
    filter.extend(text.chars().filter(|c| !is_unprintable(*c)).take(room));
    model.screens.log.follow();
    Vec::new()
}

pub(super) fn next_level(model: &mut Model) -> Vec<Effect> {
    let state = &mut model.screens.log;
    state.level = state.level.next();
    state.follow();
    Vec::new()
}

pub(super) fn next_origin(model: &mut Model) -> Vec<Effect> {
    let state = &mut model.screens.log;
    state.origin = match state.origin {
        None => Some(Origin::Event),
        Some(Origin::Event) => Some(Origin::Rosout),
        Some(Origin::Rosout) => Some(Origin::Notification),
        Some(Origin::Notification) => Some(Origin::Note),
        Some(Origin::Note) => None,
    };
    state.follow();
    Vec::new()
}

/// Opens the question for a note.
pub fn open_note(model: &mut Model) -> Vec<Effect> {
    let lines = vec!["It goes into the team's event log, under your name and the time of now.".to_owned()];
    let form = Form::text("Note", lines, "Text", Vec::new(), |model, _, typed| {
        let note = NewEventRequest {
            stream: NOTES.to_owned(),
            kind: NOTE.to_owned(),
            data: json!({"text": typed}),
            expected_version: None,
            id: Some(format!("{}-{:x}", model.client, model.now.wall_ns)),
            correlation_id: None,
            causation_id: None,
            trace: None,
        };
        let body = serde_json::to_value(note).ok();
        let request = ("POST", "/api/v2/events".to_owned());
        model.request("note", request, body, |model, answer| {
            if answer.is_ok() {
                model.notify(false, "the note is in the log".to_owned());
            }
            Vec::new()
        })
    });
    model.open_question(QuestionKind::Other(form));
    Vec::new()
}
