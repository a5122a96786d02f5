//! The screens and their states, made from the table of screens.

use crate::screen_table::with_screens;

macro_rules! define {
    ($first_folder:ident $first:ident, $($folder:ident $name:ident),* $(,)?) => {
        /// The screens.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum Screen {
            /// The first one.
            #[default]
            $first,
            $(
                #[doc = concat!("`screen::", stringify!($folder), "`.")]
                $name,
            )*
        }

        impl Screen {
            /// In the order of their keys.
            pub const ALL: &'static [Screen] = &[Screen::$first, $(Screen::$name),*];

            /// Title in the header.
            pub const fn title(self) -> &'static str {
                match self {
                    Screen::$first => stringify!($first),
                    $(Screen::$name => stringify!($name)),*
                }
            }
        }

        /// The state of each screen.
        #[derive(Debug, Default)]
        pub struct Screens {
            /// That of the first screen.
            pub $first_folder: crate::screen::$first_folder::model::State,
            $(
                #[doc = concat!("That of `screen::", stringify!($folder), "`.")]
                pub $folder: crate::screen::$folder::model::State,
            )*
        }
    };
}
with_screens!(define);

impl Screen {
    /// Its number, from 1.
    pub fn number(self) -> usize {
        Screen::ALL.iter().position(|&screen| screen == self).unwrap_or(0) + 1
    }

    /// Whether it has a list with a filter.
    pub const fn has_filter(self) -> bool {
        matches!(self, Screen::Topics | Screen::Log)
    }
}
