//! Applies the changes of other processes to the cache, and confirms how current it is.
//!
//! A silent watch may have nothing to report or may hang. So the store is asked periodically for the
//! revision of the last write ([`crate::kv::ORDER`]): once the watch has reported that revision, all writes
//! before the request have been applied.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::MissedTickBehavior;

use crate::kv::cache::table::Table;
use crate::kv::cache::{StoreError, boot_ns};
use crate::kv::{Kv, WATCHED, record};
use crate::store::list_watch::{self, List};
use crate::store::{Change, Watch};

/// Runs until the cache is dropped.
pub(super) async fn run(kv: Kv, table: Arc<Mutex<Table>>, confirm: Duration) {
    loop {
        let why = match list_watch::start(&*kv.store, WATCHED, List::Revision).await {
            Ok((now, watch)) => {
                table.lock().restart(now.revision);
                tokio::select! {
                    why = apply_changes(watch, &table) => why,
                    why = probe_loop(&kv, &table, confirm) => why,
                }
            }
            Err(why) => why,
        };
        tracing::debug!(%why, "watch lost; shared values are read from the store until it is restored");
        table.lock().on_watch_lost();
        tokio::time::sleep(confirm).await;
    }
}

async fn apply_changes(mut watch: Watch, table: &Mutex<Table>) -> StoreError {
    let ended = list_watch::each_change(&mut watch, |changes| {
        if let Some(upto) = changes.last().map(Change::revision) {
            let changes: Vec<_> = changes.iter().filter_map(record::change).collect();
            table.lock().apply(&changes, upto);
        }
        ControlFlow::Continue(())
    });
    ended.await.err().unwrap_or_else(|| StoreError::Unavailable("the watch was closed".to_owned()))
}

async fn probe_loop(kv: &Kv, table: &Mutex<Table>, every: Duration) -> StoreError {
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let probed_ns = boot_ns();
        match kv.order().await {
            Ok((written, _)) => table.lock().probe(written, probed_ns),
            // The next attempt may succeed; meanwhile the cached values age.
            Err(why) => tracing::debug!(%why, "it is not known whether shared values are current"),
        }
    }
}
