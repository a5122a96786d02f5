//! How the console looks, and what it begins with.

use clap::Args;

use crate::model::Screen;

/// Appearance of the console.
#[derive(Clone, Debug, Args)]
pub struct AppearanceArgs {
    /// Name of a theme; `roverline themes` lists them
    #[arg(long, env = "ROVERLINE_THEME", value_name = "NAME")]
    pub theme: Option<String>,
    /// Screen to begin with, by name or number: drive, map, links, team, topics, log, ...
    #[arg(long, value_name = "NAME", value_parser = parse_screen)]
    pub screen: Option<Screen>,
    /// Filter of that screen: topics or log
    #[arg(long, value_name = "TEXT", requires = "screen")]
    pub filter: Option<String>,
}

impl AppearanceArgs {
    /// What is not given here is taken from what stood before the command.
    pub(super) fn or(self, before: AppearanceArgs) -> AppearanceArgs {
        AppearanceArgs {
            theme: self.theme.or(before.theme),
            screen: self.screen.or(before.screen),
            filter: self.filter.or(before.filter),
        }
    }
}

fn parse_screen(text: &str) -> Result<Screen, String> {
    let named =
        |screen: &&Screen| screen.title().eq_ignore_ascii_case(text) || screen.number().to_string() == text;
    Screen::ALL.iter().find(named).copied().ok_or_else(|| {
        let names: Vec<String> = Screen::ALL.iter().map(|screen| screen.title().to_lowercase()).collect();
        format!("there is no such screen; there are {}", names.join(", "))
    })
}
