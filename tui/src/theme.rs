//! Style roles: a view names the role, a theme defines its style.

mod depth;
mod file;
mod load;

use crate::model::quality::Quality;
use ratatui::style::{Modifier, Style};

pub use crate::theme::depth::{ColorDepth, indexed};
pub use crate::theme::file::{ThemeError, parse};
pub use crate::theme::load::{Themes, load};

/// A theme.
#[derive(Clone, Debug, PartialEq)]
pub struct Theme {
    /// Its name for `--theme`.
    pub name: String,
    /// Normal text, and the background.
    pub screen: Style,
    /// Headings and important values.
    pub strong: Style,
    /// Labels and units.
    pub dim: Style,
    /// Borders; values never received.
    pub faint: Style,
    /// The current screen, keys.
    pub accent: Style,
    /// The cursor's row.
    pub selected: Style,
    /// Quality: fresh.
    pub fresh: Style,
    /// Quality: ageing.
    pub ageing: Style,
    /// Quality: stale; also the value itself.
    pub stale: Style,
    /// Quality: invalid.
    pub invalid: Style,
    /// Abnormal.
    pub caution: Style,
    /// Dangerous.
    pub alarm: Style,
    /// Dangerous, as an area: the engaged stop.
    pub alarm_fill: Style,
    /// What is not now, from edge to edge.
    pub replay: Style,
}

impl Theme {
    /// Style of a quality's glyph and word.
    pub fn quality(&self, quality: Quality) -> Style {
        match quality {
            Quality::Never => self.faint,
            Quality::Fresh => self.fresh,
            Quality::Ageing => self.ageing,
            Quality::Stale => self.stale,
            Quality::Invalid => self.invalid,
        }
    }

    /// All roles, for checks and conversions.
    pub fn roles_mut(&mut self) -> [(&'static str, &mut Style); 14] {
        [
            ("screen", &mut self.screen),
            ("strong", &mut self.strong),
            ("dim", &mut self.dim),
            ("faint", &mut self.faint),
            ("accent", &mut self.accent),
            ("selected", &mut self.selected),
            ("fresh", &mut self.fresh),
            ("ageing", &mut self.ageing),
            ("stale", &mut self.stale),
            ("invalid", &mut self.invalid),
            ("caution", &mut self.caution),
            ("alarm", &mut self.alarm),
            ("alarm_fill", &mut self.alarm_fill),
            ("replay", &mut self.replay),
        ]
    }

    /// The theme of what is not now: everything on the background of `replay`.
    #[must_use]
    pub fn rewound(&self) -> Theme {
        let screen = Style { bg: self.replay.bg.or(self.screen.bg), ..self.screen };
        Theme { screen, ..self.clone() }
    }

    /// The theme without colours (`NO_COLOR`): weight and reverse replace colour.
    #[must_use]
    pub fn monochrome(mut self) -> Theme {
        for (role, style) in self.roles_mut() {
            let modifier = match role {
                "strong" | "caution" | "accent" => Modifier::BOLD,
                "faint" | "stale" => Modifier::DIM,
                "selected" | "replay" => Modifier::REVERSED,
                "alarm" | "invalid" => Modifier::BOLD.union(Modifier::UNDERLINED),
                "alarm_fill" => Modifier::BOLD.union(Modifier::REVERSED),
                _ => Modifier::empty(),
            };
            *style = Style::new().add_modifier(modifier);
        }
        self
    }
}

/// Glyph of a quality; it is always beside the word or the age.
pub const fn quality_glyph(quality: Quality) -> &'static str {
    match quality {
        Quality::Never => "·",
        Quality::Fresh => "●",
        Quality::Ageing => "◐",
        Quality::Stale => "○",
        Quality::Invalid => "✗",
    }
}
