//! Keys that do not belong to one screen.

pub mod actions;
mod palette;

use crossterm::event::KeyCode;

use crate::global_keys::actions::*;
use crate::keymap::{Context, TextInput, char, ctrl, key};
use crate::model::{Model, Overlay, QuestionKind, Screen};
use crate::screens::entry;

/// Everywhere, also in dialogs and where text is typed.
pub static ALWAYS: Context = Context {
    title: "Always",
    keys: &[
        char('!', stop, "emergency stop, at once, without a question").footer("STOP").urgent(),
        ctrl('c', quit_now, "quit; asks first while a stop is unheard").grave(),
        ctrl('z', suspend, "suspend, back with fg").grave(),
    ],
    text: None,
};

const PALETTE: &str = "do: a screen, action, topic, lock, queue or robot";
const NUMBER: &str = "the screen of this number";
const NEXT: &str = "next screen";
const PREVIOUS: &str = "previous screen";

/// On every screen.
pub static EVERY_SCREEN: Context = Context {
    title: "Every screen",
    keys: &[
        char('?', open_help, "this help").footer("help"),
        char(':', palette::open, PALETTE),
        char('q', quit, "quit").footer("quit").grave(),
        char('1', screen::<1>, NUMBER),
        char('2', screen::<2>, NUMBER),
        char('3', screen::<3>, NUMBER),
        char('4', screen::<4>, NUMBER),
        char('5', screen::<5>, NUMBER),
        char('6', screen::<6>, NUMBER),
        char('7', screen::<7>, NUMBER),
        char('8', screen::<8>, NUMBER),
        char('9', screen::<9>, NUMBER),
        key(KeyCode::Tab, next_screen, NEXT).footer("screen"),
        key(KeyCode::BackTab, previous_screen, PREVIOUS),
        char('R', open_release, "release the emergency stop (asks for a word)").footer("release").grave(),
        char('d', crate::screen::team::drive, "take the lock drive, return it, or ask for it")
            .footer("drive")
            .grave(),
        char('a', alarms, "the alarms").footer("alarms"),
        char('P', preflight, "preflight: go or no-go"),
        char('c', crate::composer::update::open_all, "compose a command: publish, call, goal, parameter"),
        char('n', crate::screen::log::open_note, "a note, into the team's log").footer("note"),
        char('t', toggle_rewind, "rewind: the last half hour, on every screen").footer("rewind"),
        char(' ', freeze, "freeze everything that is shown, as it is now"),
        ctrl('t', next_theme, "next theme"),
        key(KeyCode::Right, next_screen, NEXT),
        key(KeyCode::Left, previous_screen, PREVIOUS),
        char('l', next_screen, NEXT),
        char('h', previous_screen, PREVIOUS),
        key(KeyCode::Down, down, DOWN),
        key(KeyCode::Up, up, UP),
        char('j', down, DOWN),
        char('k', up, UP),
        key(KeyCode::PageDown, page_down, PAGE_DOWN),
        key(KeyCode::PageUp, page_up, PAGE_UP),
        key(KeyCode::Home, first, FIRST),
        key(KeyCode::End, last, LAST),
        char('g', first, FIRST),
        char('G', last, LAST),
    ],
    text: None,
};

const DOWN: &str = "down";
const UP: &str = "up";
const PAGE_DOWN: &str = "a page down";
const PAGE_UP: &str = "a page up";
const FIRST: &str = "first";
const LAST: &str = "last";
const CLOSE: &str = "close";

/// The help.
pub static HELP: Context = Context {
    title: "This help",
    keys: &[
        key(KeyCode::Esc, close, CLOSE).footer("close"),
        char('?', close, CLOSE),
        char('q', close, CLOSE),
        key(KeyCode::Down, down, DOWN).footer("more"),
        key(KeyCode::Up, up, UP),
        char('j', down, DOWN),
        char('k', up, UP),
        key(KeyCode::PageDown, page_down, PAGE_DOWN),
        key(KeyCode::PageUp, page_up, PAGE_UP),
    ],
    text: None,
};

/// The command palette.
pub static PALETTE_KEYS: Context = Context {
    title: "Do (:)",
    keys: &[
        key(KeyCode::Enter, palette::accept, "do it, or go there").footer("do").grave(),
        key(KeyCode::Esc, palette::close, CLOSE).footer("close"),
        key(KeyCode::Down, palette::scroll::<1>, DOWN),
        key(KeyCode::Up, palette::scroll::<{ -1 }>, UP),
        ctrl('n', palette::scroll::<1>, DOWN),
        ctrl('p', palette::scroll::<{ -1 }>, UP),
        key(KeyCode::PageDown, palette::scroll::<10>, PAGE_DOWN),
        key(KeyCode::PageUp, palette::scroll::<{ -10 }>, PAGE_UP),
        key(KeyCode::Backspace, palette::erase, ERASE),
    ],
    text: Some(TextInput { typed: palette::typed, pasted: Some(palette::pasted) }),
};

