//! What a screen gives to the rest of the console.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::effect::Effect;
use crate::keymap::Context;
use crate::model::Model;
use crate::theme::Theme;

/// One screen.
#[derive(Debug)]
pub struct ScreenEntry {
    /// All of its key contexts, for the help.
    pub contexts: &'static [&'static Context],
    /// Those that are active now, innermost first.
    pub active: fn(&Model) -> Vec<&'static Context>,
    /// A person is at the console from now on.
    pub start: fn(&mut Model) -> Vec<Effect>,
    /// Time has passed; several times a second, on every screen.
    pub tick: fn(&mut Model) -> Vec<Effect>,
    /// It is shown from now on, or not any more.
    pub switched: fn(&mut Model) -> Vec<Effect>,
    /// The cursor moves down by this many lines.
    pub scroll: fn(&mut Model, isize) -> Vec<Effect>,
    /// Draws it.
    pub draw: fn(&Model, &Theme, Rect, &mut Buffer),
}

/// For a screen without a cursor.
pub fn no_scroll(_model: &mut Model, _by: isize) -> Vec<Effect> {
    Vec::new()
}

/// For a screen that needs nothing when it is shown, at the start, or with time.
pub fn no_effect(_model: &mut Model) -> Vec<Effect> {
    Vec::new()
}
