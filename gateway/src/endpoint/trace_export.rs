//! The export of spans to a collector by OTLP (http/protobuf). It has a thread and a runtime of its own, so that
//! neither clients nor telemetry wait for a collector, its name or its certificate. One request is under way at a time.

mod collector;
mod export_log;
mod headers;
mod outcome;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use roverline_protocol::backoff::{Backoff, Jitter};
use roverline_source::clock::{monotonic, unix_ns};
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::config::TraceSettings;
use crate::endpoint::trace_export::collector::Collector;
pub use crate::endpoint::trace_export::collector::CollectorError;
use crate::endpoint::trace_export::export_log::ExportLog;
pub use crate::endpoint::trace_export::headers::HeadersError;
use crate::endpoint::trace_export::outcome::Outcome;
use crate::limits;
use crate::trace::export_queue::{BATCH_SPANS, ExportQueue, ExportResult};
use crate::trace::otlp::{ExportBatch, ExportResource};

/// Spans wait at most this long before they are sent, unless a collector fails.
const EXPORT_INTERVAL_MS: u64 = 1_000;
/// Attempts to send a batch.
const EXPORT_ATTEMPTS: u32 = 8;
/// The first wait between two attempts; it doubles.
const EXPORT_BACKOFF_FIRST_MS: u64 = 1_000;
/// The longest wait between two attempts.
const EXPORT_BACKOFF_LAST_MS: u64 = 30_000;
/// The longest `Retry-After` that is kept.
const RETRY_AFTER_MAX_MS: u64 = 60_000;
/// How long a stopping process waits for the last spans to be sent. It is a part of [`limits::STOP_MS`].
const EXPORT_FLUSH_MS: u64 = limits::STOP_MS / 4;

/// Checks the files that the settings name: an error is a key and a message.
pub fn check(settings: &TraceSettings) -> Result<(), CollectorError> {
    settings.otlp.as_deref().map_or(Ok(()), |otlp| Collector::new(otlp, settings)?.check())
}

/// A running export.
#[derive(Debug)]
pub struct TraceExport {
    stop: CancellationToken,
    stopped: oneshot::Receiver<()>,
}

impl TraceExport {
    /// Starts the export of what waits in `queue`, if the settings name a collector.
    pub fn start(
        settings: &TraceSettings,
        queue: Option<Arc<ExportQueue>>,
        resource: ExportResource,
    ) -> Option<TraceExport> {
        let (otlp, queue) = (settings.otlp.as_deref()?, queue?);
        let started = Collector::new(otlp, settings)
            .map_err(io::Error::other)
            .and_then(|collector| TraceExport::spawn(Exporter::new(collector, queue, resource)));
        started.inspect_err(|error| tracing::error!(%error, "traces are not exported")).ok()
    }

    fn spawn(mut exporter: Exporter) -> io::Result<TraceExport> {
        // A name that is not resolved in time holds its thread; the next attempt waits for it.
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build()?;
        let (stopped_sender, stopped) = oneshot::channel();
        let stop = exporter.stop.clone();
        std::thread::Builder::new().name("trace export".to_owned()).spawn(move || {
            runtime.block_on(exporter.run());
            // A name that is being resolved does not delay the end.
            runtime.shutdown_background();
            // An error means that nobody waits for the end.
            let _ = stopped_sender.send(());
        })?;
        Ok(TraceExport { stop, stopped })
    }

    /// Sends what waits, within a bounded time, and ends.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = tokio::time::timeout(Duration::from_millis(EXPORT_FLUSH_MS), self.stopped).await;
    }
}

/// The loop of the export's thread.
struct Exporter {
    collector: Collector,
    queue: Arc<ExportQueue>,
    resource: ExportResource,
    backoff: Backoff,
    jitter: Jitter,
    log: ExportLog,
    stop: CancellationToken,
}

impl Exporter {
    fn new(collector: Collector, queue: Arc<ExportQueue>, resource: ExportResource) -> Exporter {
        Exporter {
            log: ExportLog::new(collector.address()),
            collector,
            queue,
            resource,
            backoff: Backoff::new(
                Duration::from_millis(EXPORT_BACKOFF_FIRST_MS),
                Duration::from_millis(EXPORT_BACKOFF_LAST_MS),
            ),
            jitter: Jitter::new(unix_ns() as u64),
            stop: CancellationToken::new(),
        }
    }

    /// Runs until it is stopped, and then sends what waits.
    async fn run(&mut self) {
        let mut tick = tokio::time::interval(Duration::from_millis(EXPORT_INTERVAL_MS));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_last = self.stop.is_cancelled();
            self.export_waiting().await;
            if is_last {
                return;
            }
            tokio::select! {
                _ = tick.tick() => {}
                () = self.queue.batch_ready() => {}
                () = self.stop.cancelled() => {}
            }
        }
    }

    /// Sends what waits. What comes meanwhile waits for the next time, unless it fills a batch or there is none.
    async fn export_waiting(&mut self) {
        while let Some(batch) = self.queue.next_batch(&self.resource, monotonic(), self.stop.is_cancelled()) {
            let delivered = self.deliver(&batch).await;
            let is_last = self.stop.is_cancelled();
            if (!is_last && self.queue.usage().spans < BATCH_SPANS) || (is_last && !delivered) {
                return;
            }
        }
    }

    /// Sends a batch, several times if need be, and counts what became of its spans. Returns whether the collector
    /// answered for good.
    async fn deliver(&mut self, batch: &ExportBatch) -> bool {
        for attempt in 1..=EXPORT_ATTEMPTS {
            let outcome = self.collector.post(batch.body.clone()).await;
            self.log.note(outcome.failure(), monotonic());
            let after = match outcome {
                Outcome::Accepted { rejected } => {
                    let rejected = rejected.min(batch.spans);
                    self.queue.count(ExportResult::Accepted, batch.spans - rejected);
                    return self.answered(ExportResult::Rejected, rejected);
                }
                Outcome::Unconfirmed(_) => return self.answered(ExportResult::Unconfirmed, batch.spans),
                Outcome::Refused(_) => return self.answered(ExportResult::Refused, batch.spans),
                Outcome::Retry { after, .. } => after,
            };
            self.queue.count_failure();
            let wait = self.retry_delay(after);
            if attempt == EXPORT_ATTEMPTS || self.stop.is_cancelled() {
                break;
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                // A last attempt, unless the collector asked for time.
                () = self.stop.cancelled() => if after.is_some() { break },
            }
        }
        self.queue.count(ExportResult::Expired, batch.spans);
        false
    }

    fn answered(&mut self, result: ExportResult, spans: u64) -> bool {
        self.backoff.reset();
        self.queue.count(result, spans);
        true
    }

    /// How long to wait before the next attempt; `after` is what the collector asks for.
    fn retry_delay(&mut self, after: Option<Duration>) -> Duration {
        let backoff = self.backoff.fail(self.jitter.unit());
        after.map_or(backoff, |after| after.min(Duration::from_millis(RETRY_AFTER_MAX_MS)))
    }
}
