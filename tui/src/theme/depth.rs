//! Colour depth of the terminal.

use ratatui::style::Color;

use crate::theme::Theme;

/// How many colours a terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColorDepth {
    /// No colours.
    None,
    /// The 256 colours of xterm.
    Indexed,
    /// True colour.
    True,
}

impl ColorDepth {
    /// From the environment: `NO_COLOR` (when not empty), `COLORTERM`, `TERM`.
    pub fn detect(var: impl Fn(&str) -> Option<String>) -> ColorDepth {
        let set = |name: &str| var(name).filter(|value| !value.is_empty());
        if set("NO_COLOR").is_some() || set("TERM").as_deref() == Some("dumb") {
            return ColorDepth::None;
        }
        match set("COLORTERM").as_deref() {
            Some("truecolor" | "24bit") => ColorDepth::True,
            _ => ColorDepth::Indexed,
        }
    }

    /// The theme in the terminal's colour depth.
    #[must_use]
    pub fn adapt(self, mut theme: Theme) -> Theme {
        match self {
            ColorDepth::True => theme,
            ColorDepth::None => theme.monochrome(),
            ColorDepth::Indexed => {
                for (_, style) in theme.roles_mut() {
                    style.fg = style.fg.map(indexed);
                    style.bg = style.bg.map(indexed);
                }
                theme
            }
        }
    }
}

/// The nearest colour of xterm's 6×6×6 cube and its 24 greys.
pub fn indexed(color: Color) -> Color {
    let Color::Rgb(r, g, b) = color else { return color };
    let level = |c: u8| match c {
        0..48 => 0,
        48..115 => 1,
        _ => (c - 35) / 40,
    };
    let value = |level: u8| if level == 0 { 0 } else { 55 + 40 * level };
    let cube = [level(r), level(g), level(b)];
    let mean = (u16::from(r) + u16::from(g) + u16::from(b)) / 3;
    let step = (mean.saturating_sub(3) / 10).min(23) as u8;
    let grey = 8 + 10 * step;
    let distance = |to: [u8; 3]| -> u32 {
        [r, g, b].iter().zip(to).map(|(&a, b)| u32::from(a.abs_diff(b)).pow(2)).sum()
    };
    if distance([grey; 3]) < distance(cube.map(value)) {
        Color::Indexed(232 + step)
    } else {
        Color::Indexed(16 + 36 * cube[0] + 6 * cube[1] + cube[2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_colour() {
        assert_eq!(indexed(Color::Rgb(0, 0, 0)), Color::Indexed(16));
        assert_eq!(indexed(Color::Rgb(255, 255, 255)), Color::Indexed(231));
        assert_eq!(indexed(Color::Rgb(255, 135, 0)), Color::Indexed(208));
        assert_eq!(indexed(Color::Rgb(0x16, 0x18, 0x1a)), Color::Indexed(234));
    }

    #[test]
    fn depth_follows_the_environment() {
        let detect = |pairs: &[(&str, &str)]| {
            ColorDepth::detect(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
        };
        assert_eq!(detect(&[("NO_COLOR", "1"), ("COLORTERM", "truecolor")]), ColorDepth::None);
        assert_eq!(detect(&[("NO_COLOR", ""), ("COLORTERM", "truecolor")]), ColorDepth::True);
        assert_eq!(detect(&[("TERM", "xterm")]), ColorDepth::Indexed);
    }
}
