//! The store in one file for all processes of one computer (SQLite in WAL mode, `synchronous=FULL`).
//!
//! Three threads with a connection each write, read, and read history, which can take long. A fourth
//! connection serves short reads inline, because they take less time than a round trip to a thread. Each
//! commit notifies the other processes by a datagram; a slow poll covers lost ones.

pub mod backup;
mod change_notify;
mod db;
mod history;
mod inline_reader;
mod lease;
mod permissions;
#[cfg(test)]
mod tests;
mod worker;
mod write_lock;
mod write_txn;

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::FutureExt;
use roverline_protocol::limits;
use tokio::sync::{mpsc, watch};

use crate::store::sqlite::change_notify::ChangeListener;
use crate::store::sqlite::inline_reader::{InlineRead, InlineReader};
use crate::store::sqlite::worker::Worker;
use crate::store::{
    Change, LeaseId, Outcome, Page, Range, Revision, Store, StoreError, StoreFuture, Txn, Watch, check_key,
    lease_ttl_ms,
};

/// Batches of changes that are buffered for one watcher; each has up to [`limits::STORE_PAGE_BYTES`] and the
/// rest of the last revision.
const WATCH_QUEUE: usize = 4;

/// The store of one computer. Dropping it ends its threads after the pending jobs.
pub struct SqliteStore {
    writer: Worker,
    reader: Worker,
    history: Worker,
    inline: InlineReader,
    path: PathBuf,
    /// The newest revision that this process knows of.
    newest: watch::Receiver<Revision>,
    _listener: ChangeListener,
}

impl SqliteStore {
    /// Opens the store in this directory and creates it if needed. Any number of processes may have it open.
    /// If it cannot be opened, operations fail with the reason until it can be.
    pub fn open(directory: &Path) -> SqliteStore {
        let path = directory.join("roverline.db");
        let (sender, newest) = watch::channel(Revision(0));
        let reader = Worker::start("store-reader", path.clone(), |_, _| {});
        let history = Worker::start("store-past", path.clone(), |_, _| {});
        let listener = ChangeListener::listen(directory, &reader, sender.clone());
        let notifier = listener.notifier();
        let writer = Worker::start("store-writer", path.clone(), move |revision, ours| {
            sender.send_if_modified(|known| {
                let newer = revision > *known;
                *known = revision.max(*known);
                newer
            });
            // Also if our own listener saw the revision first: the other processes have not been notified
            // yet.
            if ours {
                notifier.notify();
            }
        });
        SqliteStore {
            writer,
            reader,
            history,
            inline: InlineReader::default(),
            path,
            newest,
            _listener: listener,
        }
    }
}

impl SqliteStore {
    /// Opens the connection for short reads in the background.
    fn open_inline_reader(&self) {
        let (reader, inline, path) = (self.reader.clone(), self.inline.clone(), self.path.clone());
        tokio::spawn(async move {
            let open = move |db: &mut db::Db| {
                // A read-only file is opened again for each use.
                if !db.read_only {
                    inline.open(&path);
                }
                Ok(())
            };
            // Without this connection the thread does the reading.
            let _ = reader.submit(open).await;
        });
    }
}

impl Store for SqliteStore {
    fn txn(&self, txn: Txn) -> StoreFuture<'_, Outcome> {
        async move {
            txn.check()?;
            self.writer.submit(move |db| db.txn(&txn)).await
        }
        .boxed()
    }

    fn range(&self, range: Range) -> StoreFuture<'_, Page> {
        async move {
            // A task that reads in a loop yields to others.
            tokio::task::consume_budget().await;
            let attempt = self.inline.range(&range);
            if let InlineRead::Read(page) = attempt {
                return Ok(page);
            }
            // Reads of the newest state never wait for reads of history.
            let reader = if range.at.is_some() { &self.history } else { &self.reader };
            let read = reader.submit(move |db| db.range(&range)).await;
            if let InlineRead::Unopened = attempt {
                self.open_inline_reader();
            }
            read
        }
        .boxed()
    }

    fn watch(&self, prefix: String, from: Revision) -> StoreFuture<'_, Watch> {
        async move {
            if !prefix.is_empty() {
                check_key(&prefix)?;
            }
            let (sender, changes) = mpsc::channel(WATCH_QUEUE);
            let run_watch = run_watch(self.reader.clone(), self.newest.clone(), prefix, from, sender);
            tokio::spawn(run_watch);
            Ok(Watch { changes })
        }
        .boxed()
    }

    fn grant(&self, ttl: Duration) -> StoreFuture<'_, LeaseId> {
        async move {
            let ttl_ms = lease_ttl_ms(ttl)?;
            self.writer.submit(move |db| db.grant(ttl_ms)).await
        }
        .boxed()
    }

    fn keep_alive(&self, lease: LeaseId) -> StoreFuture<'_, ()> {
        self.writer.submit(move |db| db.keep_alive(lease)).boxed()
    }

    fn revoke(&self, lease: LeaseId) -> StoreFuture<'_, ()> {
        self.writer.submit(move |db| db.revoke(lease)).boxed()
    }

    fn compact(&self, before: Revision) -> StoreFuture<'_, ()> {
        async move {
            // Compacts in parts, so other writes run in between.
            while self.writer.submit(move |db| db.compact(before)).await? {}
            Ok(())
        }
        .boxed()
    }
}

/// Feeds one watcher until it is dropped or falls behind the retained history.
async fn run_watch(
    reader: Worker,
    mut newest: watch::Receiver<Revision>,
    prefix: String,
    mut from: Revision,
    sender: mpsc::Sender<Result<Vec<Change>, StoreError>>,
) {
    loop {
        let (watched, begin) = (prefix.clone(), from);
        let read = reader.submit(move |db| db.changes(&watched, begin)).await;
        let (item, done) = match read {
            // A failed read is retried later; no change is skipped.
            Err(StoreError::Unavailable(_) | StoreError::Busy) => {
                tokio::time::sleep(Duration::from_millis(limits::STORE_POLL_MS)).await;
                continue;
            }
            Err(error) => (Err(error), true),
            Ok((changes, next)) => {
                from = next;
                (Ok(changes), false)
            }
        };
        let empty = item.as_ref().is_ok_and(Vec::is_empty);
        if (!empty && sender.send(item).await.is_err()) || done {
            return;
        }
        tokio::select! {
            () = sender.closed() => return,
            more = newest.wait_for(|newest| *newest >= from) => if more.is_err() {
                return;
            },
        }
    }
}
