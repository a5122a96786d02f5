//! How an order gets from whoever gives it to every process that plays the recording: a line of JSON
//! in a file that is only ever appended to, or memory where there is one process only.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use roverline_protocol::limits;

use crate::bag::timeline::Order;

const FOLDER: &str = "playback";
/// A longer line is not one of ours: a request's name may grow sixfold in JSON.
const MAX_LINE_BYTES: usize = 1_024;
/// What is read at once.
const CHUNK_BYTES: u64 = 64 << 10;
/// Orders that wait in memory.
const MAX_WAITING: usize = 1_000;
/// A run whose file nobody touched for so long is over.
const OVER: Duration = Duration::from_secs(24 * 3_600);

/// The file of the run that began at this moment.
pub fn orders_file(state: &Path, epoch_unix_ns: i64) -> PathBuf {
    state.join(FOLDER).join(format!("{epoch_unix_ns}.jsonl"))
}

/// Removes what was ordered in the run of this epoch, and in runs that are long over.
pub fn forget_orders(state: &Path, epoch_unix_ns: i64) {
    let _ = std::fs::remove_file(orders_file(state, epoch_unix_ns));
    let Ok(files) = std::fs::read_dir(state.join(FOLDER)) else { return };
    for file in files.flatten() {
        let touched = file.metadata().and_then(|data| data.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        if touched.elapsed().is_ok_and(|age| age > OVER) {
            let _ = std::fs::remove_file(file.path());
        }
    }
}

/// Where orders are put.
#[derive(Debug, Default)]
pub(super) struct Orders {
    path: Option<PathBuf>,
    waiting: Mutex<VecDeque<Order>>,
}

impl Orders {
    pub(super) fn new(path: Option<PathBuf>) -> Arc<Orders> {
        Arc::new(Orders { path, waiting: Mutex::default() })
    }

    /// Puts one, stamped by `stamp` as late as can be. An error is a sentence.
    pub(super) fn put(&self, stamp: impl FnOnce() -> Order) -> Result<(), String> {
        let Some(path) = &self.path else {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.len() >= MAX_WAITING {
                return Err(format!("{MAX_WAITING} orders wait for the recording already"));
            }
            waiting.push_back(stamp());
            return Ok(());
        };
        append(path, stamp)
            .map_err(|error| format!("the orders to the recording, {}: {error}", path.display()))
    }
}

/// One write to a file opened for appending: lines of several processes never mix.
fn append(path: &Path, stamp: impl FnOnce() -> Order) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    if file.metadata()?.len() >= limits::PLAYBACK_FILE_BYTES {
        return Err(io::Error::other(format!("it is full ({} bytes)", limits::PLAYBACK_FILE_BYTES)));
    }
    let mut line = serde_json::to_vec(&stamp())?;
    line.push(b'\n');
    let written = file.write(&line)?;
    if written != line.len() {
        // So that the next line does not become part of this torn one. It may fail as well.
        let _ = file.write(b"\n");
        return Err(io::Error::new(io::ErrorKind::WriteZero, "the disk is full"));
    }
    Ok(())
}

/// Reads the orders from the first one on.
#[derive(Debug)]
pub(super) struct OrderReader {
    orders: Arc<Orders>,
    offset: u64,
    /// In the middle of a line that is too long.
    skipping: bool,
}

impl OrderReader {
    pub(super) fn new(orders: Arc<Orders>) -> OrderReader {
        OrderReader { orders, offset: 0, skipping: false }
    }

    /// What has come since the last time; mostly that is one look at a file's length.
    pub(super) fn read(&mut self) -> Vec<Order> {
        let Some(path) = self.orders.path.clone() else {
            let mut waiting = self.orders.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            return waiting.drain(..).collect();
        };
        let mut orders = Vec::new();
        while path.metadata().is_ok_and(|data| data.len() > self.offset) {
            let before = self.offset;
            match read_chunk(&path, before) {
                Ok(chunk) => self.parse(&chunk, &mut orders),
                Err(error) => tracing::warn!(path = %path.display(), %error, "cannot read the orders"),
            }
            if self.offset == before {
                break; // the rest of a line is still to come
            }
        }
        orders
    }

    /// Takes the whole lines of a chunk and moves on past them.
    fn parse(&mut self, chunk: &[u8], orders: &mut Vec<Order>) {
        let mut rest = chunk;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(end);
            if !self.skipping && line.len() <= MAX_LINE_BYTES {
                orders.extend(understood(line));
            }
            self.skipping = false;
            rest = after.get(1..).unwrap_or_default();
            self.offset += end as u64 + 1;
        }
        if rest.len() > MAX_LINE_BYTES {
            self.skipping = true;
            self.offset += rest.len() as u64;
        }
    }
}

/// An order that can be carried out; any other line is left out, by all processes alike.
fn understood(line: &[u8]) -> Option<Order> {
    let order: Order = serde_json::from_slice(line).ok()?;
    let (least, most) = speeds();
    (order.speed >= least && order.speed <= most).then_some(order)
}

/// The least and the greatest speed.
pub(super) fn speeds() -> (f64, f64) {
    let (least, most) = limits::PLAYBACK_SPEED_PERCENT;
    (f64::from(least) / 1e2, f64::from(most) / 1e2)
}

fn read_chunk(path: &Path, offset: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut chunk = Vec::new();
    file.take(CHUNK_BYTES).read_to_end(&mut chunk)?;
    Ok(chunk)
}
