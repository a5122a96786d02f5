//! `roverline themes`.

use std::process::ExitCode;

use crate::command::{Failure, print};
use crate::environment::themes_dir;
use crate::theme;

/// Lists themes with their origin, and errors of files that could not be read.
pub fn run() -> Result<ExitCode, Failure> {
    let dir = themes_dir();
    let found = theme::load(dir.as_deref());
    let mut out = String::new();
    for (theme, origin) in found.themes.iter().zip(&found.origins) {
        let origin = origin.as_ref().map_or_else(|| "built in".to_owned(), |path| path.display().to_string());
        out += &format!("{:<24} {origin}\n", theme.name);
    }
    if let Some(dir) = dir {
        out += &format!("\nYour own go to {}\n", dir.display());
    }
    print::print_text(&out)?;
    for error in &found.errors {
        print::complain(error);
    }
    Ok(if found.errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
