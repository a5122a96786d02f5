//! Key handling.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use roverline_protocol::printable::is_unprintable;

use crate::keymap::{self, Action, Context};
use crate::model::{FILTER_CHARS, Focus, Model, Overlay, QuestionKind, SMALLEST, Screen, Topics};
use crate::update::{Effect, notify, subscriptions};

/// A second Ctrl-C within this time quits without a question: the question may never be drawn, on a
/// terminal that takes no output.
const QUIT_TWICE: Duration = Duration::from_secs(5);

/// Handles a key that arrived together with others, `together` in all; 1 if it was typed.
pub(super) fn press(model: &mut Model, event: KeyEvent, together: usize) -> Vec<Effect> {
    if event.kind == KeyEventKind::Release {
        return Vec::new();
    }
    let contexts = model.contexts();
    let inner = contexts.first();
    let action = keymap::action(&event, contexts);
    let is_unseen = model.question().is_some_and(|question| !question.drawn);
    match action {
        Some(action) if !acts(action, together) => type_text(model, event),
        // The question is not on the screen yet: only what needs no question acts.
        Some(action) if is_unseen && !matches!(action, Action::Stop | Action::QuitNow | Action::Suspend) => {
            Vec::new()
        }
        Some(action) => dispatch(model, action),
        None if matches!(inner, Some(Context::Filter | Context::Release)) => type_text(model, event),
        None => Vec::new(),
    }
}

/// Whether an action is performed for a key that arrived together with others. The stop always is: a stuck
/// link delays keys, and an unintended stop is harmless. Two keys may have been typed quickly, but actions that
/// end the program or release a stop need a key of their own.
fn acts(action: Action, together: usize) -> bool {
    let is_grave = matches!(
        action,
        Action::Quit | Action::QuitNow | Action::Suspend | Action::AskRelease | Action::Confirm
    );
    action == Action::Stop || together <= 1 || (together == 2 && !is_grave)
}

/// Pasted text goes into text, and acts nowhere. A release is typed.
pub(super) fn paste(model: &mut Model, text: &str) -> Vec<Effect> {
    match model.contexts().first() {
        Some(Context::Filter) => {
            let room = FILTER_CHARS.saturating_sub(model.topics.filter.chars().count());
            let text: String = text.chars().filter(|c| !is_unprintable(*c)).take(room).collect();
            rearrange(model, |topics| topics.filter.push_str(&text))
        }
        _ => {
            notify(model, false, "pasted text was not taken: nothing is being typed here".to_owned());
            Vec::new()
        }
    }
}

fn type_text(model: &mut Model, event: KeyEvent) -> Vec<Effect> {
    let plain = !event.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
    let KeyCode::Char(c) = event.code else { return Vec::new() };
    match model.contexts().first() {
        Some(Context::Filter) if plain && model.topics.filter.chars().count() < FILTER_CHARS => {
            rearrange(model, |topics| topics.filter.push(c))
        }
        Some(Context::Release) if plain => {
            if let Some(question) = model.drawn_question() {
                question.push(c);
            }
            Vec::new()
        }
        _ => Vec::new(),
    }
}

/// Closes an answered question; a yes has its effect.
fn confirm(model: &mut Model) -> Vec<Effect> {
    let Some(question) = model.drawn_question().filter(|question| question.is_confirmed()) else {
        return Vec::new();
    };
    let asked = question.asked;
    model.overlay = Overlay::None;
    match asked {
        QuestionKind::Release => vec![Effect::EmergencyStop { engage: false }],
        QuestionKind::Quit => vec![Effect::Quit],
    }
}

/// Quits; while the rover has not heard a stop, only after a question, because the stop would not be
/// said again. `sure`: asked for a second time.
fn quit(model: &mut Model, sure: bool) -> Vec<Effect> {
    if model.unheard_stop().is_none() || sure {
        return vec![Effect::Quit];
    }
    if !model.open_question(QuestionKind::Quit) {
        let text = "the rover has not heard the stop: Ctrl-C twice quits all the same";
        notify(model, true, text.to_owned());
    }
    Vec::new()
}

/// Gives the terminal back to the shell. A suspended console sends nothing: while the rover has not heard a stop, the
/// key is needed twice.
fn suspend(model: &mut Model) -> Vec<Effect> {
    if model.unheard_stop().is_none() {
        return vec![Effect::Suspend];
    }
    let twice = model.suspend_asked.replace(model.now.mono);
    if twice.is_some_and(|at| model.now.since(at) < QUIT_TWICE) {
        return vec![Effect::Suspend];
    }
    let text =
        "the rover has not heard the stop, and a suspended console does not repeat it: Ctrl-Z again suspends";
    notify(model, true, text.to_owned());
    Vec::new()
}

