//! The session driver: the event loop that all dialects share.
//!
//! It reads the client's messages, ticks, monitors the client, counts malformed messages, and closes the
//! session when the endpoint stops or the drain window ends. A dialect implements [`DialectSession`].

use std::sync::atomic::Ordering;
use std::time::Duration;

use roverline_protocol::backoff::Jitter;
use roverline_protocol::limits;
use roverline_protocol::native::CLOSE_DRAIN;
use roverline_source::clock::{monotonic, unix_ns};
use tokio::time::{Interval, MissedTickBehavior};
use tungstenite::protocol::Message;

use crate::access::Role;
use crate::connection::close_reason::CloseReason;
use crate::connection::dialect::Dialect;
use crate::connection::reader::MessageReader;
use crate::dialect::session::SessionContext;
use crate::dialect::session::keepalive::{ServiceReport, SessionMonitor};
use crate::endpoint::Endpoint;
use crate::endpoint::large_messages::{
    LARGE_MESSAGE_BYTES, LargeMessagePermit, OBSERVER_MESSAGE_KEYS, has_too_many_keys,
};

/// One session in a dialect: what the driver calls.
pub(crate) trait DialectSession: Send {
    /// The dialect's report to the client about a malformed message.
    type Malformed: Send;

    /// The session's ticks.
    fn ticks() -> Interval {
        let mut ticks = tokio::time::interval(Duration::from_millis(limits::HEARTBEAT_MS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        ticks
    }

    /// When the driver closes the session while the endpoint drains: a fraction of the drain window, from 0
    /// (its start) to 1 (its end). `random` is uniform, so that clients without a drain message do not all
    /// reconnect at once.
    fn drain_fraction(random: f64) -> f64 {
        random
    }

    /// Handles one message of the client.
    fn on_message(
        &mut self,
        message: &Message,
    ) -> impl Future<Output = Result<(), MessageError<Self::Malformed>>> + Send;

    /// Reports a malformed message to the client.
    fn report_malformed(&mut self, malformed: Self::Malformed);

    /// Reports the session's service level to the client.
    fn report_service(&mut self, report: ServiceReport);

    /// Periodic work at `now` (monotonic).
    fn on_tick(&mut self, _now: Duration) {}

    /// Periodic reports at `now` (monotonic); skipped while the session is paused because the client is silent.
    fn on_active_tick(&mut self, now: Duration);

    /// Waits for the next change that concerns the client and reports it. An error ends the session. Must be
    /// cancel-safe: the driver drops the future whenever something else happens first.
    fn next_change(&mut self) -> impl Future<Output = Result<(), CloseReason>> + Send;
}

/// Why a message was not handled.
#[derive(Debug)]
pub(crate) enum MessageError<M> {
    /// It is reported to the client and counted; too many of these end the session.
    Malformed(M),
    /// The client speaks another dialect.
    OtherDialect(Dialect),
}

/// How a session ends.
pub(crate) enum End {
    /// It is closed.
    Closed(CloseReason),
    /// It continues in another dialect, with this message as its first.
    OtherDialect(Dialect, Message),
}

impl From<CloseReason> for End {
    fn from(reason: CloseReason) -> End {
        End::Closed(reason)
    }
}

/// The close reason of every session when the endpoint stops.
pub(crate) fn stopping() -> CloseReason {
    CloseReason::new(1001, "the endpoint is stopping")
}

/// Runs a session until it ends. `first` is a message that was read before.
pub(crate) async fn drive<S: DialectSession>(
    context: &SessionContext,
    reader: &mut MessageReader,
    session: S,
    first: Option<Message>,
) -> End {
    let mut driver = Driver { context, session, monitor: SessionMonitor::default(), malformed: 0 };
    if let Some(message) = first
        && let Err(end) = driver.handle(message).await
    {
        return end;
    }
    let mut ticks = S::ticks();
    let mut jitter = Jitter::new(unix_ns().unsigned_abs() ^ context.info.id);
    let mut drained = std::pin::pin!(context.endpoint.drain_deadline(S::drain_fraction(jitter.unit())));
    let stop = context.endpoint.stop_token().clone();
    loop {
        let handled = tokio::select! {
            message = reader.next() => match message {
                Ok(message) => driver.handle(message).await,
                Err(reason) => Err(reason.into()),
            },
            _ = ticks.tick() => driver.tick(monotonic()),
            change = driver.session.next_change() => change.map_err(End::Closed),
            () = &mut drained => {
                Err(CloseReason::new(CLOSE_DRAIN, "this endpoint restarts; connect again").into())
            }
            () = stop.cancelled() => Err(stopping().into()),
        };
        if let Err(end) = handled {
            return end;
        }
    }
}

/// Waits for the turn of an observer's large message.
async fn acquire_large_message<'a>(
    context: &'a SessionContext,
    message: &Message,
) -> Result<Option<LargeMessagePermit<'a>>, CloseReason> {
    if message.len() <= LARGE_MESSAGE_BYTES || context.info.identity().role >= Role::Operator {
        return Ok(None);
    }
    let endpoint = &context.endpoint;
    let permit = endpoint.large_messages.acquire().await.ok_or_else(|| too_many_large(endpoint))?;
    if message.to_text().is_ok_and(has_too_many_keys) {
        endpoint.counters.bad_input.fetch_add(1, Ordering::Relaxed);
        let why = format!("a message of an observer may have {OBSERVER_MESSAGE_KEYS} keys");
        return Err(CloseReason::new(1009, why));
    }
    Ok(Some(permit))
}

fn too_many_large(endpoint: &Endpoint) -> CloseReason {
    endpoint.counters.fairness.refused_large_messages.fetch_add(1, Ordering::Relaxed);
    let why = format!("too many messages of more than {LARGE_MESSAGE_BYTES} bytes wait: come back later");
    CloseReason::new(1013, why)
}

struct Driver<'a, S> {
    context: &'a SessionContext,
    session: S,
    monitor: SessionMonitor,
    malformed: u32,
}

impl<S: DialectSession> Driver<'_, S> {
    async fn handle(&mut self, message: Message) -> Result<(), End> {
        let _permit = acquire_large_message(self.context, &message).await?;
        let malformed = match self.session.on_message(&message).await {
            Ok(()) => return Ok(()),
            Err(MessageError::OtherDialect(dialect)) => return Err(End::OtherDialect(dialect, message)),
            Err(MessageError::Malformed(malformed)) => malformed,
        };
        self.malformed += 1;
        self.context.endpoint.counters.bad_input.fetch_add(1, Ordering::Relaxed);
        self.session.report_malformed(malformed);
        match self.malformed > limits::BAD_MESSAGES_PER_SESSION {
            true => Err(CloseReason::new(1008, "too many bad messages").into()),
            false => Ok(()),
        }
    }

    fn tick(&mut self, now: Duration) -> Result<(), End> {
        if let Some(report) = self.monitor.poll(self.context, now)? {
            self.session.report_service(report);
        }
        self.session.on_tick(now);
        if !self.context.info.outbox().is_paused() {
            self.session.on_active_tick(now);
        }
        Ok(())
    }
}
