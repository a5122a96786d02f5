//! The log: files in the state directory, rolling daily, written by a thread of their own.

use roverline_protocol::limits;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_appender::rolling::{Builder, Rotation};
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Settings};

/// Starts the log of this process; it is flushed when the guard is dropped. Without a directory to
/// write to there is a word on standard error and no log: that is no reason not to serve.
pub fn start(settings: &Settings, process: &str) -> Option<WorkerGuard> {
    let dir = settings.state_dir().join("log");
    // The appender complains on standard error about a directory that it then makes itself.
    if let Err(error) = std::fs::create_dir_all(&dir) {
        eprintln!("roverline-gateway: no log: cannot make {}: {error}", dir.display());
        return None;
    }
    let appender = Builder::new()
        .rotation(Rotation::DAILY)
        .filename_prefix(process)
        .filename_suffix("log")
        .max_log_files(limits::LOG_FILES)
        .build(&dir);
    let appender = match appender {
        Ok(appender) => appender,
        Err(error) => {
            eprintln!("roverline-gateway: no log: cannot write to {}: {error}", dir.display());
            return None;
        }
    };
    let (writer, guard) =
        NonBlockingBuilder::default().buffered_lines_limit(limits::LOG_LINES).lossy(true).finish(appender);
    // rustdds and what is below it report every packet they do not like.
    let level = &settings.log.level;
    let filter =
        EnvFilter::try_new(format!("rustdds=error,mio=warn,hyper=warn,{level}")).unwrap_or_else(|error| {
            eprintln!("roverline-gateway: log level '{level}' is not understood ({error}): using info");
            EnvFilter::new("rustdds=error,info")
        });
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(false);
    let set = match settings.log.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    if let Err(error) = set {
        eprintln!("roverline-gateway: no log: {error}");
    }
    std::panic::set_hook(Box::new(|panic| {
        // A panic ends its task; the process goes on. It must be found in the log.
        tracing::error!("panic: {panic}");
        eprintln!("roverline-gateway: {panic}");
    }));
    Some(guard)
}
