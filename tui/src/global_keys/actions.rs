//! What the keys of every screen do.

use std::time::Duration;

use roverline_protocol::printable::is_unprintable;

use crate::effect::Effect;
use crate::global_keys::all;
use crate::keymap;
use crate::model::{Form, Model, Overlay, QuestionKind, SMALLEST, Screen};
use crate::rewind;
use crate::screens::entry;

/// A second Ctrl-C within this time quits without a question: the question may never be drawn, on a
/// terminal that takes no output.
const QUIT_TWICE: Duration = Duration::from_secs(5);

pub(super) fn stop(_model: &mut Model) -> Vec<Effect> {
    vec![Effect::EmergencyStop { engage: true }]
}

pub(super) fn quit(model: &mut Model) -> Vec<Effect> {
    quit_if_sure(model, false)
}

pub(super) fn quit_now(model: &mut Model) -> Vec<Effect> {
    let twice = model.quit_asked.replace(model.now.mono);
    quit_if_sure(model, twice.is_some_and(|at| model.now.since(at) < QUIT_TWICE))
}

/// Quits; while the rover has not heard a stop, only after a question, because the stop would not be
/// said again. `sure`: asked for a second time.
fn quit_if_sure(model: &mut Model, sure: bool) -> Vec<Effect> {
    if sure {
        return vec![Effect::Quit];
    }
    if model.unheard_stop().is_none() {
        return quit_with_locks(model);
    }
    if !model.open_question(QuestionKind::Quit) {
        let text = "the rover has not heard the stop: Ctrl-C twice quits all the same";
        model.notify(true, text.to_owned());
    }
    Vec::new()
}

/// Quits; while this console has locks, only after a question. They are released first.
fn quit_with_locks(model: &mut Model) -> Vec<Effect> {
    let (own, team) = (model.own(), &model.screens.team);
    let held = team.own.keys().filter(|name| team.lock(name).is_some_and(|lock| own.holds(lock)));
    let held: Vec<String> = held.cloned().collect();
    if held.is_empty() || !model.has_room_for_question() {
        return vec![Effect::Quit];
    }
    let names = crate::format::printable(&held.join(", "));
    let lines = vec![format!("You hold {names}: it is released, and others can take it.")];
    let form = Form::yes_or_no("Quit and release?", lines, held, |model, form, _| {
        // It ends when they are released, or soon.
        model.quitting = Some(model.now.mono);
        form.subject.iter().flat_map(|name| crate::screen::team::release(model, name)).collect()
    });
    model.open_question(QuestionKind::Other(form));
    Vec::new()
}

/// Gives the terminal back to the shell. A suspended console sends nothing: while the rover has not heard a stop, the
/// key is needed twice.
pub(super) fn suspend(model: &mut Model) -> Vec<Effect> {
    if model.unheard_stop().is_none() {
        return vec![Effect::Suspend];
    }
    let twice = model.suspend_asked.replace(model.now.mono);
    if twice.is_some_and(|at| model.now.since(at) < QUIT_TWICE) {
        return vec![Effect::Suspend];
    }
    let text =
        "the rover has not heard the stop, and a suspended console does not repeat it: Ctrl-Z again suspends";
    model.notify(true, text.to_owned());
    Vec::new()
}

pub(super) fn open_help(model: &mut Model) -> Vec<Effect> {
    model.overlay = Overlay::Help { scroll: 0 };
    Vec::new()
}

pub(super) fn close(model: &mut Model) -> Vec<Effect> {
    model.overlay = Overlay::None;
    Vec::new()
}

pub(super) fn open_release(model: &mut Model) -> Vec<Effect> {
    if !model.open_question(QuestionKind::Release) {
        let (columns, lines) = SMALLEST;
        model.notify(true, format!("a release is asked at {columns}×{lines} or larger"));
    }
    Vec::new()
}

/// Closes an answered question; a yes has its effect.
pub(super) fn confirm(model: &mut Model) -> Vec<Effect> {
    let Some(question) = model.drawn_question().filter(|question| question.is_confirmed()) else {
        return Vec::new();
    };
    let (asked, typed) = (question.asked.clone(), std::mem::take(&mut question.typed));
    model.overlay = Overlay::None;
    match asked {
        QuestionKind::Release => vec![Effect::EmergencyStop { engage: false }],
        QuestionKind::Quit => vec![Effect::Quit],
        QuestionKind::Other(form) => (form.confirmed)(model, &form, typed.trim()),
    }
}

pub(super) fn erase_typed(model: &mut Model) -> Vec<Effect> {
    if let Some(question) = model.drawn_question() {
        question.typed.pop();
    }
    Vec::new()
}

