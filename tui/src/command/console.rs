//! `roverline`: the console.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use roverline_client::Config;

use crate::cli::AppearanceArgs;
use crate::command::Failure;
use crate::command::coordination::client;
use crate::environment::themes_dir;
use crate::runtime;
use crate::theme::{self, ColorDepth, Theme};

/// Checks that the console can run: a terminal, the requested theme, and a screen that has the filter.
pub fn check(wanted: &AppearanceArgs) -> Result<(Vec<Theme>, usize), Failure> {
    let found = theme::load(themes_dir().as_deref());
    for error in &found.errors {
        tracing::warn!("theme: {error}");
    }
    if let Some(screen) = wanted.screen.filter(|screen| wanted.filter.is_some() && !screen.has_filter()) {
        let text = format!("the screen {} has no filter; topics and log have one", screen.title());
        return Err(Failure::Usage(text));
    }
    let index = match wanted.theme.as_deref() {
        Some(name) => found.find(name).ok_or_else(|| no_such_theme(name, &found))?,
        None => found.find(default_theme()).unwrap_or(0),
    };
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Err(Failure::Usage(
            "the console needs a terminal; without one use 'roverline status' or 'roverline demo --headless'"
                .to_owned(),
        ));
    }
    let depth = ColorDepth::detect(|name| std::env::var(name).ok());
    Ok((found.themes.into_iter().map(|theme| depth.adapt(theme)).collect(), index))
}

/// Runs the console until the operator quits.
pub async fn run(config: Config, wanted: &AppearanceArgs) -> Result<ExitCode, Failure> {
    let (themes, index) = check(wanted)?;
    // Locks are taken under the same name as by the commands that print.
    let client = client(std::env::var("ROVERLINE_CLIENT").ok());
    let first = wanted.screen.map(|screen| (screen, wanted.filter.clone().unwrap_or_default()));
    runtime::run(config.named(&client), &themes, index, first).await?;
    Ok(ExitCode::SUCCESS)
}

/// A broken file is probably the requested theme, so its error is shown.
fn no_such_theme(name: &str, found: &theme::Themes) -> Failure {
    let names: Vec<&str> = found.themes.iter().map(|theme| theme.name.as_str()).collect();
    let mut text = format!("there is no theme '{name}'; there are {}", names.join(", "));
    for error in &found.errors {
        text.push_str("\n  ");
        text.push_str(error);
    }
    Failure::Usage(text)
}

/// Some terminals report their colours (`COLORFGBG`, foreground;background): 7 and 15 are light.
fn default_theme() -> &'static str {
    let background = std::env::var("COLORFGBG").ok();
    match background.as_deref().and_then(|value| value.rsplit(';').next()) {
        Some("7" | "15") => "roverline-light",
        _ => "roverline-dark",
    }
}
