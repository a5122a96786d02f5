//! A thread with a connection of its own: SQLite waits for the disk, and nobody else waits with it.

use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use roverline_protocol::limits;
use tokio::sync::oneshot;

use super::super::{Revision, StoreError};
use super::file::{self, Db};

type Job = Box<dyn FnOnce(Result<&mut Db, StoreError>) -> bool + Send>;

/// Asks its thread. The thread ends with the last of these.
#[derive(Clone)]
pub(super) struct Worker(SyncSender<Job>);

impl Worker {
    /// `committed` is told the newest revision after each job.
    pub(super) fn start(name: &str, path: PathBuf, committed: impl Fn(Revision) + Send + 'static) -> Worker {
        let (ask, jobs) = sync_channel::<Job>(limits::STORE_WAITING_CALLS);
        let sweeps = name == "store-writer";
        let open = if sweeps { file::open } else { file::open_to_read };
        let run = move || {
            let mut db = None;
            let mut said = String::new();
            loop {
                let job = match jobs.recv_timeout(Duration::from_millis(limits::STORE_POLL_MS)) {
                    Ok(job) => Some(job),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => return,
                };
                if job.is_some() || sweeps {
                    let healthy = work(&mut db, || open(&path), &mut said, job, &committed);
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
        Worker(ask)
    }

    /// Does this in the thread, in turn.
    pub(super) async fn ask<R: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Db) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        let (tell, answer) = oneshot::channel();
        let job: Job = Box::new(move |db| {
            let done = db.and_then(act);
            let healthy = !matches!(done, Err(StoreError::Unavailable(_) | StoreError::Unknown(_)));
            // Whoever asked may have gone.
            let _ = tell.send(done);
            healthy
        });
        self.0.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Busy,
            TrySendError::Disconnected(_) => StoreError::Unavailable("its thread has ended".to_owned()),
        })?;
        answer.await.unwrap_or_else(|_| Err(StoreError::Unknown("its thread has ended".to_owned())))
    }
}

/// Does one job, or what is due without one. Whether the connection is still good.
fn work(
    db: &mut Option<Db>,
    open: impl Fn() -> Result<Db, StoreError>,
    said: &mut String,
    job: Option<Job>,
    committed: &impl Fn(Revision),
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
                if let Some(job) = job {
                    job(Err(error));
                }
                return false;
            }
        }
    }
    let Some(db) = db.as_mut() else { return false };
    let healthy = match job {
        Some(job) => job(Ok(db)),
        None => db.sweep().is_ok(),
    };
    if healthy && let Ok(newest) = db.newest() {
        committed(newest);
    }
    healthy && !db.frozen
}
