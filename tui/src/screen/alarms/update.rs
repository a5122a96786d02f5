//! What the Alarms screen watches, and what its keys do.

use roverline_protocol::api::alarms::{
    ALARM_NOTE_CHARS, AcknowledgeRequest, AlarmState, SHELF_DEFAULT_S, ShelveRequest, UnshelveRequest,
};
use serde::Serialize;

use crate::effect::Effect;
use crate::format::{self, escape};
use crate::model::{Form, Model, QuestionKind, Screen};
use crate::screen::traces;

/// Most alarms that are acknowledged at once.
const MAX_AT_ONCE: usize = 20;

/// Alarms are watched on every screen.
pub(super) fn start(model: &mut Model) -> Vec<Effect> {
    vec![model.watch("/api/v2/alarms", |model, answer| {
        let now = model.now;
        let state = &mut model.screens.alarms;
        if state.list.take(answer, now, |_| 0) {
            state.observe(now.mono);
        }
    })]
}

/// Rings once for a new alarm, and keeps the terminal's title up to date.
pub(super) fn tick(model: &mut Model) -> Vec<Effect> {
    let title = match model.screens.alarms.counts() {
        None | Some((0, 0)) => "rover".to_owned(),
        Some((0, others)) => format!("▲{others} rover"),
        Some((urgent, _)) => format!("■{urgent} rover"),
    };
    let state = &mut model.screens.alarms;
    let mut effects = Vec::new();
    if state.title != title {
        state.title.clone_from(&title);
        effects.push(Effect::Title(title));
    }
    if std::mem::take(&mut state.is_bell_due) {
        effects.push(Effect::Bell);
    }
    effects
}

pub(super) fn scroll(model: &mut Model, by: isize) -> Vec<Effect> {
    let state = &model.screens.alarms;
    let listed = state.listed();
    let at = state.cursor_index().saturating_add_signed(by).min(listed.len().saturating_sub(1));
    let id = listed.get(at).map(|alarm| alarm.id.clone()).unwrap_or_default();
    model.screens.alarms.cursor = id;
    Vec::new()
}

pub(super) fn toggle_cleared(model: &mut Model) -> Vec<Effect> {
    model.screens.alarms.with_cleared ^= true;
    Vec::new()
}

pub(super) fn open_trace(model: &mut Model) -> Vec<Effect> {
    let Some(id) = model.screens.alarms.selected().and_then(|alarm| alarm.trace_id.clone()) else {
        model.notify(false, "no traced sample raised it".to_owned());
        return Vec::new();
    };
    model.next_screen = Some(Screen::Traces);
    traces::open(model, &id)
}

fn send(
    model: &mut Model,
    what: &str,
    id: &str,
    verb: &str,
    body: &impl Serialize,
    done: &'static str,
) -> Vec<Effect> {
    let request = ("POST", format!("/api/v2/alarms/{}/{verb}", escape(id)));
    let name = format::printable(id);
    model.request(what, request, serde_json::to_value(body).ok(), move |model, answer| {
        if answer.is_ok() {
            model.notify(false, format!("{name} {done}"));
        }
        Vec::new()
    })
}

/// Acknowledges the occurrence that is on the screen: one that was raised since is another.
pub(super) fn acknowledge(model: &mut Model) -> Vec<Effect> {
    let Some(alarm) = model.screens.alarms.selected() else { return Vec::new() };
    let (id, occurrence) = (alarm.id.clone(), alarm.occurrence);
    if alarm.state != AlarmState::Raised {
        model.notify(false, format!("{} needs no acknowledgement", format::printable(&id)));
        return Vec::new();
    }
    let body = AcknowledgeRequest { comment: String::new(), occurrence: Some(occurrence) };
    send(model, &format!("acknowledge {id}"), &id, "acknowledge", &body, "is acknowledged")
}

/// Opens the question whether to acknowledge all that are listed.
pub(super) fn open_acknowledge_all(model: &mut Model) -> Vec<Effect> {
    let seen = model.screens.alarms.unacknowledged().take(MAX_AT_ONCE);
    let seen: Vec<(String, String)> =
        seen.map(|alarm| (alarm.id.clone(), alarm.occurrence.to_string())).collect();
    if seen.is_empty() {
        model.notify(false, "no alarm waits for an acknowledgement".to_owned());
        return Vec::new();
    }
    let names: Vec<String> = seen.iter().map(|(id, _)| format::printable(id)).collect();
    let lines = vec![names.join(", ")];
    let subject = seen.into_iter().flat_map(|(id, occurrence)| [id, occurrence]).collect();
    let title = format!("Acknowledge {}?", names.len());
    let form = Form::yes_or_no(&title, lines, subject, |model, form, _| {
        let pairs = form.subject.chunks_exact(2);
        let mut effects = Vec::new();
        for pair in pairs {
            let [id, occurrence] = pair else { continue };
            let body = AcknowledgeRequest { comment: String::new(), occurrence: occurrence.parse().ok() };
            let what = format!("acknowledge {id}");
            effects.extend(send(model, &what, id, "acknowledge", &body, "is acknowledged"));
        }
        effects
    });
    model.open_question(QuestionKind::Other(form));
    Vec::new()
}

/// Opens the question why an alarm is shelved.
pub(super) fn open_shelve(model: &mut Model) -> Vec<Effect> {
    let Some(alarm) = model.screens.alarms.selected() else { return Vec::new() };
    let (id, name) = (alarm.id.clone(), format::printable(&alarm.id));
    let minutes = SHELF_DEFAULT_S / 60;
    let lines = vec![format!("For {minutes} minutes it does not count as open, for the whole team.")];
    let form = Form::text(&format!("Shelve {name}?"), lines, "Reason", vec![id], |model, form, typed| {
        let Some(id) = form.subject.first() else { return Vec::new() };
        let body = ShelveRequest { reason: typed.to_owned(), duration_s: SHELF_DEFAULT_S };
        send(model, &format!("shelve {id}"), id, "shelve", &body, "is shelved")
    });
    model.open_question(QuestionKind::Other(Form { max_chars: ALARM_NOTE_CHARS, ..form }));
    Vec::new()
}

pub(super) fn unshelve(model: &mut Model) -> Vec<Effect> {
    let Some(alarm) = model.screens.alarms.selected().filter(|alarm| alarm.shelved.is_some()) else {
        return Vec::new();
    };
    let id = alarm.id.clone();
    send(model, &format!("unshelve {id}"), &id, "unshelve", &UnshelveRequest {}, "is off the shelf")
}
