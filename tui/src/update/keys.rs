//! Key handling: keys find their bindings in the active contexts.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::effect::Effect;
use crate::global_keys;
use crate::keymap;
use crate::model::Model;
use crate::screen::drive;

/// Handles a key that arrived together with others, `together` in all; 1 if it was typed.
pub(super) fn press(model: &mut Model, event: KeyEvent, together: usize) -> Vec<Effect> {
    if let Some(effects) = drive::take_key(model, &event, together) {
        return effects;
    }
    if event.kind == KeyEventKind::Release {
        return Vec::new();
    }
    let contexts = global_keys::active(model);
    let is_unseen = model.question().is_some_and(|question| !question.drawn);
    match keymap::find(&event, &contexts) {
        Some((binding, _)) if !binding.acts(together) => type_text(model, event),
        // The question is not on the screen yet: only what needs no question acts.
        Some((_, context)) if is_unseen && !std::ptr::eq(context, &global_keys::ALWAYS) => Vec::new(),
        Some((binding, _)) => {
            let mut effects = (binding.run)(model);
            if let Some(screen) = model.next_screen.take() {
                effects.extend(global_keys::actions::switch_to(model, screen));
            }
            effects
        }
        None => type_text(model, event),
    }
}

/// Pasted text goes into text, and acts nowhere. A release is typed.
pub(super) fn paste(model: &mut Model, text: &str) -> Vec<Effect> {
    let input = global_keys::active(model).first().and_then(|context| context.text);
    match input.and_then(|input| input.pasted) {
        Some(pasted) => pasted(model, text),
        None => {
            model.notify(false, "pasted text was not taken: nothing is being typed here".to_owned());
            Vec::new()
        }
    }
}

fn type_text(model: &mut Model, event: KeyEvent) -> Vec<Effect> {
    let is_plain = !event.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
    let KeyCode::Char(c) = event.code else { return Vec::new() };
    let input = global_keys::active(model).first().and_then(|context| context.text);
    match input {
        Some(input) if is_plain => (input.typed)(model, c),
        _ => Vec::new(),
    }
}
