//! Numbers the samples of a topic, because the client library hides writer and sequence number. The endpoints of one
//! computer agree on the numbers by content: the first that receives a sample appends its hash and the next number to a
//! file, the others find it there. So a client that fails over continues behind its last sample, whatever the messages
//! contain: a timestamp that stands still or none at all.
//!
//! Equal contents are told apart by their order. An endpoint that has just joined begins at the newest, so it may be off
//! by as much as it lags, which nobody can tell from the messages either.

use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use roverline_protocol::{Guid, SampleId};
use rustix::fs::{FlockOperation, flock};

/// The newest samples that are kept: half a second at 1 kHz. An endpoint that lags further numbers anew.
const RING: u64 = 512;
/// How far an endpoint may lag behind the first one.
const WINDOW_NS: i64 = 2_000_000_000;
/// Tries for the lock of a file, and the pause between two. It is held for microseconds, unless its holder was stopped.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_micros(50);
/// After that, samples are numbered alone for this long.
const LOCK_RETRY_NS: i64 = 1_000_000_000;
/// Bytes of an entry: hash, number and arrival time.
const ENTRY: usize = 24;
/// Bytes before the entries: the last number.
const HEAD: usize = 8;
/// A file with a higher number is damaged.
const MAX_NUMBER: u64 = 1 << 62;
const FILE_BYTES: usize = HEAD + ENTRY * RING as usize;

/// The numbers of one topic.
pub(super) struct Numbering {
    source: Guid,
    /// `None` if the endpoints share no folder, or the file cannot be used.
    shared: Option<File>,
    /// When the file could not be locked.
    busy_at_ns: Option<i64>,
    last: u64,
}

struct Entry {
    hash: u64,
    number: u64,
    at_ns: i64,
}

impl Numbering {
    /// The numbers of a topic, shared with the other endpoints through files in `folder`.
    pub(super) fn new(topic: &str, folder: Option<&Path>) -> Numbering {
        let opened = folder.map(|folder| open(folder, topic));
        let shared = opened.and_then(|opened| {
            let warn = |error: &io::Error| tracing::warn!("samples of {topic} are numbered alone: {error}");
            opened.inspect_err(warn).ok()
        });
        Numbering { source: Guid::from_name(&format!("r2r\0{topic}")), shared, busy_at_ns: None, last: 0 }
    }

    /// The identity of a sample that arrived at `now_ns`. `latched`: it may have been sent long ago.
    pub(super) fn identify(&mut self, payload: &[u8], now_ns: i64, latched: bool) -> SampleId {
        let next = self.last.saturating_add(1);
        self.last = match &self.shared {
            // Alone, numbers that no earlier process used.
            None => u64::try_from(now_ns / 1_000).unwrap_or(0).max(next),
            Some(_)
                if self.busy_at_ns.is_some_and(|at| now_ns.abs_diff(at) < LOCK_RETRY_NS.unsigned_abs()) =>
            {
                next
            }
            Some(file) => {
                let agreed = self.agreed(file, payload, now_ns, latched);
                self.busy_at_ns = agreed.is_err().then_some(now_ns);
                agreed.unwrap_or(next)
            }
        };
        SampleId { source: self.source, seq: self.last }
    }

    fn agreed(&self, file: &File, payload: &[u8], now_ns: i64, latched: bool) -> io::Result<u64> {
        lock(file)?;
        let number = self.found_or_appended(file, hash(payload), now_ns, latched);
        flock(file, FlockOperation::Unlock)?;
        number
    }

    fn found_or_appended(&self, file: &File, hash: u64, now_ns: i64, latched: bool) -> io::Result<u64> {
        let mut bytes = [0; FILE_BYTES];
        file.read_exact_at(&mut bytes, 0)?;
        let head = number_at(&bytes, 0);
        let oldest = head.saturating_sub(RING - 1).max(self.last.saturating_add(1));
        let first = self.last == 0;
        let same = |number: &u64| {
            let entry = entry(&bytes, *number);
            let in_time = now_ns.saturating_sub(entry.at_ns) <= WINDOW_NS || (first && latched);
            entry.number == *number && entry.hash == hash && in_time
        };
        let mut known = oldest..=head;
        let found = if first { known.rev().find(same) } else { known.find(same) };
        if let Some(number) = found {
            return Ok(number);
        }
        let number = head.max(self.last).saturating_add(1);
        let mut entry = [0; ENTRY];
        entry[..8].copy_from_slice(&hash.to_le_bytes());
        entry[8..16].copy_from_slice(&number.to_le_bytes());
        entry[16..].copy_from_slice(&now_ns.to_le_bytes());
        file.write_all_at(&entry, offset(number) as u64)?;
        file.write_all_at(&number.to_le_bytes(), 0)?;
        Ok(number)
    }
}

fn open(folder: &Path, topic: &str) -> io::Result<File> {
    std::fs::create_dir_all(folder)?;
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path(folder, topic))?;
    lock(&file)?;
    let mut head = [0; HEAD];
    let whole = file.metadata()?.len() == FILE_BYTES as u64 && file.read_exact_at(&mut head, 0).is_ok();
    if !whole || u64::from_le_bytes(head) > MAX_NUMBER {
        file.set_len(0)?;
        file.set_len(FILE_BYTES as u64)?;
    }
    flock(&file, FlockOperation::Unlock)?;
    Ok(file)
}

/// Locks a file, in a bounded time: an endpoint that hangs must not hold up the others.
fn lock(file: &File) -> io::Result<()> {
    for _ in 1..LOCK_TRIES {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(LOCK_PAUSE),
            other => return Ok(other?),
        }
    }
    Ok(flock(file, FlockOperation::NonBlockingLockExclusive)?)
}

