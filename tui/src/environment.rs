//! User directories (XDG Base Directory Specification), and the log.

use std::path::PathBuf;

use tracing_appender::non_blocking::WorkerGuard;
use tracing_appender::rolling::{Builder, Rotation};
use tracing_subscriber::EnvFilter;

/// Days of logs that are kept.
const LOG_FILES: usize = 7;

/// `$name/roverline`, else `~/fallback/roverline`. The specification says to ignore relative paths.
fn dir(name: &str, fallback: &str) -> Option<PathBuf> {
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let set = std::env::var_os(name).map(PathBuf::from).and_then(absolute);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(fallback)).and_then(absolute);
    Some(set.or_else(home)?.join("roverline"))
}

/// Directory of user themes.
pub fn themes_dir() -> Option<PathBuf> {
    Some(dir("XDG_CONFIG_HOME", ".config")?.join("themes"))
}

/// Directory of logs.
pub fn log_dir() -> Option<PathBuf> {
    dir("XDG_STATE_HOME", ".local/state")
}

/// Logs to a file, never to the screen. Dropping the guard writes the remaining lines. A directory
/// that cannot be written does not prevent the console: the error is returned as a sentence.
pub fn start_log(level: Option<&str>) -> Result<WorkerGuard, String> {
    let dir = log_dir().ok_or("no log: neither XDG_STATE_HOME nor HOME is set")?;
    let cannot = |why: String| format!("no log in {}: {why}", dir.display());
    std::fs::create_dir_all(&dir).map_err(|error| cannot(error.to_string()))?;
    let appender = Builder::new()
        .rotation(Rotation::DAILY)
        .filename_prefix("roverline")
        .filename_suffix("log")
        .max_log_files(LOG_FILES)
        .build(&dir)
        .map_err(|error| cannot(error.to_string()))?;
    let (writer, guard) = tracing_appender::non_blocking(appender);
    let filter = EnvFilter::try_new(level.unwrap_or("info")).map_err(|error| cannot(error.to_string()))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(writer)
        .try_init()
        .map_err(|error| cannot(error.to_string()))?;
    Ok(guard)
}
