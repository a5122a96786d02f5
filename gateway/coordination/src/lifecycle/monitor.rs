//! The lifecycle monitor: one process moves entities without heartbeats to `Offline` or `Failed`.

use std::time::Duration;

use roverline_protocol::lifecycle::{LifecycleInput, State};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::lifecycle::record::{EntityId, MONITOR_KEY, Record, check_name};
use crate::lifecycle::{Author, Lifecycle, LifecycleError};
use crate::limits;
use crate::store::election::try_acquire;
use crate::store::{LeaseId, StoreError};

/// Lease of the monitoring process, after which it is replaced.
const LIFECYCLE_MONITOR_MS: u64 = 5_000;

/// The input for an entity that sent no heartbeat for `silent`, during which nothing else happened to
/// it.
pub(super) fn assess(record: &Record, silent: Duration) -> Option<LifecycleInput> {
    let timeout = Duration::from_millis(record.heartbeat_ms?);
    if silent < timeout {
        return None;
    }
    match record.state {
        State::Active => Some(LifecycleInput::To(State::Offline)),
        // Once per heartbeat timeout.
        State::Provisioning | State::Ready | State::Offline => Some(LifecycleInput::Failure),
        // No heartbeats are expected before provisioning, during maintenance, or after a failure.
        State::Discovered | State::Maintenance | State::Failed => None,
    }
}

impl Lifecycle {
    /// Runs the monitor whenever no other process does. Never ends. It uses the model that
    /// [`Lifecycle::run_replica`] maintains.
    pub async fn run_monitor(&self, me: &str, now_ns: fn() -> i64) {
        let mut lease = None;
        let mut renewed = Instant::now();
        let mut tick = interval(Duration::from_millis(limits::LIFECYCLE_WATCH_MS));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            // The lease is renewed well before it ends, but not at every tick.
            let is_fresh = renewed.elapsed() < Duration::from_millis(LIFECYCLE_MONITOR_MS / 3);
            if lease.is_none() || !is_fresh {
                let started = Instant::now();
                match self.hold_monitor_lease(lease, me).await {
                    Ok(held) => (lease, renewed) = (held, started),
                    // Retried at the next tick; meanwhile nothing is assessed.
                    Err(error) => {
                        tracing::debug!(%error, "no lifecycle monitor can be elected now");
                        continue;
                    }
                }
            }
            if lease.is_some() {
                self.check(me, now_ns()).await;
            }
        }
    }

    /// Acquires or renews the monitor lease; `None` if another process holds it.
    async fn hold_monitor_lease(
        &self,
        lease: Option<LeaseId>,
        me: &str,
    ) -> Result<Option<LeaseId>, LifecycleError> {
        check_name(me)?;
        if let Some(lease) = lease {
            return match self.store.keep_alive(lease).await {
                Err(StoreError::LeaseEnded) => Ok(None),
                other => Ok(other.map(|()| Some(lease))?),
            };
        }
        // Another process is the monitor: no store access needed.
        if self.with(|model| model.is_monitored()).unwrap_or(true) {
            return Ok(None);
        }
        let ttl = Duration::from_millis(LIFECYCLE_MONITOR_MS);
        Ok(try_acquire(&*self.store, MONITOR_KEY, me, ttl).await?)
    }

    /// Applies the inputs for all entities without heartbeats, once. Each is changed only if it is as
    /// it was read, so two concurrent monitors apply an input once.
    pub(super) async fn check(&self, me: &str, now_ns: i64) {
        let now = Instant::now();
        let inputs = self.with(|model| {
            let silent = model.without_heartbeat().filter_map(|(entity, record, received_at)| {
                let input = assess(record, now.saturating_duration_since(received_at))?;
                Some((entity.clone(), record.clone(), input))
            });
            silent.collect::<Vec<_>>()
        });
        for (entity, record, input) in inputs.into_iter().flatten() {
            let timeout = Duration::from_millis(record.heartbeat_ms.unwrap_or_default());
            let reason = format!("nothing was heard of it for {} s", timeout.as_secs_f64());
            let author = Author { by: me, client: None, reason: &reason, manual: false, now_ns };
            if let Err(error) = self.apply_to(&entity, &record, input, author).await {
                tracing::debug!(%entity, %error, "its missed heartbeat was not recorded");
            }
        }
    }

    async fn apply_to(
        &self,
        entity: &EntityId,
        seen: &Record,
        input: LifecycleInput,
        author: Author<'_>,
    ) -> Result<(), LifecycleError> {
        let is_as_seen = |record: &Record| record == seen;
        self.step_if(entity, input, author, is_as_seen).await.map(drop)
    }
}
