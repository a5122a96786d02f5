//! User directories (XDG Base Directory Specification), and the log.

use std::io::Write;
use std::path::{Path, PathBuf};

use roverline_protocol::printable::printable_lines;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_appender::rolling::{Builder, Rotation};
use tracing_subscriber::EnvFilter;

use crate::picture::{PictureKind, PictureSetup};
use crate::theme::ColorDepth;

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

/// How the terminal shows pictures, and the pixels of its cells as far as it reports them.
pub fn pictures() -> PictureSetup {
    let kind = PictureKind::detect(|name| std::env::var(name).ok());
    let size = crossterm::terminal::window_size().ok();
    let cell = size.filter(|size| size.width > 0 && size.columns > 0 && size.rows > 0);
    let cell = cell.map(|size| (size.width / size.columns, size.height / size.rows));
    let cell = cell.filter(|(width, height)| *width > 0 && *height > 0);
    let is_indexed = ColorDepth::detect(|name| std::env::var(name).ok()) == ColorDepth::Indexed;
    PictureSetup { kind, cell: cell.unwrap_or(PictureSetup::default().cell), is_indexed }
}

/// The file of the composer's commands.
fn commands_file() -> Option<PathBuf> {
    Some(dir("XDG_STATE_HOME", ".local/state")?.join("commands.json"))
}

/// The composer's commands of earlier days; empty if there are none, or more than so many bytes.
pub fn read_commands(most: usize) -> String {
    let Some(file) = commands_file().and_then(|path| std::fs::File::open(path).ok()) else {
        return String::new();
    };
    let mut text = String::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    match std::io::Read::read_to_string(&mut std::io::Read::take(file, limit), &mut text) {
        Ok(_) => text,
        Err(_) => String::new(),
    }
}

/// Writes the composer's commands for the next time: at once, or not at all.
pub fn write_commands(text: &str) -> std::io::Result<()> {
    let Some(path) = commands_file() else { return Ok(()) };
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let new = path.with_extension(format!("json.{}", std::process::id()));
    std::fs::write(&new, text)?;
    std::fs::rename(&new, &path)
}

/// Why there is no log. The console runs without one.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The environment names no directory for it.
    #[error("no log: neither XDG_STATE_HOME nor HOME is set")]
    NoDirectory,
    /// The directory cannot be used, or the level is unknown.
    #[error("no log in {}: {source}", dir.display())]
    Unusable {
        /// The directory of logs.
        dir: PathBuf,
        /// The reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A log file with control characters escaped, safe to show in a terminal.
struct PrintableLines<W>(W);

impl<W: Write> Write for PrintableLines<W> {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.write_all(printable_lines(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// Logs to a file, never to the screen. Dropping the guard writes the remaining lines.
pub fn start_log(level: Option<&str>) -> Result<WorkerGuard, LogError> {
    let dir = log_dir().ok_or(LogError::NoDirectory)?;
    log_in(&dir, level).map_err(|source| LogError::Unusable { dir, source })
}

fn log_in(dir: &Path, level: Option<&str>) -> Result<WorkerGuard, Box<dyn std::error::Error + Send + Sync>> {
    std::fs::create_dir_all(dir)?;
    let appender = Builder::new()
        .rotation(Rotation::DAILY)
        .filename_prefix("roverline")
        .filename_suffix("log")
        .max_log_files(LOG_FILES)
        .build(dir)?;
    let (writer, guard) = tracing_appender::non_blocking(PrintableLines(appender));
    let filter = EnvFilter::try_new(level.unwrap_or("info"))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(writer).try_init()?;
    Ok(guard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_steers_no_terminal() {
        let mut log = PrintableLines(Vec::new());
        log.write_all("client \u{1b}[2Jann\u{202e}\n".as_bytes()).unwrap();
        assert_eq!(log.0, "client ·[2Jann·\n".as_bytes());
    }
}
