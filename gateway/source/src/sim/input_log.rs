//! How inputs get from whoever publishes to every process's rover: an append-only file of JSON
//! lines, or memory where there is one process only.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::PublishError;
use crate::sim::input::Given;

/// A longer line is not one of ours.
const MAX_LINE_BYTES: usize = 512;
/// What is read at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// A file that has grown to this takes no more commands; twice this, no more of anything. So an
/// emergency stop still fits in after hours of driving by hand.
const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;
/// Commands of one run, and as many emergency stops; what comes after is not read.
const MAX_INPUTS: usize = 50_000;
/// Inputs that wait in memory.
const MAX_WAITING: usize = 1_000;

/// Where inputs are put.
#[derive(Debug)]
pub(super) struct Inbox {
    path: Option<PathBuf>,
    waiting: Mutex<VecDeque<Given>>,
}

impl Inbox {
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        Self { path, waiting: Mutex::default() }
    }

    pub(super) fn put(&self, given: Given) -> Result<(), PublishError> {
        let Some(path) = &self.path else {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.len() >= MAX_WAITING {
                return Err(PublishError::Busy(waiting.len()));
            }
            waiting.push_back(given);
            return Ok(());
        };
        append(path, &given).map_err(|error| {
            PublishError::Failed(format!("the rover's input file {}: {error}", path.display()))
        })
    }
}

/// One write to a file opened for appending: lines of several processes never mix.
fn append(path: &Path, given: &Given) -> io::Result<()> {
    let line = given.to_line()?;
    if let Some(run) = path.parent() {
        // Nobody else may have had anything to put there yet.
        std::fs::create_dir_all(run)?;
    }
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    let limit = if given.is_vital() { 2 * MAX_FILE_BYTES } else { MAX_FILE_BYTES };
    if file.metadata()?.len() >= limit {
        return Err(io::Error::other(format!("is full ({limit} bytes)")));
    }
    let written = file.write(line.as_bytes())?;
    if written != line.len() {
        // So that the next line does not become part of this torn one. It may fail as well.
        let _ = file.write(b"\n");
        return Err(io::Error::new(io::ErrorKind::WriteZero, "the disk is full"));
    }
    // The others see the line already; this is for a power cut, and slow on some disks.
    if given.is_vital() { file.sync_data() } else { Ok(()) }
}

/// Reads an inbox from its beginning.
#[derive(Debug)]
pub(super) struct InboxReader {
    inbox: Arc<Inbox>,
    offset: u64,
    /// In the middle of a line that is too long.
    skipping: bool,
    /// Commands and vital inputs so far.
    taken: [usize; 2],
}

impl InboxReader {
    pub(super) fn new(inbox: Arc<Inbox>) -> Self {
        Self { inbox, offset: 0, skipping: false, taken: [0; 2] }
    }

    /// What has come since the last time; mostly that is one look at a file's length.
    pub(super) fn read(&mut self) -> Vec<Given> {
        let Some(path) = self.inbox.path.clone() else {
            let mut waiting = self.inbox.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let given = waiting.drain(..).collect();
            drop(waiting);
            return self.admit(given);
        };
        let mut given = Vec::new();
        while let Ok(length) = path.metadata().map(|m| m.len()) {
            if length < self.offset {
                tracing::warn!(path = %path.display(), "the input file was cut; it is only ever appended to");
                self.offset = length;
            }
            let before = self.offset;
            if length == before {
                break;
            }
            match read_chunk(&path, before) {
                Ok(chunk) => given.extend(self.parse(&chunk)),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "cannot read the input file");
                    break;
                }
            }
            if self.offset == before {
                break; // the rest of a line is still to come
            }
        }
        given
    }

    /// Takes the whole lines of a chunk and moves on past them.
    fn parse(&mut self, chunk: &[u8]) -> Vec<Given> {
        let mut given = Vec::new();
        let mut rest = chunk;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line = &rest[..end];
            if !self.skipping && line.len() <= MAX_LINE_BYTES {
                given.extend(Given::from_line(line));
            }
            self.skipping = false;
            rest = &rest[end + 1..];
            self.offset += end as u64 + 1;
        }
        if rest.len() > MAX_LINE_BYTES {
            self.skipping = true;
            self.offset += rest.len() as u64;
        }
        self.admit(given)
    }

    /// Drops what is more than one run may have.
    fn admit(&mut self, mut given: Vec<Given>) -> Vec<Given> {
        given.retain(|given| {
            let taken = &mut self.taken[usize::from(given.is_vital())];
            *taken += 1;
            if *taken == MAX_INPUTS + 1 {
                tracing::warn!(limit = MAX_INPUTS, "the rover takes no more inputs of this kind in this run");
            }
            *taken <= MAX_INPUTS
        });
        given
    }
}

fn read_chunk(path: &Path, offset: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut chunk = Vec::new();
    file.take(CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
    Ok(chunk)
}