pub(super) fn type_answer(model: &mut Model, c: char) -> Vec<Effect> {
    if let Some(question) = model.drawn_question() {
        question.push(c);
    }
    Vec::new()
}

pub(super) fn paste_answer(model: &mut Model, text: &str) -> Vec<Effect> {
    if let Some(question) = model.drawn_question() {
        text.chars().filter(|c| !is_unprintable(*c)).for_each(|c| question.push(c));
    }
    Vec::new()
}

pub(super) fn next_theme(model: &mut Model) -> Vec<Effect> {
    model.theme = (model.theme + 1) % model.theme_names.len().max(1);
    Vec::new()
}

/// The screen of this number, from 1.
pub(super) fn screen<const N: usize>(model: &mut Model) -> Vec<Effect> {
    match Screen::ALL.get(N - 1) {
        Some(&screen) => switch_to(model, screen),
        None => Vec::new(),
    }
}

pub(super) fn alarms(model: &mut Model) -> Vec<Effect> {
    switch_to(model, Screen::Alarms)
}

pub(super) fn preflight(model: &mut Model) -> Vec<Effect> {
    switch_to(model, Screen::Preflight)
}

pub(super) fn next_screen(model: &mut Model) -> Vec<Effect> {
    cycle(model, 1)
}

pub(super) fn previous_screen(model: &mut Model) -> Vec<Effect> {
    cycle(model, Screen::ALL.len() - 1)
}

fn cycle(model: &mut Model, by: usize) -> Vec<Effect> {
    let at = model.screen.number() - 1 + by;
    match Screen::ALL.get(at % Screen::ALL.len()) {
        Some(&screen) => switch_to(model, screen),
        None => Vec::new(),
    }
}

/// Shows another screen.
pub fn switch_to(model: &mut Model, screen: Screen) -> Vec<Effect> {
    let last = std::mem::replace(&mut model.screen, screen);
    if let Some(rewind) = &mut model.rewind {
        rewind.past.screen = screen;
        rewind.past.screens.topics.fields.pending = true;
        crate::update::sample::decode_selected(&mut rewind.past);
    }
    let mut effects = (entry(last).switched)(model);
    if last != screen {
        effects.extend((entry(screen).switched)(model));
    }
    effects
}

pub(super) fn down(model: &mut Model) -> Vec<Effect> {
    scroll(model, 1)
}

pub(super) fn up(model: &mut Model) -> Vec<Effect> {
    scroll(model, -1)
}

pub(super) fn page_down(model: &mut Model) -> Vec<Effect> {
    scroll(model, page(model))
}

pub(super) fn page_up(model: &mut Model) -> Vec<Effect> {
    scroll(model, -page(model))
}

pub(super) fn first(model: &mut Model) -> Vec<Effect> {
    scroll(model, isize::MIN)
}

pub(super) fn last(model: &mut Model) -> Vec<Effect> {
    scroll(model, isize::MAX)
}

fn page(model: &Model) -> isize {
    (model.size.1 / 2).max(1) as isize
}

/// The last line of the help at which its overlay can begin, for this terminal size.
fn last_help_scroll(size: (u16, u16)) -> usize {
    // The header, the line of messages, the footer, the frame and the warning.
    let visible = size.1.saturating_sub(7);
    keymap::help(&all()).len().saturating_sub(usize::from(visible))
}

fn scroll(model: &mut Model, by: isize) -> Vec<Effect> {
    if let Overlay::Help { scroll } = &mut model.overlay {
        *scroll = scroll.saturating_add_signed(by).min(last_help_scroll(model.size));
        return Vec::new();
    }
    let scroll = entry(model.screen).scroll;
    match &mut model.rewind {
        // The cursor of the past; what it would request is not now.
        Some(rewind) => {
            scroll(&mut rewind.past, by);
            Vec::new()
        }
        None => scroll(model, by),
    }
}

pub(super) fn toggle_rewind(model: &mut Model) -> Vec<Effect> {
    rewind::toggle(model)
}

pub(super) fn freeze(model: &mut Model) -> Vec<Effect> {
    rewind::freeze(model)
}

pub(super) fn now(model: &mut Model) -> Vec<Effect> {
    rewind::leave(model)
}

/// Moves the past by this many seconds.
pub(super) fn rewind_by<const S: i64>(model: &mut Model) -> Vec<Effect> {
    rewind::step(model, S)
}

pub(super) fn rewind_event<const IS_FORWARD: bool>(model: &mut Model) -> Vec<Effect> {
    rewind::step_event(model, IS_FORWARD)
}
