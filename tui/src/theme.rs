//! Roles of style, so that a view says what a thing is and a theme says how that looks.

mod depth;
mod file;
mod load;

use ratatui::style::{Modifier, Style};
use roverline_protocol::quality::Quality;

pub use crate::theme::depth::ColorDepth;
pub use crate::theme::file::{ThemeError, parse};
pub use crate::theme::load::{Themes, load};

/// How everything looks.
#[derive(Clone, Debug, PartialEq)]
pub struct Theme {
    /// What it is called by `--theme`.
    pub name: String,
    /// Everything that is normal, and the background.
    pub screen: Style,
    /// Headings, the value one looks for.
    pub strong: Style,
    /// Labels and units.
    pub dim: Style,
    /// Borders; what was never received.
    pub faint: Style,
    /// The screen one is on, keys.
    pub accent: Style,
    /// The line one is on.
    pub selected: Style,
    /// Quality: as young as it should be.
    pub fresh: Style,
    /// Quality: late.
    pub ageing: Style,
    /// Quality: too old to act on; also the value itself.
    pub stale: Style,
    /// Quality: cannot be used.
    pub invalid: Style,
    /// Abnormal.
    pub caution: Style,
    /// Dangerous.
    pub alarm: Style,
    /// Dangerous, as an area: the engaged stop.
    pub alarm_fill: Style,
}

impl Theme {
    /// The style of a quality's glyph and word.
    pub fn quality(&self, quality: Quality) -> Style {
        match quality {
            Quality::Never => self.faint,
            Quality::Fresh => self.fresh,
            Quality::Ageing => self.ageing,
            Quality::Stale => self.stale,
            Quality::Invalid => self.invalid,
        }
    }

    /// Every role, for checks and conversions.
    pub fn roles_mut(&mut self) -> [(&'static str, &mut Style); 13] {
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
        ]
    }

    /// The theme without colours (`NO_COLOR`): weight and reverse carry what colour did.
    #[must_use]
    pub fn monochrome(mut self) -> Theme {
        for (role, style) in self.roles_mut() {
            let modifier = match role {
                "strong" | "caution" | "accent" => Modifier::BOLD,
                "faint" | "stale" => Modifier::DIM,
                "selected" => Modifier::REVERSED,
                "alarm" | "invalid" => Modifier::BOLD.union(Modifier::UNDERLINED),
                "alarm_fill" => Modifier::BOLD.union(Modifier::REVERSED),
                _ => Modifier::empty(),
            };
            *style = Style::new().add_modifier(modifier);
        }
        self
    }
}

/// The glyph of a quality; it always stands beside the word or the age.
pub const fn quality_glyph(quality: Quality) -> &'static str {
    match quality {
        Quality::Never => "·",
        Quality::Fresh => "●",
        Quality::Ageing => "◐",
        Quality::Stale => "○",
        Quality::Invalid => "✗",
    }
}
