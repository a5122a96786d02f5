//! Journals: every request to the store, its outcome, and the times of both. Each process appends to a file
//! of its own; data accepted by `write` survives the process, however it ends.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Nanoseconds since boot: one clock for all processes, which cannot be set.
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Operation {
    /// Reads a register.
    Read { key: String },
    /// Writes a register; no other write has this value.
    Write { key: String, value: u64 },
    /// Writes a register if it has the value `from`.
    Swap { key: String, from: Option<u64>, to: u64 },
    /// Creates a key that no other client creates, permanently.
    Create { key: String },
    /// Acquires an exclusive lock.
    Lock { resource: String },
    /// Releases the lock.
    Unlock { resource: String, token: u64 },
    /// Updates the resource that the lock protects.
    Guarded { resource: String, token: u64 },
    /// Enqueues a message with a unique body.
    Enqueue { queue: String, body: u64 },
    /// Dequeues a message.
    Dequeue { queue: String },
    /// Acknowledges a message.
    Ack { id: String, delivery: u32 },
    /// Gives a message back.
    Nak { id: String, delivery: u32 },
    /// Appends an event with a unique id.
    Append { stream: String, id: String },
    /// Writes a shared value through the process's cache.
    Share { key: String, value: u64 },
    /// Reads a shared value from the process's cache.
    CachedRead { key: String },
    /// Begins a command in the journal of commands, under an id that others use as well; `by` is unique.
    Begin { id: String, by: String },
    /// Records the outcome of a command.
    Finish { id: String, by: String },
}

/// The outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// The register's value at this revision.
    Value { value: Option<u64>, revision: u64 },
    /// The write took effect at this revision.
    Done { revision: u64 },
    /// The lock is released.
    Released,
    /// The lock is held with this fencing token.
    Held { token: u64 },
    /// The guarded count before this update, and the update's revision.
    Counted { count: u64, revision: u64 },
    /// Rejected: a writer with a higher token was there before.
    Stale { seen: u64 },
    /// The id of the enqueued message.
    Queued { id: String },
    /// A message and its visibility timeout.
    Delivered { id: String, body: u64, delivery: u32, visible_ms: u64 },
    /// The queue is empty.
    Empty,
    /// The message is acknowledged and never delivered again.
    Acked,
    /// The message is given back and will be delivered again.
    Returned,
    /// The event's sequence number in the log.
    Appended { seq: u64 },
    /// The value and its revision; revision 0: there is none.
    Shared { value: Option<u64>, modified: u64 },
    /// The command is this client's to do.
    Begun,
    /// The command was begun before, `by` this attempt.
    Known { by: String, finished: bool },
    /// The outcome is recorded.
    Finished,
    /// Refused; nothing has changed.
    Refused { why: String },
    /// The outcome is unknown: the change may have taken effect by now.
    Unknown { why: String },
}

/// A line of a journal.
#[derive(Debug, Serialize, Deserialize)]
enum Line {
    Call { n: u64, at: u64, client: String, operation: Operation },
    Return { n: u64, at: u64, outcome: Outcome },
}

/// The journal of one process.
#[derive(Debug)]
pub(crate) struct Journal(Mutex<(File, u64)>);

impl Journal {
    pub(crate) fn create(path: &Path) -> std::io::Result<Journal> {
        Ok(Journal(Mutex::new((File::options().create_new(true).append(true).open(path)?, 0))))
    }

    /// Records a request, before it is sent.
    pub(crate) fn call(&self, client: &str, operation: Operation) -> u64 {
        let mut file = self.0.lock().unwrap();
        file.1 += 1;
        let n = file.1;
        append(&mut file.0, &Line::Call { n, at: now_ns(), client: client.to_owned(), operation });
        n
    }

    /// Records the outcome.
    pub(crate) fn answer(&self, n: u64, outcome: Outcome) {
        let mut file = self.0.lock().unwrap();
        append(&mut file.0, &Line::Return { n, at: now_ns(), outcome });
    }
}

fn append(file: &mut File, line: &Line) {
    let mut text = serde_json::to_vec(line).unwrap();
    text.push(b'\n');
    file.write_all(&text).unwrap();
}

/// A request and its outcome.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) client: String,
    pub(crate) operation: Operation,
    pub(crate) called: u64,
    /// The time of the answer; without one, the time after which it cannot take effect any more.
    pub(crate) returned: u64,
    /// `None` if the process ended before an answer.
    pub(crate) outcome: Option<Outcome>,
}

/// All records of a journal. Requests without an answer end with the process.
pub(crate) fn read(path: &Path, ended: u64) -> Vec<Record> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let (mut open, mut records) = (HashMap::new(), Vec::new());
    // An unfinished line has no effect: the request had not been sent yet.
    for line in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
        match line {
            Line::Call { n, at, client, operation } => {
                open.insert(n, records.len());
                records.push(Record { client, operation, called: at, returned: ended, outcome: None });
            }
            Line::Return { n, at, outcome } => {
                if let Some(record) = open.remove(&n).and_then(|at: usize| records.get_mut(at)) {
                    (record.returned, record.outcome) = (at, Some(outcome));
                }
            }
        }
    }
    records
}
