//! What clients asked of the store and what they were told, and when. Each process appends to a file
//! of its own: what `write` took outlives the process, however it ends.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Nanoseconds since the computer started: one clock for all its processes, which nobody sets.
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Act {
    /// A register's value.
    Read { key: String },
    /// A register gets a value that no other write has.
    Write { key: String, value: u64 },
    /// The same, if it has this value.
    Swap { key: String, from: Option<u64>, to: u64 },
    /// A key that nobody else makes, for good.
    Create { key: String },
    /// A lock, exclusive.
    Lock { resource: String },
    /// The lock back.
    Unlock { resource: String, token: u64 },
    /// A change of what the lock protects.
    Guarded { resource: String, token: u64 },
    /// A message that says what no other one does.
    Enqueue { queue: String, body: u64 },
    /// A message.
    Dequeue { queue: String },
    /// A message is done with.
    Ack { id: String, delivery: u32 },
    /// A message is given back.
    Nak { id: String, delivery: u32 },
    /// An event of an id that no other one has.
    Append { stream: String, id: String },
    /// A shared value, through the cache of the process.
    Share { key: String, value: u64 },
    /// What the cache of the process says.
    Look { key: String },
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Got {
    /// This value, as of this revision.
    Value { value: Option<u64>, revision: u64 },
    /// It is done, by this revision.
    Done { revision: u64 },
    /// The lock is given back.
    Released,
    /// The lock.
    Held { token: u64 },
    /// What was protected had this count, and has the next one by this revision.
    Counted { count: u64, revision: u64 },
    /// Someone with a higher token was there.
    Stale { seen: u64 },
    /// The message has this name.
    Queued { id: String },
    /// This message, for so long.
    Delivered { id: String, body: u64, delivery: u32, visible_ms: u64 },
    /// No message.
    Empty,
    /// The message never comes again.
    Acked,
    /// The message comes again.
    Returned,
    /// The event has this place.
    Appended { seq: u64 },
    /// This value, of this revision; 0: none.
    Shared { value: Option<u64>, modified: u64 },
    /// Refused; nothing was changed.
    Refused { why: String },
    /// It may have happened, by now.
    Unknown { why: String },
}

/// A line of a journal.
#[derive(Debug, Serialize, Deserialize)]
enum Line {
    Call { n: u64, at: u64, client: String, act: Act },
    Return { n: u64, at: u64, got: Got },
}

/// Where a process writes down what it does.
#[derive(Debug)]
pub(crate) struct Journal(Mutex<(File, u64)>);

impl Journal {
    pub(crate) fn create(path: &Path) -> std::io::Result<Journal> {
        Ok(Journal(Mutex::new((File::options().create_new(true).append(true).open(path)?, 0))))
    }

    /// Before it is asked.
    pub(crate) fn call(&self, client: &str, act: Act) -> u64 {
        let mut file = self.0.lock().unwrap();
        file.1 += 1;
        let n = file.1;
        append(&mut file.0, &Line::Call { n, at: now_ns(), client: client.to_owned(), act });
        n
    }

    /// After the answer.
    pub(crate) fn answer(&self, n: u64, got: Got) {
        let mut file = self.0.lock().unwrap();
        append(&mut file.0, &Line::Return { n, at: now_ns(), got });
    }
}

fn append(file: &mut File, line: &Line) {
    let mut text = serde_json::to_vec(line).unwrap();
    text.push(b'\n');
    file.write_all(&text).unwrap();
}

/// Something that was asked, and what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) client: String,
    pub(crate) act: Act,
    pub(crate) called: u64,
    /// When the answer came; without one, when it cannot happen any more.
    pub(crate) returned: u64,
    /// `None` when the process ended before.
    pub(crate) got: Option<Got>,
}

/// Everything in a journal. What had no answer was over when the process ended.
pub(crate) fn read(path: &Path, ended: u64) -> Vec<Record> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let (mut open, mut records) = (HashMap::new(), Vec::new());
    // A line that the process did not finish was of no consequence: it was about to ask.
    for line in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
        match line {
            Line::Call { n, at, client, act } => {
                open.insert(n, records.len());
                records.push(Record { client, act, called: at, returned: ended, got: None });
            }
            Line::Return { n, at, got } => {
                if let Some(record) = open.remove(&n).and_then(|at: usize| records.get_mut(at)) {
                    (record.returned, record.got) = (at, Some(got));
                }
            }
        }
    }
    records
}
