//! The log of a process: daily rolling files in the state directory, written by a background thread. Installs the
//! recorder of traces as well, because both receive what `tracing` reports.

mod counts;
mod fields;
mod filter;
pub mod levels;
mod line;
mod repeat_filter;
mod repeats;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use roverline_protocol::printable::{printable_json, printable_lines};
use roverline_source::clock::monotonic;
use rustix::fs::Mode;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tracing::{Level, Metadata};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_appender::rolling::{Builder, Rotation};
use tracing_subscriber::filter::{FilterExt, LevelFilter, Targets, filter_fn};
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::{Filter, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use crate::config::{LogFormat, Settings};
pub use crate::log::counts::LineCounts;
pub use crate::log::filter::{FilterError, LogFilter};
use crate::log::levels::{LevelChange, LevelError, Levels};
use crate::log::line::{LineFormat, OwnDispatch, process_aggregate};
use crate::log::repeat_filter::RepeatFilter;
use crate::trace;
use crate::trace::ring::SpanRing;

/// Lines queued for the log's writer; more are dropped and counted.
const LOG_LINES: usize = 16_384;
/// Daily log files kept per process.
const LOG_FILES: usize = 7;
/// Requests to change the level that wait for the process.
const LEVEL_REQUESTS: usize = 4;
/// Libraries that write what they send and receive, tokens included, at the levels below `info`.
const NETWORK_LIBRARIES: [&str; 6] =
    ["hyper", "hyper_util", "h2", "tungstenite", "tokio_tungstenite", "rustls"];
/// How often ended repeats are reported, and ended changes of the level put back.
const UPKEEP: Duration = Duration::from_secs(1);

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

/// A request to change the level in all processes of the gateway. The reply is the processes that were told.
pub(crate) struct LevelRequest {
    pub(crate) change: LevelChange,
    pub(crate) reply: oneshot::Sender<Result<Vec<String>, LevelError>>,
}

/// The log of this process: its levels, and what became of its lines.
pub struct ProcessLog {
    /// The levels.
    pub levels: Levels,
    /// What became of lines.
    pub counts: Arc<LineCounts>,
    dropped: Option<ErrorCounter>,
    repeats: Option<Arc<RepeatFilter>>,
    requests: mpsc::Sender<LevelRequest>,
    inbox: Mutex<Option<mpsc::Receiver<LevelRequest>>>,
}

impl Default for ProcessLog {
    /// A process without a log.
    fn default() -> ProcessLog {
        ProcessLog::new(Levels::new(LogFilter::default(), None), Arc::default())
    }
}

impl ProcessLog {
    fn new(levels: Levels, counts: Arc<LineCounts>) -> ProcessLog {
        let (requests, inbox) = mpsc::channel(LEVEL_REQUESTS);
        ProcessLog { levels, counts, dropped: None, repeats: None, requests, inbox: Mutex::new(Some(inbox)) }
    }

    /// Lines that were dropped because the disk was too slow.
    pub fn dropped(&self) -> u64 {
        self.dropped.as_ref().map_or(0, |counter| counter.dropped_lines() as u64)
    }

    /// Changes the level in all processes of the gateway; the processes that were told.
    pub async fn change_everywhere(&self, change: LevelChange) -> Result<Vec<String>, LevelError> {
        if !self.levels.has_log() {
            return Err(LevelError::NoLog);
        }
        let (reply, answer) = oneshot::channel();
        let request = LevelRequest { change, reply };
        self.requests.send(request).await.map_err(|_| LevelError::Stopping)?;
        answer.await.map_err(|_| LevelError::Stopping)?
    }

    /// The requests of [`ProcessLog::change_everywhere`], for the one task that serves them.
    pub(crate) fn take_inbox(&self) -> Option<mpsc::Receiver<LevelRequest>> {
        self.inbox.lock().take()
    }

    /// Reports repeats and puts changed levels back when their time has come, forever.
    pub async fn run(&self) {
        let mut tick = tokio::time::interval(UPKEEP);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let now = monotonic();
            self.levels.end_change(now);
            if let Some(repeats) = &self.repeats {
                repeats.flush(now);
            }
        }
    }
}

/// Starts this process's log, and the recording of traces into `spans`; also returns the guard that flushes the log on
/// drop. If the log directory is not writable, prints a message to standard error and continues without a log: the
/// gateway should still serve.
pub fn start(
    settings: &Settings,
    process: &str,
    spans: Option<&Arc<SpanRing>>,
) -> (Arc<ProcessLog>, Option<WorkerGuard>) {
    let (lines, guard) = log_lines(settings, process).unzip();
    let dispatch = OwnDispatch::default();
    let (layer, log) = match lines {
        Some(lines) => {
            let (layer, log) = lines_layer(settings, process, lines, spans.is_some(), dispatch.clone());
            (Some(layer), log)
        }
        None => (None, ProcessLog::default()),
    };
    let traces = spans.map(|spans| trace::layer(spans.clone()));
    // Without this filter it would ask for every line of every level.
    let dispatch = dispatch.with_filter(LevelFilter::OFF);
    if let Err(error) = tracing_subscriber::registry().with(layer).with(traces).with(dispatch).try_init() {
        eprintln!("roverline-gateway: no log: {error}");
    }
    std::panic::set_hook(Box::new(|panic| {
        // A panic ends only its task, so the process keeps running and the log must show the panic.
        tracing::error!(event_type = "process.panic", "panic: {panic}");
        // Standard error may be gone with the terminal, and a panic here would end the process.
        let _ = writeln!(std::io::stderr(), "roverline-gateway: {panic}");
    }));
    (Arc::new(log), guard)
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

/// The layer that writes log lines, and what controls it. `traced`: lines show the request that they belong to.
fn lines_layer(
    settings: &Settings,
    process: &str,
    lines: NonBlocking,
    traced: bool,
    dispatch: OwnDispatch,
) -> (Box<dyn Layer<Registry> + Send + Sync>, ProcessLog) {
    let configured = settings.log.level.parse().unwrap_or_else(|error: FilterError| {
        eprintln!(
            "roverline-gateway: log level '{}' is not understood ({error}): using info",
            settings.log.level
        );
        LogFilter::default()
    });
    let (filter, handle) = reload::Layer::<Targets, Registry>::new(configured.targets(traced));
    let apply = Box::new(move |filter: &LogFilter| {
        // It fails if the subscriber is gone, and the log with it.
        let _ = handle.reload(filter.targets(traced));
    });
    let counts = Arc::<LineCounts>::default();
    let (format, process) = (settings.log.format, process_aggregate(process));
    let line = LineFormat { format, process, dispatch, counts: counts.clone() };
    let repeats = Arc::new(RepeatFilter::new(line.clone(), lines.clone(), counts.clone()));
    let seldom: Arc<dyn Filter<Registry> + Send + Sync> = repeats.clone();
    let log = ProcessLog {
        dropped: Some(lines.error_counter()),
        repeats: Some(repeats),
        ..ProcessLog::new(Levels::new(configured, Some(apply)), counts)
    };
    let filter =
        filter.and(filter_fn(is_free_of_secrets).with_max_level_hint(LevelFilter::TRACE)).and(seldom);
    let layer = tracing_subscriber::fmt::layer().with_writer(lines).with_ansi(false);
    let layer = match format {
        LogFormat::Text => layer.event_format(line).with_filter(filter).boxed(),
        LogFormat::Json => layer.event_format(line).fmt_fields(JsonFields::new()).with_filter(filter).boxed(),
    };
    (layer, log)
}
