//! Short reads where they are asked for. The way to a thread and back takes several times as long as
//! such a read, and longest where the computer is busy.
//!
//! One reads at a time; who comes meanwhile goes to the thread. So at most one of the runtime's threads
//! ever waits for the disk here, and once one has waited, all go to the thread for several times as long.

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::{Duration, Instant};

use crate::store::sqlite::db::{self, Db};
use crate::store::sqlite::lease::boot_ms;
use crate::store::{Page, Range};

/// More keys are read in the thread: their values may be long.
const ENTRIES: usize = 4;
/// And so are values that are longer together: to copy them takes the time of others.
const BYTES: u64 = 64 << 10;
/// A read that takes longer has waited: for the disk, or for its turn on a busy processor.
const SLOW: Duration = Duration::from_millis(2);
/// So many times as long as a slow read took nobody reads here.
const PAUSES: u32 = 10;
/// What did not work is not tried again before.
const PAUSE: Duration = Duration::from_secs(1);

/// A connection for whoever comes first.
#[derive(Clone, Default)]
pub(super) struct Near(Arc<Inner>);

#[derive(Default)]
struct Inner {
    db: Mutex<Option<Db>>,
    /// Nobody reads here, and nothing is opened, before this; by the clock of leases.
    not_before_ms: AtomicI64,
}

/// What came of trying to read here.
pub(super) enum Tried {
    Read(Page),
    /// The thread has to; there is no connection yet, and one should be opened.
    Unopened,
    /// The thread has to.
    No,
}

impl Near {
    pub(super) fn range(&self, range: &Range) -> Tried {
        // The past costs more.
        if range.limit > ENTRIES || range.at.is_some() || self.pauses() {
            return Tried::No;
        }
        let mut db = match self.0.db.try_lock() {
            Ok(db) => db,
            Err(TryLockError::WouldBlock) => return Tried::No,
            Err(TryLockError::Poisoned(db)) => db.into_inner(),
        };
        let Some(open) = db.as_mut() else {
            // Whoever came first sees to it.
            self.pause(PAUSE);
            return Tried::Unopened;
        };
        let begun = Instant::now();
        let read =
            open.is_within(range, BYTES).and_then(|short| short.then(|| open.range(range)).transpose());
        let took = begun.elapsed();
        if took > SLOW {
            self.pause(took.saturating_mul(PAUSES));
        }
        match read {
            Ok(Some(page)) => Tried::Read(page),
            Ok(None) => Tried::No,
            Err(_) => {
                // The thread says what is wrong.
                *db = None;
                self.pause(PAUSE);
                Tried::No
            }
        }
    }

    /// Opens the connection; waits for the disk.
    pub(super) fn open(&self, path: &Path) {
        let Ok(open) = db::open(path) else { return };
        // Who would have to wait for another process goes to the thread.
        if open.connection.busy_timeout(Duration::ZERO).is_err() {
            return;
        }
        if let Ok(mut db) = self.0.db.lock() {
            *db = Some(open);
            self.0.not_before_ms.store(0, Ordering::Release);
        }
    }

    fn pauses(&self) -> bool {
        boot_ms() < self.0.not_before_ms.load(Ordering::Acquire)
    }

    fn pause(&self, time: Duration) {
        let ms = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        self.0.not_before_ms.store(boot_ms().saturating_add(ms), Ordering::Release);
    }
}
