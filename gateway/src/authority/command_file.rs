//! The newest command of an authority, in a small file that all endpoints of a computer read: who was the last to
//! command, and when. It outlives the endpoint that dispatched the command, so the others see when its holder falls
//! silent even if that endpoint was killed or hangs.
//!
//! The record is overwritten in place and never synced: it is about the last seconds, and a reboot ends them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};

const MAGIC: u64 = u64::from_le_bytes(*b"RLAUTH01");
/// Magic number, boot, token, time, flags, checksum: eight bytes each, little-endian.
const RECORD_BYTES: usize = 48;
const FLAG_STOP: u64 = 1;
/// Topics that one authority is known to command.
const TARGETS: usize = 16;
/// Bytes of the list of topics.
const TARGETS_BYTES: u64 = 8 << 10;

/// The newest command of an authority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastCommand {
    /// The fencing token of its holder.
    pub token: u64,
    /// When it was dispatched: time since boot, the same in every process of the computer.
    pub at: Duration,
    /// Whether it was a stop, after which silence is no danger.
    pub is_stop: bool,
}

/// A topic that an authority has commanded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CommandedTopic {
    /// Its name.
    pub topic: String,
    /// Its type.
    pub type_name: String,
}

/// The file of one authority.
#[derive(Debug)]
pub struct CommandFile {
    path: PathBuf,
    record: Option<File>,
    boot: u64,
    /// The newest command of this process, and its topics: they count even if the file cannot be used.
    own: Mutex<(Option<LastCommand>, Vec<CommandedTopic>)>,
}

/// Time since boot; it advances while the computer is suspended, and no clock setting changes it.
pub fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// A number of the running kernel, different after each boot.
fn boot_number() -> u64 {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    checksum(id.trim().as_bytes())
}

/// FNV-1a of 64 bits.
fn checksum(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold)
}

impl CommandFile {
    /// Opens or creates the file of the authority `name` in this directory.
    pub fn open(directory: &Path, name: &str) -> io::Result<CommandFile> {
        fs::create_dir_all(directory)?;
        let path = directory.join(name);
        let record =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        Ok(CommandFile { path, record: Some(record), boot: boot_number(), own: Mutex::default() })
    }

    /// Without a file: only what this process dispatches counts.
    pub fn absent() -> CommandFile {
        CommandFile { path: PathBuf::new(), record: None, boot: 0, own: Mutex::default() }
    }

    /// The newest command since boot, of whichever endpoint.
    pub fn read(&self) -> Option<LastCommand> {
        let own = self.own.lock().0;
        // Tokens grow; under one token the later command counts.
        self.read_file().into_iter().chain(own).max_by_key(|command| (command.token, command.at))
    }

    fn read_file(&self) -> Option<LastCommand> {
        let mut bytes = [0; RECORD_BYTES];
        // An overwrite by another process may be seen in half; the checksum shows that.
        for _ in 0..3 {
            self.record.as_ref()?.read_exact_at(&mut bytes, 0).ok()?;
            if let Some(command) = self.decode(&bytes) {
                return Some(command);
            }
        }
        None
    }

    /// Records a command.
    pub fn write(&self, command: LastCommand) -> io::Result<()> {
        self.own.lock().0 = Some(command);
        match &self.record {
            Some(record) => record.write_all_at(&self.encode(command), 0),
            None => Ok(()),
        }
    }

