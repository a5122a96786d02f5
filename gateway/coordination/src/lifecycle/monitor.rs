//! One process watches over all: who is not heard of any more goes offline, or has failed.

use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::lifecycle::{Input, State};
use roverline_protocol::limits;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::lifecycle::record::{MONITOR, Name, Record, check_word};
use crate::lifecycle::{Author, Lifecycle, LifecycleError};
use crate::store::{Compare, LeaseId, Op, StoreError, Txn};

/// What the silence of one comes to that was not heard of for `silent`, in which nothing else happened
/// to it.
pub(super) fn judge(record: &Record, silent: Duration) -> Option<Input> {
    let patience = Duration::from_millis(record.heartbeat_ms?);
    if silent < patience {
        return None;
    }
    match record.state {
        State::Active => Some(Input::To(State::Offline)),
        // Once per time in which it should have been heard of.
        State::Provisioning | State::Ready | State::Offline => Some(Input::Failure),
        // It need not speak before anything was done with it, while somebody works on it, or later.
        State::Discovered | State::Maintenance | State::Failed => None,
    }
}

impl Lifecycle {
    /// Watches over all for as long as no other process does, and is ready to. Never ends. It sees what
    /// [`Lifecycle::follow`] reads.
    pub async fn watch_over(&self, me: &str, now_ns: fn() -> i64) {
        let mut lease = None;
        let mut renewed = Instant::now();
        let mut tick = interval(Duration::from_millis(limits::LIFECYCLE_WATCH_MS));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            // The lease is kept well before it ends, but not each time.
            let is_fresh = renewed.elapsed() < Duration::from_millis(limits::LIFECYCLE_MONITOR_MS / 3);
            if lease.is_none() || !is_fresh {
                let asked = Instant::now();
                match self.lead(lease, me).await {
                    Ok(held) => (lease, renewed) = (held, asked),
                    // It is tried again; what is not sure meanwhile waits.
                    Err(error) => {
                        tracing::debug!(%error, "nobody can watch over lives now");
                        continue;
                    }
                }
            }
            if lease.is_some() {
                self.look(me, now_ns()).await;
            }
        }
    }

    /// The lease of the one who watches, if it is this process.
    async fn lead(&self, lease: Option<LeaseId>, me: &str) -> Result<Option<LeaseId>, LifecycleError> {
        check_word(me)?;
        if let Some(lease) = lease {
            return match self.store.keep_alive(lease).await {
                Err(StoreError::LeaseEnded) => Ok(None),
                other => Ok(other.map(|()| Some(lease))?),
            };
        }
        // Where somebody does already, the store is not asked at all.
        if self.with(|model| model.is_monitored()).unwrap_or(true) {
            return Ok(None);
        }
        let lease = self.store.grant(Duration::from_millis(limits::LIFECYCLE_MONITOR_MS)).await?;
        let value = Bytes::copy_from_slice(me.as_bytes());
        let txn = Txn {
            compares: vec![Compare::Absent(MONITOR.to_owned())],
            success: vec![Op::Put { key: MONITOR.to_owned(), value, lease: Some(lease) }],
            failure: Vec::new(),
        };
        let outcome = self.store.txn(txn).await;
        if !outcome.as_ref().is_ok_and(|outcome| outcome.succeeded) {
            // Also where it is not known: nobody keeps what nobody knows of.
            let _ = self.store.revoke(lease).await;
            outcome?;
            return Ok(None);
        }
        Ok(Some(lease))
    }

    /// Does once what is to be done about those who are silent. Each is changed only if it still is as it
    /// was seen, so that two who look do it once.
    pub(super) async fn look(&self, me: &str, now_ns: i64) {
        let now = Instant::now();
        let seen = self.with(|model| {
            let silent = model.silent().filter_map(|(name, record, heard)| {
                let input = judge(record, now.saturating_duration_since(heard))?;
                Some((name.clone(), record.clone(), input))
            });
            silent.collect::<Vec<_>>()
        });
        for (name, record, input) in seen.into_iter().flatten() {
            let patience = Duration::from_millis(record.heartbeat_ms.unwrap_or_default());
            let reason = format!("nothing was heard of it for {} s", patience.as_secs_f64());
            let author = Author { by: me, reason: &reason, manual: false, now_ns };
            if let Err(error) = self.apply_to(&name, &record, input, author).await {
                tracing::debug!(%name, %error, "its silence was not noted");
            }
        }
    }

    async fn apply_to(
        &self,
        name: &Name,
        seen: &Record,
        input: Input,
        author: Author<'_>,
    ) -> Result<(), LifecycleError> {
        let is_as_seen = |record: &Record| record == seen;
        self.step_if(name, input, author, is_as_seen).await.map(drop)
    }
}
