//! The command log: distributes clients' commands to every process of a run, as JSON lines in an
//! append-only file, or in memory if there is only one process.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes read at once.
const CHUNK_BYTES: u64 = 64 << 10;
/// Maximum commands pending in memory.
const MAX_PENDING: usize = 1_000;

/// A command that a log distributes.
pub(crate) trait Command: Serialize + DeserializeOwned {
    /// Longer lines are ignored.
    const MAX_LINE_BYTES: usize;
    /// A file of this size accepts no more commands.
    const MAX_FILE_BYTES: u64;

    /// Whether it must survive a power cut, and still fits into a file of up to twice the maximum size.
    fn is_vital(&self) -> bool {
        false
    }

    /// Whether it can be applied. Other lines are ignored, in all processes alike.
    fn is_valid(&self) -> bool {
        true
    }
}

/// Why a command could not be appended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandLogError {
    #[error("{0} commands are pending already")]
    Pending(usize),
    #[error("{path}: it is full ({limit_bytes} bytes)", path = .path.display())]
    Full { path: PathBuf, limit_bytes: u64 },
    #[error("{path}: {source}", path = .path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// The writing side.
#[derive(Debug)]
pub(crate) struct CommandLog<C> {
    path: Option<PathBuf>,
    pending: Mutex<VecDeque<C>>,
}

impl<C: Command> CommandLog<C> {
    /// A log in this file, or in memory without one.
    pub(crate) fn new(path: Option<PathBuf>) -> CommandLog<C> {
        CommandLog { path, pending: Mutex::default() }
    }

    /// Appends a command. `make` is called as late as possible, so that a time stamp in it is fresh.
    /// A vital command that the disk does not take is applied by this process alone.
    pub(crate) fn append(&self, make: impl FnOnce() -> C) -> Result<(), CommandLogError> {
        let Some(path) = &self.path else { return self.keep(make()) };
        let opened = open(path);
        let command = make();
        let limit_bytes = if command.is_vital() { 2 * C::MAX_FILE_BYTES } else { C::MAX_FILE_BYTES };
        let written = opened.and_then(|(mut file, size)| match size < limit_bytes {
            true => write_line(&mut file, &command).map(|()| true),
            false => Ok(false),
        });
        match written {
            Ok(true) => Ok(()),
            Ok(false) => Err(CommandLogError::Full { path: path.clone(), limit_bytes }),
            Err(error) if command.is_vital() => {
                tracing::warn!(path = %path.display(), %error, "the other processes do not get this command");
                self.keep(command)
            }
            Err(source) => Err(CommandLogError::Io { path: path.clone(), source }),
        }
    }

    fn keep(&self, command: C) -> Result<(), CommandLogError> {
        let mut pending = self.pending.lock();
        if pending.len() >= MAX_PENDING {
            return Err(CommandLogError::Pending(pending.len()));
        }
        pending.push_back(command);
        Ok(())
    }
}

/// Opens a log for appending; returns its size as well.
fn open(path: &Path) -> io::Result<(File, u64)> {
    if let Some(folder) = path.parent() {
        // This may be the first command of the run.
        std::fs::create_dir_all(folder)?;
    }
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

/// Appends with a single write, so lines of several processes never mix.
fn write_line<C: Command>(file: &mut File, command: &C) -> io::Result<()> {
    let mut line = serde_json::to_vec(command)?;
    line.push(b'\n');
    let written = file.write(&line)?;
    if written != line.len() {
        // Separate the next line from this torn one. This write may fail as well.
        let _ = file.write(b"\n");
        return Err(io::Error::new(io::ErrorKind::WriteZero, "the disk is full"));
    }
    // Other processes see the line already; syncing protects from a power cut, and is slow on some disks.
    if command.is_vital() { file.sync_data() } else { Ok(()) }
}

/// Reads a log from its beginning.
#[derive(Debug)]
pub(crate) struct CommandLogReader<C> {
    log: Arc<CommandLog<C>>,
    offset: u64,
    /// Inside a line that is too long.
    skipping: bool,
}

impl<C: Command> CommandLogReader<C> {
    /// A reader at the beginning of this log.
    pub(crate) fn new(log: Arc<CommandLog<C>>) -> CommandLogReader<C> {
        CommandLogReader { log, offset: 0, skipping: false }
    }

    /// The commands since the last call. Usually this costs one `stat`.
    pub(crate) fn read(&mut self) -> Vec<C> {
        let mut commands: Vec<C> = self.log.pending.lock().drain(..).collect();
        let Some(path) = self.log.path.clone() else { return commands };
        while let Ok(size) = path.metadata().map(|data| data.len()) {
            if size < self.offset {
                let path = path.display();
                tracing::warn!(%path, "the command log was truncated; it is only ever appended to");
                self.offset = size;
            }
            let before = self.offset;
            if size == before {
                break;
            }
            match read_chunk(&path, before) {
                Ok(chunk) => self.parse(&chunk, &mut commands),
                Err(error) => tracing::warn!(path = %path.display(), %error, "cannot read the command log"),
            }
            if self.offset == before {
                break; // an incomplete line, or an error
            }
        }
        commands
    }

    /// Parses the complete lines of a chunk and advances past them.
    fn parse(&mut self, chunk: &[u8], commands: &mut Vec<C>) {
        let mut rest = chunk;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(end);
            if !self.skipping && line.len() <= C::MAX_LINE_BYTES {
                commands.extend(parse_line::<C>(line));
            }
            self.skipping = false;
            rest = after.get(1..).unwrap_or_default();
            self.offset += end as u64 + 1;
        }
        if rest.len() > C::MAX_LINE_BYTES {
            self.skipping = true;
            self.offset += rest.len() as u64;
        }
    }
}

fn parse_line<C: Command>(line: &[u8]) -> Option<C> {
    serde_json::from_slice(line).ok().filter(C::is_valid)
}

fn read_chunk(path: &Path, offset: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut chunk = Vec::new();
    file.take(CHUNK_BYTES).read_to_end(&mut chunk)?;
    Ok(chunk)
}
