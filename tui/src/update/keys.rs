//! Key handling.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::keymap::{self, Action, Context};
use crate::model::{FILTER_CHARS, Focus, Model, Overlay, Screen, Topics};
use crate::update::{Effect, subscriptions};

pub(super) fn press(model: &mut Model, event: KeyEvent) -> Vec<Effect> {
    if event.kind == KeyEventKind::Release {
        return Vec::new();
    }
    let contexts = model.contexts();
    match keymap::action(&event, contexts) {
        Some(action) => dispatch(model, action),
        None if contexts.first() == Some(&Context::Filter) => type_filter(model, event),
        None => Vec::new(),
    }
}

fn dispatch(model: &mut Model, action: Action) -> Vec<Effect> {
    match action {
        Action::Stop => return vec![Effect::EmergencyStop { engage: true }],
        Action::Quit => return vec![Effect::Quit],
        Action::Suspend => return vec![Effect::Suspend],
        Action::Help => model.overlay = Overlay::Help { scroll: 0 },
        Action::AskRelease => model.overlay = Overlay::ConfirmRelease,
        Action::Close => model.overlay = Overlay::None,
        Action::Confirm => {
            model.overlay = Overlay::None;
            return vec![Effect::EmergencyStop { engage: false }];
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

fn type_filter(model: &mut Model, event: KeyEvent) -> Vec<Effect> {
    let plain = !event.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
    match event.code {
        KeyCode::Char(c) if plain && model.topics.filter.chars().count() < FILTER_CHARS => {
            rearrange(model, |topics| topics.filter.push(c))
        }
        _ => Vec::new(),
    }
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
