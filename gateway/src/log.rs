//! Logging setup: daily rolling files in the state directory, written by a background thread. Installs the recorder of
//! traces as well, because both receive what `tracing` reports.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use roverline_protocol::printable::{printable_json, printable_lines};
use roverline_protocol::trace::TARGET;
use rustix::fs::Mode;
use tracing::{Level, Metadata};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_appender::rolling::{Builder, Rotation};
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{LogFormat, LogSettings, Settings};
use crate::trace;
use crate::trace::ring::SpanRing;

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

/// Starts this process's log, and the recording of traces into `spans`; returns the guard that flushes the log on drop.
/// If the log directory is not writable, prints a message to standard error and continues without a log: the gateway
/// should still serve.
pub fn start(settings: &Settings, process: &str, spans: Option<&Arc<SpanRing>>) -> Option<WorkerGuard> {
    let (lines, guard) = log_lines(settings, process).unzip();
    let log = lines.map(|lines| lines_layer(&settings.log, lines, spans.is_some()));
    let traces = spans.map(|spans| trace::layer(spans.clone()));
    if let Err(error) = tracing_subscriber::registry().with(log).with(traces).try_init() {
        eprintln!("roverline-gateway: no log: {error}");
    }
    std::panic::set_hook(Box::new(|panic| {
        // A panic ends only its task, so the process keeps running and the log must show the panic.
        tracing::error!("panic: {panic}");
        // Standard error may be gone with the terminal, and a panic here would end the process.
        let _ = writeln!(std::io::stderr(), "roverline-gateway: {panic}");
    }));
    guard
}

/// Opens the log's file and starts its thread.
fn log_lines(settings: &Settings, process: &str) -> Option<(NonBlocking, WorkerGuard)> {
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
    Some(NonBlockingBuilder::default().buffered_lines_limit(LOG_LINES).lossy(true).finish(log_lines))
}

/// The layer that writes log lines. `traced`: lines show the request that they belong to.
fn lines_layer<S>(log: &LogSettings, lines: NonBlocking, traced: bool) -> impl Layer<S> + Send + Sync
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    // rustdds and its dependencies log every malformed packet as a warning.
    let own = |level: &str| match traced {
        true => format!("rustdds=error,mio=warn,hyper=warn,{level}"),
        false => format!("rustdds=error,mio=warn,hyper=warn,{level},{TARGET}=off"),
    };
    let filter = EnvFilter::try_new(own(&log.level)).unwrap_or_else(|error| {
        eprintln!("roverline-gateway: log level '{}' is not understood ({error}): using info", log.level);
        EnvFilter::new(own("info"))
    });
    let layer = tracing_subscriber::fmt::layer().with_writer(lines).with_ansi(false);
    let filter = filter.and(filter_fn(is_free_of_secrets));
    match log.format {
        LogFormat::Text => layer.with_filter(filter).boxed(),
        LogFormat::Json => layer.json().with_filter(filter).boxed(),
    }
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
