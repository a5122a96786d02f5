//! Theme files, with errors that name file and line.

use ratatui::style::{Color, Modifier, Style};
use serde::Deserialize;
use serde::de::Error as _;

use crate::theme::Theme;

/// A theme file that cannot be used: file, line and reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThemeError {
    file: String,
    line: usize,
    key: Option<String>,
    why: String,
}

impl std::fmt::Display for ThemeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if let Some(key) = &self.key {
            write!(f, "key '{key}': ")?;
        }
        f.write_str(&self.why)
    }
}

impl std::error::Error for ThemeError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    style: Roles,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Roles {
    screen: StyleSpec,
    strong: StyleSpec,
    dim: StyleSpec,
    faint: StyleSpec,
    accent: StyleSpec,
    selected: StyleSpec,
    fresh: StyleSpec,
    ageing: StyleSpec,
    stale: StyleSpec,
    invalid: StyleSpec,
    caution: StyleSpec,
    alarm: StyleSpec,
    alarm_fill: StyleSpec,
    /// Themes that are older than it do without.
    #[serde(default)]
    replay: StyleSpec,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct StyleSpec {
    fg: Option<Paint>,
    bg: Option<Paint>,
    bold: bool,
    italic: bool,
    underline: bool,
    reverse: bool,
}

#[derive(Clone, Copy)]
struct Paint(Color);

impl<'de> Deserialize<'de> for Paint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        color(&text).map(Paint).ok_or_else(|| {
            D::Error::custom(format!("'{text}' is not a colour; write \"#rrggbb\" or \"default\""))
        })
    }
}

fn color(text: &str) -> Option<Color> {
    if text == "default" {
        return Some(Color::Reset);
    }
    let hex = text.strip_prefix('#').filter(|hex| hex.len() == 6 && hex.is_ascii())?;
    let part = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    Some(Color::Rgb(part(0)?, part(2)?, part(4)?))
}

impl StyleSpec {
    fn style(&self) -> Style {
        let flags = [
            (self.bold, Modifier::BOLD),
            (self.italic, Modifier::ITALIC),
            (self.underline, Modifier::UNDERLINED),
            (self.reverse, Modifier::REVERSED),
        ];
        let modifier = flags.iter().filter(|(on, _)| *on).fold(Modifier::empty(), |all, (_, m)| all | *m);
        let mut style = Style::new().add_modifier(modifier);
        style.fg = self.fg.map(|paint| paint.0);
        style.bg = self.bg.map(|paint| paint.0);
        style
    }
}

/// Parses a theme; `file` is for the error.
pub fn parse(text: &str, file: &str) -> Result<Theme, ThemeError> {
    let File { name, style } = toml::from_str::<File>(text).map_err(|error| locate(&error, text, file))?;
    Ok(Theme {
        name,
        screen: style.screen.style(),
        strong: style.strong.style(),
        dim: style.dim.style(),
        faint: style.faint.style(),
        accent: style.accent.style(),
        selected: style.selected.style(),
        fresh: style.fresh.style(),
        ageing: style.ageing.style(),
        stale: style.stale.style(),
        invalid: style.invalid.style(),
        caution: style.caution.style(),
        alarm: style.alarm.style(),
        alarm_fill: style.alarm_fill.style(),
        replay: style.replay.style(),
    })
}

/// Reads the key from the line: the parser only knows byte offsets.
fn locate(error: &toml::de::Error, text: &str, file: &str) -> ThemeError {
    let at = error.span().map_or(0, |span| span.start);
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count();
    let source = text.lines().nth(line).unwrap_or("");
    let key =
        source.split_once('=').map(|(key, _)| key.trim().to_owned()).filter(|key| !key.starts_with('#'));
    ThemeError {
        file: file.to_owned(),
        line: line + 1,
        key,
        why: error.message().lines().collect::<Vec<_>>().join("; "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DARK: &str = include_str!("../../../themes/roverline-dark.toml");

    #[test]
    fn a_wrong_file_says_where() {
        for (from, to, line, expect) in [
            ("\"#6cb6e8\"", "\"#6cb6e\"", 13, "key 'accent': '#6cb6e' is not a colour"),
            ("italic = true", "italics = true", 17, "key 'stale': unknown field `italics`"),
            ("alarm_fill", "alarm_fall", 21, "alarm_fall"),
            ("ageing = {", "aging = {", 16, "key 'aging': unknown field `aging`"),
            ("bold = true", "bold = 1", 10, "key 'strong'"),
        ] {
            let text = DARK.replacen(from, to, 1);
            let error = parse(&text, "mine.toml").unwrap_err().to_string();
            assert!(error.starts_with(&format!("mine.toml:{line}: ")), "{error}");
            assert!(error.contains(expect), "{error}");
        }
    }

    #[test]
    fn a_missing_role_is_named() {
        let text = DARK.lines().filter(|l| !l.starts_with("dim")).collect::<Vec<_>>().join("\n");
        assert!(parse(&text, "x").unwrap_err().to_string().contains("dim"));
    }

    #[test]
    fn colours() {
        assert_eq!(color("#0a0B0c"), Some(Color::Rgb(10, 11, 12)));
        assert_eq!(color("default"), Some(Color::Reset));
        for bad in ["", "#", "red", "#12345", "#1234567", "#ää2", "#12345g"] {
            assert_eq!(color(bad), None, "{bad}");
        }
    }
}
