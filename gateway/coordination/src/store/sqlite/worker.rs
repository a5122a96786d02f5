//! A thread with its own connection: only this thread blocks when SQLite waits for the disk.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::limits;
use crate::store::sqlite::db::{self, Db};
use crate::store::sqlite::lease::boot_ms;
use crate::store::{Revision, StoreError};

type Task = Box<dyn FnOnce(Result<&mut Db, StoreError>) -> bool + Send>;

/// A handle to the thread, which ends when the last handle is dropped.
#[derive(Clone)]
pub(super) struct Worker {
    jobs: SyncSender<Job>,
    lock_wait: Arc<LockWait>,
}

/// A job, unless its caller has given up.
struct Job {
    task: Task,
    state: Arc<CallState>,
}

/// The state of a call. The thread that starts it and the caller that abandons it agree by compare-and-swap
/// on who was first.
#[derive(Default)]
struct CallState(AtomicU8);

const QUEUED: u8 = 0;
const STARTED: u8 = 1;
const ABANDONED: u8 = 2;

impl CallState {
    fn transition(&self, next: u8) -> bool {
        self.0.compare_exchange(QUEUED, next, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// When the thread began to wait for the file, in milliseconds since boot; 0 if it does not wait.
#[derive(Default)]
struct LockWait(AtomicI64);

impl LockWait {
    fn during<R>(&self, task: impl FnOnce() -> R) -> R {
        self.0.store(boot_ms(), Ordering::Release);
        let done = task();
        self.0.store(0, Ordering::Release);
        done
    }

    /// Why a call did not start in time.
    fn reason(&self) -> StoreError {
        let since = self.0.load(Ordering::Acquire);
        let waited_ms = boot_ms().saturating_sub(since).cast_unsigned();
        match since > 0 && waited_ms >= limits::STORE_WRITE_LOCK_MS / 2 {
            true => {
                let waited_s = waited_ms.div_ceil(1_000);
                let reason = format!("another process stands still while it writes, for {waited_s} s now");
                StoreError::Unavailable(reason)
            }
            false => StoreError::Busy,
        }
    }
}

impl Worker {
    /// `committed` receives the newest revision after each job, and whether that job created one.
    pub(super) fn start(
        name: &str,
        path: PathBuf,
        committed: impl Fn(Revision, bool) + Send + 'static,
    ) -> Worker {
        let (sender, jobs) = sync_channel::<Job>(limits::STORE_WAITING_CALLS);
        let writes = name == "store-writer";
        let open = if writes { db::open } else { db::open_to_read };
        let lock_wait = Arc::<LockWait>::default();
        let waiting = lock_wait.clone();
        let run = move || {
            let mut db = None;
            let mut last_error = String::new();
            loop {
                let job = match jobs.recv_timeout(Duration::from_millis(limits::STORE_POLL_MS)) {
                    Ok(job) => Some(job),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => return,
                };
                if job.is_some() || writes {
                    let ready = || waiting.during(|| open(&path));
                    let healthy = work(&mut db, ready, &mut last_error, job, &waiting, writes, &committed);
                    if !healthy {
                        // Opening the file again may repair the problem.
                        db = None;
                    }
                }
            }
        };
        if let Err(error) = std::thread::Builder::new().name(name.to_owned()).spawn(run) {
            tracing::error!(%error, "the store's thread does not start");
        }
        Worker { jobs: sender, lock_wait }
    }

    /// Whether the thread waits for the file.
    #[cfg(test)]
    pub(super) fn is_blocked(&self) -> bool {
        self.lock_wait.0.load(Ordering::Acquire) > 0
    }

    /// Runs a job on the thread, in order. A job that does not start in time is abandoned: the thread may
    /// wait for a suspended process, but the caller does not.
    pub(super) async fn submit<R: Send + 'static>(
        &self,
        task: impl FnOnce(&mut Db) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        let (reply, mut answer) = oneshot::channel();
        let task: Task = Box::new(move |db| {
            let done = db.and_then(task);
            let healthy = !matches!(done, Err(StoreError::Unavailable(_) | StoreError::Unknown(_)));
            // The caller may be gone.
            let _ = reply.send(done);
            healthy
        });
        let state = Arc::<CallState>::default();
        self.jobs.try_send(Job { task, state: state.clone() }).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Busy,
            TrySendError::Disconnected(_) => StoreError::Unavailable("its thread has ended".to_owned()),
        })?;
        let timeout = Duration::from_millis(limits::STORE_WRITE_LOCK_MS);
        let answer = match tokio::time::timeout(timeout, &mut answer).await {
            Ok(answer) => answer,
            Err(_) if state.transition(ABANDONED) => return Err(self.lock_wait.reason()),
            // It has started: wait for its result.
            Err(_) => answer.await,
        };
        answer.unwrap_or_else(|_| Err(StoreError::Unknown("its thread has ended".to_owned())))
    }
}

/// Runs one job, or the periodic sweep. Returns whether the connection is still usable.
fn work(
    db: &mut Option<Db>,
    open: impl Fn() -> Result<Db, StoreError>,
    last_error: &mut String,
    job: Option<Job>,
    lock_wait: &LockWait,
    writes: bool,
    committed: &impl Fn(Revision, bool),
) -> bool {
    if db.is_none() {
        match open() {
            Ok(open) => {
                *db = Some(open);
                last_error.clear();
            }
            Err(error) => {
                // Opening is retried several times a second; each reason is logged once.
                if *last_error != error.to_string() {
                    tracing::warn!(%error, "the store does not open");
                    *last_error = error.to_string();
                }
                if let Some(Job { task, state }) = job
                    && state.transition(STARTED)
                {
                    task(Err(error));
                }
                return false;
            }
        }
    }
    let Some(db) = db.as_mut() else { return false };
    let healthy = match job {
        Some(Job { task, state }) => {
            let _write_lock = writes.then(|| lock_wait.during(|| db.write_lock.acquire()));
            if state.transition(STARTED) { task(Ok(db)) } else { true }
        }
        None => lock_wait.during(|| db.sweep()).is_ok(),
    };
    if healthy && let Ok(newest) = db.newest() {
        committed(newest, std::mem::take(&mut db.changed));
    }
    healthy && !db.read_only
}
