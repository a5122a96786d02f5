//! A thread with a connection of its own: SQLite waits for the disk, and nobody else waits with it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use roverline_protocol::limits;
use tokio::sync::oneshot;

use crate::store::sqlite::db::{self, Db};
use crate::store::sqlite::lease::boot_ms;
use crate::store::{Revision, StoreError};

type Act = Box<dyn FnOnce(Result<&mut Db, StoreError>) -> bool + Send>;

/// Asks its thread. The thread ends with the last of these.
#[derive(Clone)]
pub(super) struct Worker {
    jobs: SyncSender<Job>,
    waits: Arc<Waits>,
}

/// What is to be done, unless whoever asked for it has given up.
struct Job {
    act: Act,
    call: Arc<Call>,
}

/// Whether a call is under way. Who begins it and who gives it up agree on which of both it was.
#[derive(Default)]
struct Call(AtomicU8);

const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const GIVEN_UP: u8 = 2;

impl Call {
    fn becomes(&self, next: u8) -> bool {
        self.0.compare_exchange(WAITING, next, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// Since when the thread waits for the file, by the clock of leases; 0: it does not.
#[derive(Default)]
struct Waits(AtomicI64);

impl Waits {
    fn during<R>(&self, act: impl FnOnce() -> R) -> R {
        self.0.store(boot_ms(), Ordering::Release);
        let done = act();
        self.0.store(0, Ordering::Release);
        done
    }

    /// Why a call was not begun within its time.
    fn why(&self) -> StoreError {
        let since = self.0.load(Ordering::Acquire);
        let waited_ms = boot_ms().saturating_sub(since).cast_unsigned();
        match since > 0 && waited_ms >= limits::STORE_TURN_MS / 2 {
            true => {
                let waited_s = waited_ms.div_ceil(1_000);
                let why = format!("another process stands still while it writes, for {waited_s} s now");
                StoreError::Unavailable(why)
            }
            false => StoreError::Busy,
        }
    }
}

impl Worker {
    /// `committed` is told the newest revision after each job, and whether one came about in it.
    pub(super) fn start(
        name: &str,
        path: PathBuf,
        committed: impl Fn(Revision, bool) + Send + 'static,
    ) -> Worker {
        let (ask, jobs) = sync_channel::<Job>(limits::STORE_WAITING_CALLS);
        let writes = name == "store-writer";
        let open = if writes { db::open } else { db::open_to_read };
        let waits = Arc::<Waits>::default();
        let waiting = waits.clone();
        let run = move || {
            let mut db = None;
            let mut said = String::new();
            loop {
                let job = match jobs.recv_timeout(Duration::from_millis(limits::STORE_POLL_MS)) {
                    Ok(job) => Some(job),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => return,
                };
                if job.is_some() || writes {
                    let ready = || waiting.during(|| open(&path));
                    let healthy = work(&mut db, ready, &mut said, job, &waiting, writes, &committed);
                    if !healthy {
                        // What is wrong with the file may be right when it is opened again.
                        db = None;
                    }
                }
            }
        };
        if let Err(error) = std::thread::Builder::new().name(name.to_owned()).spawn(run) {
            tracing::error!(%error, "the store's thread does not start");
        }
        Worker { jobs: ask, waits }
    }

    /// Does this in the thread, in turn. What does not begin within its time is not done: the thread
    /// may wait for a process that stands still, whoever asks does not.
    pub(super) async fn ask<R: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Db) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        let (tell, mut answer) = oneshot::channel();
        let act: Act = Box::new(move |db| {
            let done = db.and_then(act);
            let healthy = !matches!(done, Err(StoreError::Unavailable(_) | StoreError::Unknown(_)));
            // Whoever asked may have gone.
            let _ = tell.send(done);
            healthy
        });
        let call = Arc::<Call>::default();
        self.jobs.try_send(Job { act, call: call.clone() }).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Busy,
            TrySendError::Disconnected(_) => StoreError::Unavailable("its thread has ended".to_owned()),
        })?;
        let patience = Duration::from_millis(limits::STORE_TURN_MS);
        let answer = match tokio::time::timeout(patience, &mut answer).await {
            Ok(answer) => answer,
            Err(_) if call.becomes(GIVEN_UP) => return Err(self.waits.why()),
            // It has begun: what comes of it is to be known.
            Err(_) => answer.await,
        };
        answer.unwrap_or_else(|_| Err(StoreError::Unknown("its thread has ended".to_owned())))
    }
}

/// Does one job, or what is due without one. Whether the connection is still good.
fn work(
    db: &mut Option<Db>,
    open: impl Fn() -> Result<Db, StoreError>,
    said: &mut String,
    job: Option<Job>,
    waits: &Waits,
    writes: bool,
    committed: &impl Fn(Revision, bool),
) -> bool {
    if db.is_none() {
        match open() {
            Ok(open) => {
                *db = Some(open);
                said.clear();
            }
            Err(error) => {
                // It is tried several times a second: each reason once.
                if *said != error.to_string() {
                    tracing::warn!(%error, "the store does not open");
                    *said = error.to_string();
                }
                if let Some(Job { act, call }) = job
                    && call.becomes(BEGUN)
                {
                    act(Err(error));
                }
                return false;
            }
        }
    }
    let Some(db) = db.as_mut() else { return false };
    let healthy = match job {
        Some(Job { act, call }) => {
            let _turn = writes.then(|| waits.during(|| db.turn.take()));
            if call.becomes(BEGUN) { act(Ok(db)) } else { true }
        }
        None => waits.during(|| db.sweep()).is_ok(),
    };
    if healthy && let Ok(newest) = db.newest() {
        committed(newest, std::mem::take(&mut db.changed));
    }
    healthy && !db.frozen
}
