//! `roverline themes`.

use std::io::Write as _;
use std::process::ExitCode;

use crate::command::Failure;
use crate::environment::themes_dir;
use crate::theme;

/// Lists themes with their origin, and errors of files that could not be read.
pub fn run() -> Result<ExitCode, Failure> {
    let dir = themes_dir();
    let found = theme::load(dir.as_deref());
    let mut out = std::io::stdout().lock();
    for (theme, origin) in found.themes.iter().zip(&found.origins) {
        let origin = origin.as_ref().map_or_else(|| "built in".to_owned(), |path| path.display().to_string());
        writeln!(out, "{:<24} {origin}", theme.name)?;
    }
    if let Some(dir) = dir {
        writeln!(out, "\nYour own go to {}", dir.display())?;
    }
    for error in &found.errors {
        eprintln!("roverline: {error}");
    }
    Ok(if found.errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
