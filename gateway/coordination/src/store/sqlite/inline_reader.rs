//! Runs short reads inline on the caller's thread; a round trip to the worker takes several times as long as
//! such a read, and longest on a busy computer.
//!
//! One read runs at a time, and concurrent ones go to the worker. So at most one runtime thread ever waits
//! for the disk here, and after a slow read all reads go to the worker for several times as long as it took.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::store::sqlite::db::{self, Db};
use crate::store::sqlite::lease::boot_ms;
use crate::store::{Page, Range};

/// Larger pages go to the worker: their values may be long.
const MAX_ENTRIES: usize = 4;
/// Pages with more bytes also go to the worker, because copying them would delay other tasks.
const MAX_BYTES: u64 = 64 << 10;
/// A longer read has waited for the disk, or for a busy processor.
const SLOW: Duration = Duration::from_millis(2);
/// Inline reads pause for this many times the duration of a slow read.
const PAUSE_FACTOR: u32 = 10;
/// Pause after a failure.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A connection shared by all callers.
#[derive(Clone, Default)]
pub(super) struct InlineReader(Arc<Inner>);

#[derive(Default)]
struct Inner {
    db: Mutex<Option<Db>>,
    /// No inline read and no opening before this time, in milliseconds since boot.
    paused_until_ms: AtomicI64,
}

/// The result of an attempt to read inline.
pub(super) enum InlineRead {
    Read(Page),
    /// The worker has to read; there is no connection yet, and one should be opened.
    Unopened,
    /// The worker has to read.
    Fallback,
}

impl InlineReader {
    pub(super) fn range(&self, range: &Range) -> InlineRead {
        // Reads of history cost more.
        if range.limit > MAX_ENTRIES || range.at.is_some() || self.is_paused() {
            return InlineRead::Fallback;
        }
        let Some(mut db) = self.0.db.try_lock() else { return InlineRead::Fallback };
        let Some(open) = db.as_mut() else {
            // The first caller opens the connection.
            self.pause(RETRY_PAUSE);
            return InlineRead::Unopened;
        };
        let started = Instant::now();
        let read =
            open.is_within(range, MAX_BYTES).and_then(|short| short.then(|| open.range(range)).transpose());
        let took = started.elapsed();
        if took > SLOW {
            self.pause(took.saturating_mul(PAUSE_FACTOR));
        }
        match read {
            Ok(Some(page)) => InlineRead::Read(page),
            Ok(None) => InlineRead::Fallback,
            Err(_) => {
                // The worker reports the error.
                *db = None;
                self.pause(RETRY_PAUSE);
                InlineRead::Fallback
            }
        }
    }

    /// Opens the connection; blocks on the disk.
    pub(super) fn open(&self, path: &Path) {
        let Ok(open) = db::open(path) else { return };
        // A read that would have to wait for another process goes to the worker.
        if open.connection.busy_timeout(Duration::ZERO).is_err() {
            return;
        }
        let mut db = self.0.db.lock();
        *db = Some(open);
        self.0.paused_until_ms.store(0, Ordering::Release);
    }

    fn is_paused(&self) -> bool {
        boot_ms() < self.0.paused_until_ms.load(Ordering::Acquire)
    }

    fn pause(&self, time: Duration) {
        let ms = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        self.0.paused_until_ms.store(boot_ms().saturating_add(ms), Ordering::Release);
    }
}
