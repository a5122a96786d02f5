//! Keeps the source running: opens it again after a failure, and beside the running one to rejoin the graph,
//! so that nothing is missed in between.

use std::convert::Infallible;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use roverline_protocol::Tier;
use roverline_protocol::backoff::{Backoff, Jitter};
use roverline_protocol::printable::printable_lines;
use roverline_source::{Sink, SourceControl, SourceError, SourceState, StopFlag};
use tokio::sync::oneshot;

use crate::config::Settings;
use crate::process::run_sink::RunSink;
use crate::process::source::open;
use crate::process::source_control::{RunEvent, SourceControlHandle};

/// How long both runs read the graph when a source rejoins. The new run discovers it meanwhile.
const OVERLAP_MS: u64 = 2_000;
/// How long a run that is being replaced may send what it has accepted.
const FLUSH_MS: u64 = 600;
/// How long a replaced run may take to end.
const END_MS: u64 = 500;
/// Interval at which the thread checks for a stop.
const STOP_INTERVAL: Duration = Duration::from_millis(50);
/// Events that wait for the thread.
const EVENTS: usize = 4;

/// The thread that keeps the source running.
pub struct SourceHandle {
    /// Set to stop the source.
    pub stop: StopFlag,
    /// Closed when the thread has ended.
    ended: oneshot::Receiver<Infallible>,
}

impl SourceHandle {
    /// Stops the source and waits until it has left the graph, at most `timeout`.
    pub async fn shutdown(self, timeout: Duration) {
        self.stop.set();
        let _ = tokio::time::timeout(timeout, self.ended).await;
    }
}

/// Starts the thread and publishes the source's control through `control`. A live source that fails is recreated
/// with backoff, and `stagger` later than a single one would be. `tier` is the process's own.
pub fn start(
    settings: Settings,
    tier: Tier,
    supervised: bool,
    sink: &Arc<dyn Sink>,
    control: Arc<SourceControlHandle>,
    stagger: Duration,
) -> SourceHandle {
    let (running, ended) = oneshot::channel();
    let stop = StopFlag::default();
    let spawned = std::thread::Builder::new().name("source".to_owned()).spawn({
        let (sink, stop) = (sink.clone(), stop.clone());
        move || {
            // Dropped when the thread ends, however it ends.
            let _running = running;
            let (sender, events) = sync_channel(EVENTS);
            let runs = Runs { settings, tier, supervised, sink, stop, control, sender, events, next: 0 };
            runs.keep_running(stagger);
        }
    });
    if let Err(error) = spawned {
        sink.state(SourceState::Failed(format!("no thread for the source: {error}")));
    }
    SourceHandle { stop, ended }
}

struct Runs {
    settings: Settings,
    tier: Tier,
    supervised: bool,
    sink: Arc<dyn Sink>,
    stop: StopFlag,
    control: Arc<SourceControlHandle>,
    sender: SyncSender<RunEvent>,
    events: Receiver<RunEvent>,
    next: u64,
}

/// One run of the source, on a thread of its own.
struct Run {
    number: u64,
    stop: StopFlag,
    control: Arc<dyn SourceControl>,
    sink: Arc<RunSink>,
}

impl Runs {
    fn keep_running(mut self, stagger: Duration) {
        let kind = self.settings.gateway.source;
        let _span = tracing::info_span!("source", kind = kind.name()).entered();
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
        let mut jitter = Jitter::new(u64::from(std::process::id()));
        loop {
            let result = self.open_run(false).and_then(|run| self.follow(run));
            self.control.set_events(None);
            self.control.set(None);
            if let Err(SourceError(why)) = result {
                // Standard error may be gone with the supervisor or its terminal.
                let _ = writeln!(std::io::stderr(), "roverline-gateway: source: {}", printable_lines(&why));
                self.sink.state(SourceState::Failed(why));
            }
            if !kind.reopens() || self.stop.wait(backoff.fail(jitter.unit()) + stagger) {
                return;
            }
        }
    }

