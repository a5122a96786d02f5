//! Makes pictures on a thread of its own: a decoder takes its time, and keys must go on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use tokio::sync::mpsc;

use crate::picture::{Picture, PictureFault, PictureJob, PictureMaker, PictureSetup};

/// Name of the thread: a panic on it restores no terminal.
pub(super) const THREAD: &str = "pictures";
/// Jobs that wait; the model requests one at a time.
const WAITING: usize = 1;

/// The number of a job, and its picture.
type Made = (u64, Result<Picture, PictureFault>);

/// Hands jobs to the thread.
pub(super) struct Pictures {
    jobs: SyncSender<PictureJob>,
    made: mpsc::Receiver<Made>,
}

impl Pictures {
    /// Starts the thread. It ends when this is dropped.
    pub(super) fn start(setup: PictureSetup) -> std::io::Result<Pictures> {
        let (jobs, waiting) = sync_channel(WAITING);
        let (sender, made) = mpsc::channel(WAITING);
        let make_all = move || make_all(setup, &waiting, &sender);
        std::thread::Builder::new().name(THREAD.to_owned()).spawn(make_all)?;
        Ok(Pictures { jobs, made })
    }

    /// Requests a picture; one too many is dropped, and the model requests another one later.
    pub(super) fn request(&self, job: PictureJob) {
        let _ = self.jobs.try_send(job);
    }

    /// The next picture; never, if the thread is gone. Cancel safe.
    pub(super) async fn next(&mut self) -> Made {
        match self.made.recv().await {
            Some(made) => made,
            None => std::future::pending().await,
        }
    }
}

fn make_all(setup: PictureSetup, jobs: &Receiver<PictureJob>, made: &mpsc::Sender<Made>) {
    let mut maker = PictureMaker::new(setup);
    while let Ok(job) = jobs.recv() {
        // A decoder that panics over a hostile picture ends neither the thread nor the console.
        let picture = catch_unwind(AssertUnwindSafe(|| maker.make(&job)));
        let picture = picture.unwrap_or_else(|_| Err(PictureFault::Data("its decoder failed".to_owned())));
        if made.blocking_send((job.number, picture)).is_err() {
            return;
        }
    }
}
