//! Loads themes: two are built in, others are user files.

use std::path::{Path, PathBuf};

use crate::theme::{Theme, ThemeError, parse};

/// Most user themes loaded.
const MAX_USER_THEMES: usize = 64;
/// Most bytes of a theme file.
const MAX_FILE_BYTES: u64 = 64 << 10;

const BUILT_IN: [(&str, &str); 2] = [
    ("roverline-dark.toml", include_str!("../../../themes/roverline-dark.toml")),
    ("roverline-light.toml", include_str!("../../../themes/roverline-light.toml")),
];

/// All readable themes, built-in ones first, and errors of the others.
#[derive(Clone, Debug, Default)]
pub struct Themes {
    /// Never empty if made by [`load`].
    pub themes: Vec<Theme>,
    /// File of each theme, in the same order; `None` is built in.
    pub origins: Vec<Option<PathBuf>>,
    /// Errors of files that could not be used.
    pub errors: Vec<String>,
}

impl Themes {
    /// Index of the theme with this name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.themes.iter().position(|theme| theme.name == name)
    }

    fn add(&mut self, theme: Result<Theme, ThemeError>, origin: Option<PathBuf>) {
        match theme {
            // A user theme replaces a built-in one of the same name.
            Ok(theme) => match self.find(&theme.name) {
                Some(at) => (self.themes[at], self.origins[at]) = (theme, origin),
                None => {
                    self.themes.push(theme);
                    self.origins.push(origin);
                }
            },
            Err(error) => self.errors.push(error.to_string()),
        }
    }
}

/// The built-in themes and those in `dir`.
pub fn load(dir: Option<&Path>) -> Themes {
    let mut found = Themes::default();
    for (file, text) in BUILT_IN {
        found.add(parse(text, file), None);
    }
    for path in dir.map(files).unwrap_or_default() {
        match read(&path) {
            Ok(text) => found.add(parse(&text, &path.display().to_string()), Some(path)),
            Err(error) => found.errors.push(format!("{}: {error}", path.display())),
        }
    }
    found
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "toml"))
        .take(MAX_USER_THEMES)
        .collect();
    paths.sort();
    paths
}

fn read(path: &Path) -> std::io::Result<String> {
    if std::fs::metadata(path)?.len() > MAX_FILE_BYTES {
        return Err(std::io::Error::other("larger than 64 KiB: not a theme"));
    }
    std::fs::read_to_string(path)
}

#[cfg(test)]
mod tests {
    use ratatui::style::Color;

    use super::*;

    /// WCAG 2.2, relative luminance and contrast ratio.
    fn contrast(a: Color, b: Color) -> f64 {
        let luminance = |color: Color| {
            let Color::Rgb(r, g, b) = color else { panic!("{color:?} has no luminance") };
            let linear = |c: u8| {
                let c = f64::from(c) / 255.0;
                if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
            };
            0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b)
        };
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn built_in_themes_can_be_read_in_both_senses() {
        let mut found = load(None);
        assert_eq!((found.themes.len(), found.errors.len()), (2, 0), "{:?}", found.errors);
        for theme in &mut found.themes {
            let name = theme.name.clone();
            let (fg, bg) = (theme.screen.fg.unwrap(), theme.screen.bg.unwrap());
            for (role, style) in theme.roles_mut() {
                let ratio = contrast(style.fg.unwrap_or(fg), style.bg.unwrap_or(bg));
                // 4.5 is AA for text; borders and placeholders may be fainter, not invisible.
                let floor = if role == "faint" { 3.0 } else { 4.5 };
                assert!(ratio >= floor, "{name}: {role} has a contrast of {ratio:.2}");
            }
        }
    }

    #[test]
    fn a_users_theme_joins_and_a_broken_one_is_reported() {
        let dir = std::env::temp_dir().join(format!("roverline-themes-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("a.toml"), BUILT_IN[0].1.replace("roverline-dark", "mine")).unwrap();
        std::fs::write(dir.join("b.toml"), "name = 3").unwrap();
        let found = load(Some(&dir));
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(found.find("mine"), Some(2));
        assert!(found.errors[0].contains("b.toml:1: key 'name'"), "{:?}", found.errors);
    }
}