    /// Opens the source and starts a run of it.
    fn open_run(&mut self, joins: bool) -> Result<Run, SourceError> {
        let source = open(&self.settings, self.tier, self.supervised)?;
        let sink = RunSink::new(self.sink.clone(), joins);
        let run = Run { number: self.next, stop: StopFlag::default(), control: source.control(), sink };
        self.next += 1;
        let (number, stop) = (run.number, run.stop.clone());
        let (sink, sender, span) = (run.sink.clone(), self.sender.clone(), tracing::Span::current());
        std::thread::Builder::new()
            .name("source-run".to_owned())
            .spawn(move || {
                let run = AssertUnwindSafe(|| span.in_scope(|| source.run(sink, stop)));
                let panicked = |_| Err(SourceError("the source panicked; the log has the reason".to_owned()));
                let result = catch_unwind(run).unwrap_or_else(panicked);
                // Without a receiver the process is ending.
                let _ = sender.send(RunEvent::Ended(number, result));
            })
            .map_err(|error| SourceError(format!("no thread for the source: {error}")))?;
        Ok(run)
    }

    /// Opens the source beside the present run.
    fn join_beside(&mut self, run: &Run) -> Result<Run, SourceError> {
        // First, so that nothing of the new run counts twice.
        self.sink.rejoined();
        let next = self.open_run(true)?;
        run.sink.leave();
        Ok(next)
    }

    /// Follows a run, and those that take its place, to the end.
    fn follow(&mut self, mut run: Run) -> Result<(), SourceError> {
        self.control.set(Some(run.control.clone()));
        if self.settings.gateway.source.joins_anew() {
            self.control.set_events(Some(self.sender.clone()));
        }
        loop {
            match self.next_event(&run) {
                RunEvent::Ended(number, result) if number == run.number => return result,
                // An earlier run, which has been told to end.
                RunEvent::Ended(..) => {}
                RunEvent::Rejoin => match self.join_beside(&run) {
                    Ok(next) => run = self.take_over(run, next),
                    Err(error) => tracing::warn!("the source does not join anew: {error}"),
                },
            }
        }
    }

    /// The next event; the run is told to stop when the source is.
    fn next_event(&self, run: &Run) -> RunEvent {
        loop {
            if self.stop.is_set() {
                run.stop.set();
            }
            match self.events.recv_timeout(STOP_INTERVAL) {
                Ok(event) => return event,
                Err(RecvTimeoutError::Timeout) => {}
                // Not possible: this has a sender itself.
                Err(RecvTimeoutError::Disconnected) => return RunEvent::Ended(run.number, Ok(())),
            }
        }
    }

    /// Lets a new run discover the graph beside the old one, and ends the old one. Publications move first, and what
    /// waits in the old run is still sent; services move when the old run has ended, so that no request is served
    /// twice. If the new run ends early, the old one goes on.
    fn take_over(&self, old: Run, new: Run) -> Run {
        if self.has_ended(&new, Duration::from_millis(OVERLAP_MS)) {
            tracing::warn!("the source joined anew and ended: the run before goes on");
            old.sink.stay();
            return old;
        }
        self.control.redirect(new.control.clone());
        old.sink.hand_over(&new.sink);
        let ended = self.has_ended(&new, Duration::from_millis(FLUSH_MS));
        old.stop.set();
        if !ended && !self.has_ended(&old, Duration::from_millis(END_MS)) {
            tracing::warn!("the run before does not end");
        }
        self.control.set(Some(new.control.clone()));
        new
    }

    /// Waits until a run has ended, at most for this long, or until the source is to stop.
    fn has_ended(&self, run: &Run, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        loop {
            let left = until.saturating_duration_since(Instant::now()).min(STOP_INTERVAL);
            match self.events.recv_timeout(left) {
                Ok(RunEvent::Ended(number, result)) if number == run.number => {
                    // The caller that follows the run reads it again.
                    let _ = self.sender.try_send(RunEvent::Ended(number, result));
                    return true;
                }
                _ if Instant::now() >= until || self.stop.is_set() => return false,
                _ => {}
            }
        }
    }
}
