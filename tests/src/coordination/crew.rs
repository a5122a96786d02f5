//! Worker processes over one store, as the one who starts, kills and stops them sees it.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal};

use super::journal::{self, Got, Record, now_ns};
use crate::binary;
use crate::process::{Guard, signal, wait};
use crate::scratch::Scratch;

/// What ending in good order may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a cluster may take to do what it has been asked for.
const LATE: Duration = Duration::from_secs(2);

/// Whatever happens to who started this process, it does not stay behind.
pub(crate) fn end_with_parent() {
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
}

/// A worker that runs.
#[derive(Debug)]
struct Worker {
    child: Guard,
    journal: PathBuf,
}

/// Processes that share a store.
#[derive(Debug)]
pub(crate) struct Crew {
    workers: Vec<Option<Worker>>,
    /// Journals of those that ended, and when.
    ended: Vec<(PathBuf, u64)>,
    store: String,
    journals: Scratch,
    seed: u64,
    started: u64,
    /// What was under way at the end of a process may happen so much later: a cluster has it still.
    late_ns: u64,
}

impl Crew {
    /// So many of them over this store.
    pub(crate) fn start(store: &str, size: usize, seed: u64) -> Crew {
        let workers = (0..size).map(|_| None).collect();
        let journals = Scratch::new();
        let late_ns = if store.contains("://") { LATE.as_nanos() as u64 } else { 0 };
        let (ended, store) = (Vec::new(), store.to_owned());
        let mut crew = Crew { workers, ended, store, journals, seed, started: 0, late_ns };
        for place in 0..size {
            crew.begin(place);
        }
        crew
    }

    /// How many there are.
    pub(crate) fn size(&self) -> usize {
        self.workers.len()
    }

    /// The one at this place, anew.
    pub(crate) fn begin(&mut self, place: usize) {
        self.started += 1;
        let name = format!("w{place}-{}", self.started);
        let journal = self.journals.path().join(&name);
        let mut command = Command::new(binary::bin("coordination"));
        command.args(["worker", "--store", &self.store, "--name", &name]);
        command.arg("--journal").arg(&journal);
        command.args(["--seed", &self.seed.wrapping_add(self.started.wrapping_mul(1_000_003)).to_string()]);
        let child = command.stdin(Stdio::piped()).spawn().unwrap();
        self.workers[place] = Some(Worker { child: Guard(child), journal });
    }

    /// Kills these, all at one moment, and waits for their end.
    pub(crate) fn kill(&mut self, places: &[usize]) {
        for &place in places {
            self.signal(place, Signal::KILL);
        }
        for &place in places {
            self.end(place);
        }
    }

    /// Stops it or lets it go on.
    pub(crate) fn signal(&self, place: usize, what: Signal) {
        if let Some(worker) = &self.workers[place] {
            signal(worker.child.0.id(), what);
        }
    }

    /// How it ended; nothing when it does not.
    fn end(&mut self, place: usize) -> Option<std::process::ExitStatus> {
        let mut worker = self.workers[place].take()?;
        let status = wait(&mut worker.child.0, PATIENCE);
        if status.is_none() {
            worker.child.0.kill().unwrap();
            worker.child.0.wait().unwrap();
        }
        self.ended.push((worker.journal, now_ns() + self.late_ns));
        status
    }

    /// The process at this place.
    pub(crate) fn pid(&self, place: usize) -> Option<u32> {
        self.workers.get(place)?.as_ref().map(|worker| worker.child.0.id())
    }

    /// Lets all end in good order. Everything that was recorded, and what went wrong.
    pub(crate) fn finish(mut self) -> (Vec<Record>, Vec<String>) {
        let mut wrong = Vec::new();
        for worker in self.workers.iter_mut().flatten() {
            drop(worker.child.0.stdin.take());
        }
        for place in 0..self.workers.len() {
            match self.end(place) {
                Some(status) if status.success() => {}
                Some(status) => wrong.push(format!("worker {place} ended with {status}")),
                None => wrong.push(format!("worker {place} did not end within {PATIENCE:?}")),
            }
        }
        let read = |(path, ended): &(PathBuf, u64)| journal::read(path, *ended);
        let mut records: Vec<Record> = self.ended.iter().flat_map(read).collect();
        // And so may what nobody knows of.
        for record in records.iter_mut().filter(|one| matches!(one.got, Some(Got::Unknown { .. }))) {
            record.returned += self.late_ns;
        }
        (records, wrong)
    }
}
