//! Worker processes that share a store, seen from the process that starts, kills and stops them.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal};

use super::journal::{self, Outcome, Record, now_ns};
use crate::binary;
use crate::process::{Guard, signal, wait};
use crate::temp::{self, TempDir};

/// Deadline for an orderly exit.
const PATIENCE: Duration = Duration::from_secs(60);

/// How late a cluster may still execute a request after its client has died.
const LATE: Duration = Duration::from_secs(2);

/// Ends this process together with its parent, however the parent ends.
pub(crate) fn end_with_parent() {
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
}

/// A running worker.
#[derive(Debug)]
struct Worker {
    child: Guard,
    journal: PathBuf,
}

/// All worker processes of one run.
#[derive(Debug)]
pub(crate) struct Workers {
    workers: Vec<Option<Worker>>,
    /// Journals of the workers that have ended, and the time of their end.
    ended: Vec<(PathBuf, u64)>,
    store: String,
    journals: TempDir,
    seed: u64,
    started: u64,
    /// Added to the end of a process: a cluster may execute its last request that much later.
    late_ns: u64,
}

impl Workers {
    /// Starts `size` workers on this store.
    pub(crate) fn start(store: &str, size: usize, seed: u64) -> Workers {
        let workers = (0..size).map(|_| None).collect();
        let journals = temp::dir();
        let late_ns = if store.contains("://") { LATE.as_nanos() as u64 } else { 0 };
        let (ended, store) = (Vec::new(), store.to_owned());
        let mut workers = Workers { workers, ended, store, journals, seed, started: 0, late_ns };
        for index in 0..size {
            workers.spawn(index);
        }
        workers
    }

    /// The number of workers.
    pub(crate) fn size(&self) -> usize {
        self.workers.len()
    }

    /// Starts a new process for this worker.
    pub(crate) fn spawn(&mut self, index: usize) {
        self.started += 1;
        let name = format!("w{index}-{}", self.started);
        let journal = self.journals.path().join(&name);
        let mut command = Command::new(binary::bin("chaos"));
        command.args(["worker", "--store", &self.store, "--name", &name]);
        command.arg("--journal").arg(&journal);
        command.args(["--seed", &self.seed.wrapping_add(self.started.wrapping_mul(1_000_003)).to_string()]);
        let child = command.stdin(Stdio::piped()).spawn().unwrap();
        self.workers[index] = Some(Worker { child: Guard(child), journal });
    }

    /// Kills these workers at the same moment, and waits until they have ended.
    pub(crate) fn kill(&mut self, indices: &[usize]) {
        for &index in indices {
            self.signal(index, Signal::KILL);
        }
        for &index in indices {
            self.wait(index);
        }
    }

    /// Sends a signal to a worker.
    pub(crate) fn signal(&self, index: usize, what: Signal) {
        if let Some(worker) = &self.workers[index] {
            signal(worker.child.0.id(), what);
        }
    }

    /// Waits for a worker to exit; `None` if it had to be killed.
    fn wait(&mut self, index: usize) -> Option<std::process::ExitStatus> {
        let mut worker = self.workers[index].take()?;
        let status = wait(&mut worker.child.0, PATIENCE);
        if status.is_none() {
            worker.child.0.kill().unwrap();
            worker.child.0.wait().unwrap();
        }
        self.ended.push((worker.journal, now_ns() + self.late_ns));
        status
    }

    /// The process id of a worker.
    pub(crate) fn pid(&self, index: usize) -> Option<u32> {
        self.workers.get(index)?.as_ref().map(|worker| worker.child.0.id())
    }

    /// Lets all workers exit in order; all records, and the problems.
    pub(crate) fn finish(mut self) -> (Vec<Record>, Vec<String>) {
        let mut problems = Vec::new();
        for worker in self.workers.iter_mut().flatten() {
            drop(worker.child.0.stdin.take());
        }
        for index in 0..self.workers.len() {
            match self.wait(index) {
                Some(status) if status.success() => {}
                Some(status) => problems.push(format!("worker {index} ended with {status}")),
                None => problems.push(format!("worker {index} did not end within {PATIENCE:?}")),
            }
        }
        let read = |(path, ended): &(PathBuf, u64)| journal::read(path, *ended);
        let mut records: Vec<Record> = self.ended.iter().flat_map(read).collect();
        // An operation with an unknown outcome may also take effect that much later.
        for record in records.iter_mut().filter(|one| matches!(one.outcome, Some(Outcome::Unknown { .. }))) {
            record.returned += self.late_ns;
        }
        (records, problems)
    }
}
