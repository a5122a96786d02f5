//! Takes in what others change, and finds out how current that is.
//!
//! A watch that is silent may have nothing to say or may hang. So the store is asked now and then
//! when anything was written last ([`crate::kv::ORDER`]): as soon as that has been told by the
//! watch, everything that was written before the question has been taken in.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::kv::cache::table::Table;
use crate::kv::cache::{StoreError, boot_ns, lock};
use crate::kv::{Kv, WATCHED, record};
use crate::store::{Change, Watch};

/// For as long as there is a cache.
pub(super) async fn follow(kv: Kv, table: Arc<Mutex<Table>>, confirm: Duration) {
    loop {
        let why = match begin(&kv, &table).await {
            Ok(watch) => tokio::select! {
                why = listen(watch, &table) => why,
                why = ask(&kv, &table, confirm) => why,
            },
            Err(why) => why,
        };
        tracing::debug!(%why, "shared values are read from the store until their changes are told again");
        lock(&table).lost();
        tokio::time::sleep(confirm).await;
    }
}

/// Whatever changes after this is told.
async fn begin(kv: &Kv, table: &Mutex<Table>) -> Result<Watch, StoreError> {
    let (_, newest) = kv.order().await?;
    let watch = kv.store.watch(WATCHED.to_owned(), newest.next()).await?;
    lock(table).restart(newest);
    Ok(watch)
}

async fn listen(mut watch: Watch, table: &Mutex<Table>) -> StoreError {
    loop {
        match watch.next().await {
            None => return StoreError::Unavailable("it was closed".to_owned()),
            Some(Err(why)) => return why,
            Some(Ok(changes)) => {
                let Some(upto) = changes.last().map(Change::revision) else { continue };
                let changes: Vec<_> = changes.iter().filter_map(record::change).collect();
                lock(table).apply(&changes, upto);
            }
        }
    }
}

async fn ask(kv: &Kv, table: &Mutex<Table>, every: Duration) -> StoreError {
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let asked_ns = boot_ns();
        match kv.order().await {
            Ok((written, _)) => lock(table).probe(written, asked_ns),
            // It may answer the next time; what is held grows too old by itself.
            Err(why) => tracing::debug!(%why, "it is not known whether shared values are current"),
        }
    }
}
