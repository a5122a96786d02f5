//! The screens by name.

use crate::model::Screen;
use crate::screen_entry::ScreenEntry;
use crate::screen_table::with_screens;

macro_rules! define {
    ($($folder:ident $name:ident),* $(,)?) => {
        /// The entry of a screen.
        pub fn entry(screen: Screen) -> &'static ScreenEntry {
            match screen {
                $(Screen::$name => &crate::screen::$folder::ENTRY),*
            }
        }
    };
}
with_screens!(define);
