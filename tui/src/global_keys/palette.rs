//! The command palette: screens, actions, topics, locks, queues and robots by what is typed.

use roverline_protocol::printable::is_unprintable;

use crate::effect::Effect;
use crate::global_keys::{
    ALWAYS, DOWN, FIRST, LAST, NUMBER, PAGE_DOWN, PAGE_UP, PALETTE, UP, actions, beneath,
};
use crate::keymap::{Binding, Context};
use crate::model::palette::{Entry, Palette, Target};
use crate::model::{Model, Overlay, Screen};
use crate::screen::team::model::{Pane, RowName};

/// Most topics that are offered.
const MAX_TOPICS: usize = 5_000;

pub(super) fn open(model: &mut Model) -> Vec<Effect> {
    let mut entries = screens();
    entries.extend(contexts(model).into_iter().flat_map(offered));
    // The rows of the past have their own cursor.
    let mut left_out = 0;
    if model.rewind.is_none() {
        entries.extend(rows(model));
        left_out = model.topics.rows.len().saturating_sub(MAX_TOPICS);
        let topic = |name: &String| entry(name.clone(), "topic", Target::Topic(name.clone()));
        entries.extend(model.topics.rows.keys().take(MAX_TOPICS).map(topic));
    }
    model.palette = Palette::new(entries, left_out);
    model.overlay = Overlay::Palette;
    Vec::new()
}

/// Those whose actions are offered.
fn contexts(model: &Model) -> Vec<&'static Context> {
    let mut contexts = beneath(model);
    contexts.push(&ALWAYS);
    contexts
}

fn entry(label: String, kind: &'static str, target: Target) -> Entry {
    Entry { label, kind, keys: String::new(), target }
}

fn screens() -> Vec<Entry> {
    let of = |&screen: &Screen| Entry {
        keys: if screen.number() < 10 { screen.number().to_string() } else { String::new() },
        ..entry(screen.title().to_owned(), "screen", Target::Screen(screen))
    };
    Screen::ALL.iter().map(of).collect()
}

/// Whether an action makes no sense from here: moving a cursor that is not seen, or what has an entry of its own.
fn is_left_out(binding: &Binding) -> bool {
    [NUMBER, PALETTE, UP, DOWN, PAGE_UP, PAGE_DOWN, FIRST, LAST].contains(&binding.description)
}

fn offered(context: &'static Context) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for binding in context.keys.iter().filter(|binding| !is_left_out(binding)) {
        let description = binding.description;
        if let Some(known) = entries.iter_mut().find(|entry| entry.label == description) {
            known.keys = format!("{} {}", known.keys, binding.name());
            continue;
        }
        let target = Target::Action { context: context.title, description };
        entries.push(Entry { keys: binding.name(), ..entry(description.to_owned(), "action", target) });
    }
    entries
}

/// Rows of the Team screen; those that it watches only while it is shown are known once it was.
fn rows(model: &Model) -> Vec<Entry> {
    let kind = |pane| match pane {
        Pane::Locks => Some("lock"),
        Pane::Queues => Some("queue"),
        Pane::Robots => Some("robot"),
        Pane::Values | Pane::People => None,
    };
    let of = |row: RowName| Some(entry(row.name.clone(), kind(row.pane)?, Target::Row(row)));
    model.screens.team.rows().into_iter().filter_map(of).collect()
}

/// Does what is selected.
pub(super) fn accept(model: &mut Model) -> Vec<Effect> {
    let Some(target) = model.palette.selected().map(|entry| entry.target.clone()) else { return Vec::new() };
    close(model);
    match target {
        Target::Screen(screen) => actions::switch_to(model, screen),
        Target::Topic(name) => {
            let mut effects = actions::switch_to(model, Screen::Topics);
            effects.extend(crate::screen::topics::select(model, &name));
            effects
        }
        Target::Row(row) => {
            let effects = actions::switch_to(model, Screen::Team);
            crate::screen::team::select(model, row);
            effects
        }
        Target::Action { context, description } => {
            // What was active then may not be any more.
            let contexts = contexts(model);
            let mut keys =
                contexts.iter().filter(|other| other.title == context).flat_map(|other| other.keys);
            match keys.find(|binding| binding.description == description) {
                Some(binding) => (binding.run)(model),
                None => Vec::new(),
            }
        }
    }
}

pub(super) fn close(model: &mut Model) -> Vec<Effect> {
    (model.palette, model.overlay) = (Palette::default(), Overlay::None);
    Vec::new()
}

pub(super) fn typed(model: &mut Model, c: char) -> Vec<Effect> {
    if !is_unprintable(c) {
        model.palette.push(c);
    }
    Vec::new()
}

pub(super) fn pasted(model: &mut Model, text: &str) -> Vec<Effect> {
    text.chars().filter(|c| !is_unprintable(*c)).take(256).for_each(|c| model.palette.push(c));
    Vec::new()
}

/// Without a character to erase it closes.
pub(super) fn erase(model: &mut Model) -> Vec<Effect> {
    if model.palette.pop() { Vec::new() } else { close(model) }
}

pub(super) fn scroll<const BY: isize>(model: &mut Model) -> Vec<Effect> {
    model.palette.scroll(BY);
    Vec::new()
}
