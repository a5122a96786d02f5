//! One file for all processes of one computer (SQLite in WAL mode, `synchronous=FULL`).
//!
//! A thread writes, one reads, and one reads the past, which can take long; all have a connection of
//! their own, and one more is for short reads, which take less time than the way to the thread. Other
//! processes learn of a commit by a datagram, with a slow poll behind it.

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

use crate::store::sqlite::change_notify::Notices;
use crate::store::sqlite::inline_reader::{Near, Tried};
use crate::store::sqlite::worker::Worker;
use crate::store::{
    Answer, Change, LeaseId, Outcome, Page, Range, Revision, Store, StoreError, Txn, Watch, check_key,
};

/// Batches of changes that wait for one watcher; each has up to [`limits::STORE_PAGE_BYTES`] and the
/// rest of a revision.
const WATCH_QUEUE: usize = 4;

/// The store of one computer. Dropping it ends its threads, after what was asked of them.
pub struct SqliteStore {
    writer: Worker,
    reader: Worker,
    past: Worker,
    near: Near,
    path: PathBuf,
    /// The newest revision that this process knows of.
    newest: watch::Receiver<Revision>,
    _notices: Notices,
}

impl SqliteStore {
    /// The store in this directory, made if there is none. Any number of processes may have it open.
    /// Where it cannot be opened, what is asked of it fails with the reason, until it can be.
    pub fn open(directory: &Path) -> SqliteStore {
        let path = directory.join("roverline.db");
        let (tell, newest) = watch::channel(Revision(0));
        let reader = Worker::start("store-reader", path.clone(), |_, _| {});
        let past = Worker::start("store-past", path.clone(), |_, _| {});
        let notices = Notices::listen(directory, &reader, tell.clone());
        let bell = notices.bell();
        let writer = Worker::start("store-writer", path.clone(), move |revision, ours| {
            tell.send_if_modified(|known| {
                let newer = revision > *known;
                *known = revision.max(*known);
                newer
            });
            // Also where our own listener was quicker to see it: the others were not told yet.
            if ours {
                bell.ring();
            }
        });
        SqliteStore { writer, reader, past, near: Near::default(), path, newest, _notices: notices }
    }
}

impl SqliteStore {
    /// Has the connection for short reads opened.
    fn bring_near(&self) {
        let (reader, near, path) = (self.reader.clone(), self.near.clone(), self.path.clone());
        tokio::spawn(async move {
            let open = move |db: &mut db::Db| {
                // What cannot be written is opened anew for each use.
                if !db.frozen {
                    near.open(&path);
                }
                Ok(())
            };
            // Without it the thread reads.
            let _ = reader.ask(open).await;
        });
    }
}

impl Store for SqliteStore {
    fn txn(&self, txn: Txn) -> Answer<'_, Outcome> {
        async move {
            txn.check()?;
            self.writer.ask(move |db| db.txn(&txn)).await
        }
        .boxed()
    }

    fn range(&self, range: Range) -> Answer<'_, Page> {
        async move {
            // Whoever reads on and on leaves room for others.
            tokio::task::consume_budget().await;
            let tried = self.near.range(&range);
            if let Tried::Read(page) = tried {
                return Ok(page);
            }
            // However long the past takes, the present does not wait for it.
            let reader = if range.at.is_some() { &self.past } else { &self.reader };
            let read = reader.ask(move |db| db.range(&range)).await;
            if let Tried::Unopened = tried {
                self.bring_near();
            }
            read
        }
        .boxed()
    }

    fn watch(&self, prefix: String, from: Revision) -> Answer<'_, Watch> {
        async move {
            if !prefix.is_empty() {
                check_key(&prefix)?;
            }
            let (tell, changes) = mpsc::channel(WATCH_QUEUE);
            let follow = follow(self.reader.clone(), self.newest.clone(), prefix, from, tell);
            tokio::spawn(follow);
            Ok(Watch { changes })
        }
        .boxed()
    }

    fn grant(&self, ttl: Duration) -> Answer<'_, LeaseId> {
        async move {
            let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
            if !(limits::LEASE_MIN_MS..=limits::LEASE_MAX_MS).contains(&ttl_ms) {
                return Err(StoreError::Ttl);
            }
            self.writer.ask(move |db| db.grant(ttl_ms)).await
        }
        .boxed()
    }

    fn keep_alive(&self, lease: LeaseId) -> Answer<'_, ()> {
        self.writer.ask(move |db| db.keep_alive(lease)).boxed()
    }

    fn revoke(&self, lease: LeaseId) -> Answer<'_, ()> {
        self.writer.ask(move |db| db.revoke(lease)).boxed()
    }

    fn compact(&self, before: Revision) -> Answer<'_, ()> {
        async move {
            // Others have their turn in between.
            while self.writer.ask(move |db| db.compact(before)).await? {}
            Ok(())
        }
        .boxed()
    }
}

/// Tells one watcher what changes, until it is gone or has fallen too far behind.
async fn follow(
    reader: Worker,
    mut newest: watch::Receiver<Revision>,
    prefix: String,
    mut from: Revision,
    tell: mpsc::Sender<Result<Vec<Change>, StoreError>>,
) {
    loop {
        let (asked, begin) = (prefix.clone(), from);
        let read = reader.ask(move |db| db.changes(&asked, begin)).await;
        let (told, done) = match read {
            // What cannot be read now can be read later: nothing is skipped.
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
        let empty = told.as_ref().is_ok_and(Vec::is_empty);
        if (!empty && tell.send(told).await.is_err()) || done {
            return;
        }
        tokio::select! {
            () = tell.closed() => return,
            more = newest.wait_for(|newest| *newest >= from) => if more.is_err() {
                return;
            },
        }
    }
}