fn open_release_question(model: &mut Model) {
    if !model.open_question(QuestionKind::Release) {
        let (columns, lines) = SMALLEST;
        notify(model, true, format!("a release is asked at {columns}×{lines} or larger"));
    }
}

fn dispatch(model: &mut Model, action: Action) -> Vec<Effect> {
    match action {
        Action::Stop => return vec![Effect::EmergencyStop { engage: true }],
        Action::Quit => return quit(model, false),
        Action::QuitNow => {
            let twice = model.quit_asked.replace(model.now.mono);
            return quit(model, twice.is_some_and(|at| model.now.since(at) < QUIT_TWICE));
        }
        Action::Suspend => return suspend(model),
        Action::Help => model.overlay = Overlay::Help { scroll: 0 },
        Action::AskRelease => open_release_question(model),
        Action::Close => model.overlay = Overlay::None,
        Action::Confirm => return confirm(model),
        Action::EraseTyped => {
            if let Some(question) = model.drawn_question() {
                question.typed.pop();
            }
        }
        Action::NextTheme => model.theme = (model.theme + 1) % model.theme_names.len().max(1),
        Action::Overview => return switch_to(model, Screen::Overview),
        Action::Endpoints => return switch_to(model, Screen::Endpoints),
        Action::Topics => return switch_to(model, Screen::Topics),
        Action::NextScreen => return cycle(model, 1),
        Action::PreviousScreen => return cycle(model, Screen::ALL.len() - 1),
        Action::Up => return scroll(model, -1),
        Action::Down => return scroll(model, 1),
        Action::PageUp => return scroll(model, -page(model)),
        Action::PageDown => return scroll(model, page(model)),
        Action::First => return scroll(model, isize::MIN),
        Action::Last => return scroll(model, isize::MAX),
        other => return in_topics(model, other),
    }
    Vec::new()
}

fn in_topics(model: &mut Model, action: Action) -> Vec<Effect> {
    let topics = &mut model.topics;
    match action {
        Action::EnterFields if topics.selected.is_some() => topics.focus = Focus::Fields,
        Action::LeaveFields => topics.focus = Focus::List,
        Action::Toggle => drop(model.fields.toggle(None)),
        Action::Expand => drop(model.fields.toggle(Some(true))),
        Action::Collapse if !model.fields.toggle(Some(false)) => topics.focus = Focus::List,
        Action::Sort => return rearrange(model, |topics| topics.sort = topics.sort.next()),
        Action::ReverseSort => return rearrange(model, |topics| topics.reversed = !topics.reversed),
        Action::StartFilter => topics.filtering = true,
        Action::AcceptFilter => topics.filtering = false,
        Action::ClearFilter => {
            return rearrange(model, |topics| {
                topics.filtering = false;
                topics.filter.clear();
            });
        }
        Action::EraseFilter => {
            return rearrange(model, |topics| {
                topics.filter.pop();
            });
        }
        _ => {}
    }
    Vec::new()
}

fn rearrange(model: &mut Model, change: impl FnOnce(&mut Topics)) -> Vec<Effect> {
    let before = model.topics.selected.clone();
    change(&mut model.topics);
    model.topics.arrange(model.now);
    if before == model.topics.selected { Vec::new() } else { selected(model) }
}

fn switch_to(model: &mut Model, screen: Screen) -> Vec<Effect> {
    model.screen = screen;
    model.fields.pending = true;
    subscriptions::adjust(model)
}

fn cycle(model: &mut Model, by: usize) -> Vec<Effect> {
    let at = Screen::ALL.iter().position(|&s| s == model.screen).unwrap_or(0);
    switch_to(model, Screen::ALL[(at + by) % Screen::ALL.len()])
}

fn page(model: &Model) -> isize {
    (model.size.1 / 2).max(1) as isize
}

fn scroll(model: &mut Model, by: isize) -> Vec<Effect> {
    if let Overlay::Help { scroll } = &mut model.overlay {
        *scroll = scroll.saturating_add_signed(by).min(keymap::last_scroll(model.size));
        return Vec::new();
    }
    match (model.screen, model.topics.focus) {
        (Screen::Overview, _) => {}
        (Screen::Endpoints, _) => {
            let last = model.network.history.len().saturating_sub(1);
            model.endpoints_scroll = model.endpoints_scroll.saturating_add_signed(by).min(last);
        }
        (Screen::Topics, Focus::Fields) if !model.topics.filtering => model.fields.select(by),
        (Screen::Topics, _) => {
            let before = model.topics.selected.clone();
            model.topics.select(by);
            if before != model.topics.selected {
                return selected(model);
            }
        }
    }
    Vec::new()
}

/// Another topic was selected.
fn selected(model: &mut Model) -> Vec<Effect> {
    model.fields.clear();
    let mut effects = subscriptions::adjust(model);
    effects.extend(crate::update::sample::decode_selected(model));
    effects
}
