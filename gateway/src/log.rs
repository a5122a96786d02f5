//! Logging setup: daily rolling files in the state directory, written by a background thread.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use roverline_protocol::printable::{printable_json, printable_lines};
use rustix::fs::Mode;
use tracing::{Level, Metadata};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_appender::rolling::{Builder, Rotation};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogFormat, Settings};

/// Lines queued for the log's writer; more are dropped and counted.
const LOG_LINES: usize = 16_384;
/// Daily log files kept per process.
const LOG_FILES: usize = 7;
/// Libraries that write what they send and receive, tokens included, at the levels below `info`.
const NETWORK_LIBRARIES: [&str; 6] =
    ["hyper", "hyper_util", "h2", "tungstenite", "tokio_tungstenite", "rustls"];

/// Whether a line cannot contain a secret. This holds in addition to the user's own filter.
fn is_free_of_secrets(line: &Metadata<'_>) -> bool {
    let library = line.target().split("::").next().unwrap_or_default();
    *line.level() <= Level::INFO || !NETWORK_LIBRARIES.contains(&library)
}

/// Lets only this user read the log: files that this process creates, and the directory of those before.
fn make_private(dir: &Path) {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    if let Err(error) = std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)) {
        eprintln!("roverline-gateway: others may read the log in {}: {error}", dir.display());
    }
}

/// A log file with control characters escaped, safe to show in a terminal.
struct PrintableLines<W> {
    target: W,
    format: LogFormat,
}

impl<W: Write> Write for PrintableLines<W> {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let line_text = String::from_utf8_lossy(line);
        let safe = match self.format {
            LogFormat::Text => printable_lines(&line_text),
            LogFormat::Json => printable_json(&line_text),
        };
        self.target.write_all(safe.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.target.flush()
    }
}

/// Starts this process's log and returns the guard that flushes it on drop. If the log directory is not
/// writable, prints a message to standard error and continues without a log: the gateway should still
/// serve.
pub fn start(settings: &Settings, process: &str) -> Option<WorkerGuard> {
    let dir = settings.state_dir().join("log");
    // If the directory is missing, the appender prints an error although it then creates it.
    if let Err(error) = std::fs::create_dir_all(&dir) {
        eprintln!("roverline-gateway: no log: cannot make {}: {error}", dir.display());
        return None;
    }
    make_private(&dir);
    let appender = Builder::new()
        .rotation(Rotation::DAILY)
        .filename_prefix(process)
        .filename_suffix("log")
        .max_log_files(LOG_FILES)
        .build(&dir);
    let appender = match appender {
        Ok(appender) => appender,
        Err(error) => {
            eprintln!("roverline-gateway: no log: cannot write to {}: {error}", dir.display());
            return None;
        }
    };
    let log_lines = PrintableLines { target: appender, format: settings.log.format };
    let (writer, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(LOG_LINES).lossy(true).finish(log_lines);
    // rustdds and its dependencies log every malformed packet as a warning.
    let level = &settings.log.level;
    let own = format!("rustdds=error,mio=warn,hyper=warn,{level}");
    let filter = EnvFilter::try_new(own).unwrap_or_else(|error| {
        eprintln!("roverline-gateway: log level '{level}' is not understood ({error}): using info");
        EnvFilter::new("rustdds=error,info")
    });
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(false);
    let safe = filter_fn(is_free_of_secrets);
    let set = match settings.log.format {
        LogFormat::Text => builder.finish().with(safe).try_init(),
        LogFormat::Json => builder.json().finish().with(safe).try_init(),
    };
    if let Err(error) = set {
        eprintln!("roverline-gateway: no log: {error}");
    }
    std::panic::set_hook(Box::new(|panic| {
        // A panic ends only its task, so the process keeps running and the log must show the panic.
        tracing::error!("panic: {panic}");
        // Standard error may be gone with the terminal, and a panic here would end the process.
        let _ = writeln!(std::io::stderr(), "roverline-gateway: {panic}");
    }));
    Some(guard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_steers_no_terminal() {
        let write = |format, line: &str| {
            let mut log = PrintableLines { target: Vec::new(), format };
            log.write_all(line.as_bytes()).unwrap();
            String::from_utf8(log.target).unwrap()
        };
        assert_eq!(write(LogFormat::Text, "client \u{1b}[2Jann\u{202e}\n"), "client ·[2Jann·\n");
        assert_eq!(write(LogFormat::Json, "{\"client\":\"\u{202e}\"}\n"), "{\"client\":\"\\u202e\"}\n");
    }
}