/// On a terminal that is too small for a screen.
static LEAVING: Context =
    Context { title: "Too small", keys: &[char('q', quit, "quit").footer("quit").grave()], text: None };

/// While the past is shown.
pub static REWOUND: Context = Context {
    title: "Rewind",
    keys: &[
        key(KeyCode::Esc, now, NOW).footer("now"),
        char('t', now, NOW),
        char(' ', now, NOW),
        key(KeyCode::Left, rewind_by::<{ -1 }>, "a second back").footer("1 s"),
        key(KeyCode::Right, rewind_by::<1>, "a second on"),
        char(',', rewind_by::<{ -60 }>, "a minute back").footer("1 min"),
        char('.', rewind_by::<60>, "a minute on"),
        char('[', rewind_event::<false>, "the entry of the log before").footer("event"),
        char(']', rewind_event::<true>, "the next entry of the log"),
    ],
    text: None,
};

const NOW: &str = "back to now";

/// The question before a release.
pub static RELEASE: Context = Context {
    title: "Release?",
    keys: &[
        key(KeyCode::Enter, confirm, "release, once the word is typed").footer("release").grave(),
        key(KeyCode::Esc, close, "leave it engaged").footer("cancel"),
        key(KeyCode::Backspace, erase_typed, ERASE),
    ],
    text: Some(TextInput { typed: type_answer, pasted: None }),
};

const ERASE: &str = "erase a character";

/// The question before quitting while a stop is unheard, and every other one that takes yes or no.
pub static YES_OR_NO: Context = Context {
    title: "Yes or no?",
    keys: &[
        char('y', confirm, "yes").footer("yes").grave(),
        char('n', close, "no").footer("no"),
        key(KeyCode::Esc, close, "no"),
    ],
    text: None,
};

/// A question that is answered with a text.
pub static TEXT: Context = Context {
    title: "Text",
    keys: &[
        key(KeyCode::Enter, confirm, "send").footer("send").grave(),
        key(KeyCode::Esc, close, "cancel").footer("cancel"),
        key(KeyCode::Backspace, erase_typed, ERASE),
    ],
    text: Some(TextInput { typed: type_answer, pasted: Some(paste_answer) }),
};

/// The active contexts, innermost first.
pub fn active(model: &Model) -> Vec<&'static Context> {
    let mut contexts = match &model.overlay {
        // Nothing is seen of what a key would do.
        _ if !model.has_room_for_question() && model.is_sized() => vec![&LEAVING],
        Overlay::Help { .. } => vec![&HELP],
        Overlay::Composer => vec![crate::composer::keys::active(model)],
        Overlay::Question(question) => match question.asked {
            QuestionKind::Release => vec![&RELEASE],
            QuestionKind::Quit => vec![&YES_OR_NO],
            QuestionKind::Other(ref form) if form.label.is_none() => vec![&YES_OR_NO],
            QuestionKind::Other(_) => vec![&TEXT],
        },
        Overlay::Palette => vec![&PALETTE_KEYS],
        Overlay::None => beneath(model),
    };
    contexts.push(&ALWAYS);
    contexts
}

/// The contexts of the screen itself, beneath any overlay, innermost first.
fn beneath(model: &Model) -> Vec<&'static Context> {
    // What changes something acts now, and nothing on the screen is now.
    if model.rewind.is_some() {
        return vec![&REWOUND, &EVERY_SCREEN];
    }
    let mut contexts = (entry(model.screen).active)(model);
    // Where text is typed, letters are text.
    if contexts.first().is_none_or(|inner| inner.text.is_none()) {
        contexts.push(&EVERY_SCREEN);
    }
    contexts
}

/// All contexts, in the order of the help.
pub fn all() -> Vec<&'static Context> {
    let screens = Screen::ALL.iter().flat_map(|&screen| entry(screen).contexts);
    [&ALWAYS, &EVERY_SCREEN, &REWOUND]
        .into_iter()
        .chain(screens.copied())
        .chain([&PALETTE_KEYS, &RELEASE, &YES_OR_NO, &TEXT])
        .chain([&crate::composer::keys::PICK, &crate::composer::keys::FILL, &crate::composer::keys::SENT])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keymap::{help, problems};

    #[test]
    fn the_tables_have_no_problems() {
        assert_eq!(problems(&all()), Vec::<String>::new());
        assert_eq!(problems(&[&ALWAYS, &HELP]), Vec::<String>::new());
    }

    #[test]
    fn every_key_is_in_the_help() {
        let lines = help(&all()).len();
        let keys: usize = all().iter().map(|context| context.keys.len()).sum();
        assert!(lines > 40 && lines < keys + all().len(), "{lines}");
    }
}
