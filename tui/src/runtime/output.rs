//! The writer of the terminal: a thread, because a terminal that takes no output (a stuck SSH
//! connection, a stopped reader) blocks a write for as long as it likes, and keys must go on.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::mpsc;

/// Writes that may wait for the thread: a frame, or the bytes that give the terminal back.
const WAITING_WRITES: usize = 1;
/// Finished frames that have not been taken yet. One frame is written at a time.
const FINISHED_FRAMES: usize = 1;

/// Hands bytes to the writer's thread and never waits for the terminal. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Output(SyncSender<Job>);

/// One write, and the waiter that learns that the terminal has taken it.
#[derive(Debug)]
struct Job {
    bytes: Vec<u8>,
    done: Option<SyncSender<()>>,
}

/// Frames that the terminal has taken.
#[derive(Debug)]
pub(super) struct Finished(mpsc::Receiver<io::Result<()>>);

impl Finished {
    /// The next frame was taken, or the terminal is gone. Cancel safe.
    pub(super) async fn next(&mut self) -> io::Result<()> {
        self.0.recv().await.unwrap_or_else(|| Err(io::ErrorKind::BrokenPipe.into()))
    }
}

impl Output {
    /// Starts the thread. It ends with the last `Output`, or with the process.
    pub(super) fn start(target: impl Write + Send + 'static) -> io::Result<(Output, Finished)> {
        let (writes, waiting) = sync_channel(WAITING_WRITES);
        let (finished, frames) = mpsc::channel(FINISHED_FRAMES);
        std::thread::Builder::new()
            .name("terminal".to_owned())
            .spawn(move || write_all(target, &waiting, &finished))?;
        Ok((Output(writes), Finished(frames)))
    }

    /// Writes a frame. Returns false, and writes nothing, while too much is unfinished.
    pub(super) fn frame(&self, bytes: Vec<u8>) -> bool {
        self.0.try_send(Job { bytes, done: None }).is_ok()
    }

    /// Writes these bytes after what is being written, and waits at most this long for it. Returns
    /// whether the terminal took them.
    pub(super) fn write_within(&self, bytes: Vec<u8>, longest: Duration) -> bool {
        let (done, taken) = sync_channel(1);
        let sent = self.0.try_send(Job { bytes, done: Some(done) });
        sent.is_ok() && taken.recv_timeout(longest).is_ok()
    }
}

fn write_all(mut target: impl Write, waiting: &Receiver<Job>, finished: &mpsc::Sender<io::Result<()>>) {
    while let Ok(Job { bytes, done }) = waiting.recv() {
        let result = target.write_all(&bytes).and_then(|()| target.flush());
        match done {
            // An error means that nobody waits any more.
            Some(done) => drop(done.try_send(())),
            None if finished.blocking_send(result).is_err() => return,
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A terminal that takes a write only when it is allowed to.
    struct Stuck(Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_stuck_terminal_blocks_nobody_and_its_frame_is_unfinished() {
        let (allow, allowed) = sync_channel(8);
        let (output, mut finished) = Output::start(Stuck(allowed)).unwrap();
        assert!(output.frame(b"one".to_vec()));
        let unfinished = tokio::time::timeout(Duration::from_millis(50), finished.next()).await;
        assert!(unfinished.is_err(), "it was not taken");
        assert!(!output.write_within(b"restore".to_vec(), Duration::from_millis(50)), "it does not wait");
        allow.send(()).unwrap();
        finished.next().await.unwrap();
        allow.send(()).unwrap();
        drop(allow);
        while !output.frame(b"two".to_vec()) {
            tokio::task::yield_now().await;
        }
        assert!(finished.next().await.is_err(), "a lost terminal is an error");
    }
}