fn path(folder: &Path, topic: &str) -> PathBuf {
    let name: String =
        topic.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '.' }).take(100).collect();
    folder.join(format!("{:016x}{name}", hash(topic.as_bytes())))
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

fn offset(number: u64) -> usize {
    HEAD + (number % RING) as usize * ENTRY
}

fn number_at(bytes: &[u8; FILE_BYTES], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

fn entry(bytes: &[u8; FILE_BYTES], number: u64) -> Entry {
    let at = offset(number);
    Entry {
        hash: number_at(bytes, at),
        number: number_at(bytes, at + 8),
        at_ns: number_at(bytes, at + 16).cast_signed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    fn numbers(numbering: &mut Numbering, messages: &[(&str, i64)]) -> Vec<u64> {
        messages.iter().map(|(text, ms)| numbering.identify(text.as_bytes(), ms * MS, false).seq).collect()
    }

    #[test]
    fn endpoints_agree_whoever_receives_a_sample_first() {
        let folder = tempfile::tempdir().unwrap();
        let [mut a, mut b] = [1, 2].map(|_| Numbering::new("/odom", Some(folder.path())));
        assert_eq!(numbers(&mut a, &[("x", 0), ("y", 10)]), [1, 2]);
        assert_eq!(numbers(&mut b, &[("x", 3), ("y", 12), ("z", 20)]), [1, 2, 3]);
        assert_eq!(numbers(&mut a, &[("z", 21)]), [3]);
        assert_eq!(a.identify(b"w", 0, false).source, b.identify(b"w", 0, false).source);
    }

    #[test]
    fn equal_contents_are_numbered_by_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let [mut a, mut b] = [1, 2].map(|_| Numbering::new("/heartbeat", Some(folder.path())));
        assert_eq!(numbers(&mut a, &[("ok", 0), ("ok", 100), ("ok", 200)]), [1, 2, 3]);
        assert_eq!(numbers(&mut b, &[("ok", 201), ("ok", 300)]), [3, 4], "a newborn joins at the newest");
        assert_eq!(numbers(&mut a, &[("ok", 302), ("ok", 400)]), [4, 5]);
        assert_eq!(numbers(&mut b, &[("ok", 1_500)]), [5], "it lags");
    }

    #[test]
    fn a_sample_that_an_endpoint_missed_shifts_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let [mut a, mut b] = [1, 2].map(|_| Numbering::new("/scan", Some(folder.path())));
        assert_eq!(numbers(&mut a, &[("1", 0), ("2", 1), ("3", 2)]), [1, 2, 3]);
        assert_eq!(numbers(&mut b, &[("1", 0), ("3", 3), ("4", 4)]), [1, 3, 4]);
        assert_eq!(numbers(&mut a, &[("4", 5)]), [4]);
    }

    #[test]
    fn a_latched_sample_is_recognized_after_hours_and_others_are_new() {
        let folder = tempfile::tempdir().unwrap();
        let [mut a, mut b, mut c] = [1, 2, 3].map(|_| Numbering::new("/map", Some(folder.path())));
        let hours = 3_600_000 * MS;
        assert_eq!(a.identify(b"map", 0, true).seq, 1);
        assert_eq!(b.identify(b"map", 5 * hours, true).seq, 1);
        assert_eq!(c.identify(b"map", 5 * hours, false).seq, 2);
    }

    #[test]
    fn a_restart_continues_and_a_lag_beyond_the_ring_is_new() {
        let folder = tempfile::tempdir().unwrap();
        let mut a = Numbering::new("/imu", Some(folder.path()));
        let mut lagging = Numbering::new("/imu", Some(folder.path()));
        assert_eq!(numbers(&mut lagging, &[("0", 0)]), [1]);
        for n in 0..600 {
            assert_eq!(a.identify(&[n as u8, (n >> 8) as u8], n * MS, false).seq, n as u64 + 2);
        }
        assert_eq!(lagging.identify(&[0, 0], 600 * MS, false).seq, 602);
        assert_eq!(Numbering::new("/imu", Some(folder.path())).identify(b"new", 0, false).seq, 603);
    }

    #[test]
    fn an_endpoint_that_hangs_with_the_lock_holds_up_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let [mut a, mut b] = [1, 2].map(|_| Numbering::new("/odom", Some(folder.path())));
        assert_eq!(numbers(&mut a, &[("x", 0)]), [1]);
        assert_eq!(numbers(&mut b, &[("x", 0)]), [1]);
        let hung = File::open(path(folder.path(), "/odom")).unwrap();
        flock(&hung, FlockOperation::LockExclusive).unwrap();
        assert_eq!(numbers(&mut a, &[("y", 10), ("z", 20)]), [2, 3], "alone");
        drop(hung);
        assert_eq!(numbers(&mut a, &[("u", 500), ("v", 1_200)]), [4, 5], "together again after a second");
        assert_eq!(numbers(&mut b, &[("v", 1_201)]), [5]);
    }

    #[test]
    fn a_damaged_file_and_none_still_give_rising_numbers() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(path(folder.path(), "/x"), [0xff; FILE_BYTES]).unwrap();
        std::fs::write(path(folder.path(), "/y"), b"short").unwrap();
        for (topic, folder) in [("/x", Some(folder.path())), ("/y", Some(folder.path())), ("/z", None)] {
            let mut numbering = Numbering::new(topic, folder);
            let all = numbers(&mut numbering, &[("a", 1), ("a", 1), ("b", 0), ("c", 5)]);
            assert!(all.is_sorted() && all[0] < all[3], "{topic}: {all:?}");
        }
    }
}