    fn encode(&self, command: LastCommand) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        let at_ns = u64::try_from(command.at.as_nanos()).unwrap_or(u64::MAX);
        let flags = if command.is_stop { FLAG_STOP } else { 0 };
        let (body, end) = bytes.split_at_mut(RECORD_BYTES - 8);
        for (slot, number) in body.chunks_exact_mut(8).zip([MAGIC, self.boot, command.token, at_ns, flags]) {
            slot.copy_from_slice(&number.to_le_bytes());
        }
        end.copy_from_slice(&checksum(body).to_le_bytes());
        bytes
    }

    fn decode(&self, bytes: &[u8; RECORD_BYTES]) -> Option<LastCommand> {
        let (body, end) = bytes.split_at(RECORD_BYTES - 8);
        let mut numbers = body.chunks_exact(8).map(|slot| {
            let mut number = [0; 8];
            number.copy_from_slice(slot);
            u64::from_le_bytes(number)
        });
        let is_whole = checksum(body).to_le_bytes() == *end;
        let is_ours = numbers.next() == Some(MAGIC) && numbers.next() == Some(self.boot);
        let (token, at_ns, flags) = (numbers.next()?, numbers.next()?, numbers.next()?);
        let command = LastCommand { token, at: Duration::from_nanos(at_ns), is_stop: flags & FLAG_STOP != 0 };
        (is_whole && is_ours).then_some(command)
    }

    /// Adds a commanded topic to the list that all endpoints read.
    pub fn add_topic(&self, topic: &CommandedTopic) -> io::Result<()> {
        let known = self.topics();
        if !known.contains(topic) && known.len() < TARGETS {
            self.own.lock().1.push(topic.clone());
        }
        if self.record.is_none() || known.contains(topic) || known.len() >= TARGETS {
            return Ok(());
        }
        let mut list = OpenOptions::new().append(true).create(true).mode(0o600).open(self.topics_path())?;
        // One write: lines of two processes do not mix.
        list.write_all(format!("{} {}\n", topic.topic, topic.type_name).as_bytes())
    }

    /// The topics that were commanded, by whichever endpoint.
    pub fn topics(&self) -> Vec<CommandedTopic> {
        let mut text = String::new();
        let read = File::open(self.topics_path())
            .and_then(|file| file.take(TARGETS_BYTES).read_to_string(&mut text));
        if read.is_err() {
            text.clear();
        }
        let mut topics = self.own.lock().1.clone();
        for (topic, type_name) in text.lines().filter_map(|line| line.split_once(' ')) {
            let topic = CommandedTopic { topic: topic.to_owned(), type_name: type_name.to_owned() };
            if topics.len() < TARGETS && !topics.contains(&topic) {
                topics.push(topic);
            }
        }
        topics
    }

    fn topics_path(&self) -> PathBuf {
        self.path.with_extension("topics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(token: u64, at_ms: u64, is_stop: bool) -> LastCommand {
        LastCommand { token, at: Duration::from_millis(at_ms), is_stop }
    }

    #[test]
    fn all_processes_read_the_newest_command() {
        let scratch = tempfile::tempdir().unwrap();
        let one = CommandFile::open(scratch.path(), "drive").unwrap();
        let other = CommandFile::open(scratch.path(), "drive").unwrap();
        assert_eq!(other.read(), None);
        one.write(command(7, 5_000, false)).unwrap();
        assert_eq!(other.read(), Some(command(7, 5_000, false)));
        other.write(command(9, 5_100, true)).unwrap();
        assert_eq!(one.read(), Some(command(9, 5_100, true)));
        // Without its file, a process still knows its own.
        let absent = CommandFile::absent();
        absent.write(command(3, 100, false)).unwrap();
        assert_eq!(absent.read(), Some(command(3, 100, false)));
        let arm = CommandFile::open(scratch.path(), "arm").unwrap();
        assert_eq!(arm.read(), None);
    }

    #[test]
    fn a_record_of_another_boot_or_a_damaged_one_is_none() {
        let scratch = tempfile::tempdir().unwrap();
        CommandFile::open(scratch.path(), "drive").unwrap().write(command(7, 5_000, false)).unwrap();
        let mut file = CommandFile::open(scratch.path(), "drive").unwrap();
        file.boot += 1;
        assert_eq!(file.read(), None);
        file.boot -= 1;
        for at in 0..RECORD_BYTES {
            let mut bytes = file.encode(command(7, 5_000, false));
            bytes[at] ^= 1;
            fs::write(scratch.path().join("drive"), bytes).unwrap();
            assert_eq!(file.read(), None, "byte {at}");
        }
        fs::write(scratch.path().join("drive"), [0; 5]).unwrap();
        assert_eq!(file.read(), None);
    }

    #[test]
    fn commanded_topics_are_listed_once_and_bounded() {
        let scratch = tempfile::tempdir().unwrap();
        let file = CommandFile::open(scratch.path(), "drive").unwrap();
        let topic = |n: usize| CommandedTopic { topic: format!("/t{n}"), type_name: "a/msg/B".to_owned() };
        for n in [0, 1, 0] {
            file.add_topic(&topic(n)).unwrap();
        }
        assert_eq!(file.topics(), [topic(0), topic(1)]);
        (2..100).for_each(|n| file.add_topic(&topic(n)).unwrap());
        assert_eq!(file.topics().len(), TARGETS);
        assert_eq!(CommandFile::absent().topics(), []);
    }
}
