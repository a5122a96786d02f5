//! Keys of the composer.

use crossterm::event::KeyCode;

use crate::composer::model::Stage;
use crate::composer::update::{
    back, clear_field, close, cycle, erase, field, kind, move_cursor, paste, pick, recall, repeat, send,
    toggle_kept, type_char,
};
use crate::keymap::{Context, TextInput, ctrl, key};
use crate::model::Model;

const TYPED: Option<TextInput> = Some(TextInput { typed: type_char, pasted: Some(paste) });
const ERASE: &str = "erase a character";

/// The targets.
pub static PICK: Context = Context {
    title: "Composer: what to",
    keys: &[
        key(KeyCode::Enter, pick, "its form").footer("form").grave(),
        key(KeyCode::Esc, close, "close").footer("close"),
        key(KeyCode::Down, move_cursor::<1>, "the next one"),
        key(KeyCode::Up, move_cursor::<{ -1 }>, "the one before"),
        key(KeyCode::Tab, kind, "only publish, call, goal, parameter, or all").footer("kind"),
        key(KeyCode::Backspace, erase, ERASE),
    ],
    text: TYPED,
};

const CHOICE: &str = "the choices of an enumeration";
const RECALL: &str = "an older or newer command to the same";

/// The form.
pub static FILL: Context = Context {
    title: "Composer: form",
    keys: &[
        key(KeyCode::Enter, send, "check it and send it").footer("send").grave(),
        key(KeyCode::Esc, back, "back to the targets").footer("back"),
        key(KeyCode::Down, field::<1>, "the next field").footer("field"),
        key(KeyCode::Tab, field::<1>, "the next field"),
        key(KeyCode::Up, field::<{ -1 }>, "the field before"),
        key(KeyCode::Right, cycle::<true>, CHOICE).footer("choice"),
        key(KeyCode::Left, cycle::<false>, CHOICE),
        key(KeyCode::PageUp, recall::<true>, RECALL).footer("history"),
        key(KeyCode::PageDown, recall::<false>, RECALL),
        ctrl('s', toggle_kept, "keep it, or no more").footer("keep"),
        ctrl('u', clear_field, "the field's default"),
        key(KeyCode::Backspace, erase, ERASE),
    ],
    text: TYPED,
};

/// What became of it.
pub static SENT: Context = Context {
    title: "Composer: sent",
    keys: &[
        key(KeyCode::Esc, back, "back to the form").footer("back"),
        key(KeyCode::Enter, repeat, "the same command again, if its answer was lost: it is done once")
            .grave(),
    ],
    text: None,
};

/// The active context.
pub fn active(model: &Model) -> &'static Context {
    match model.composer.stage {
        Stage::Pick => &PICK,
        Stage::Fill => &FILL,
        Stage::Sent => &SENT,
    }
}
