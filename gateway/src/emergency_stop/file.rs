//! The latch file, shared by the endpoint processes of a computer: read strictly, written so that a power
//! cut leaves the old or the new content.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use roverline_protocol::limits::IDENTITY_BYTES;
use roverline_source::clock::unix_ns;

use crate::emergency_stop::latch::{ID_CHARS, Latch, REASON_CHARS, REMEMBERED_IDS};

/// Larger files are damaged: more than every text and id at its longest, written as escapes.
const LATCH_BYTES: u64 =
    ((REMEMBERED_IDS + 1) * (ID_CHARS * 12 + IDENTITY_BYTES * 2 + 96) + REASON_CHARS * 12 + 200) as u64;
/// Pause between two attempts to lock.
const LOCK_RETRY: Duration = Duration::from_millis(2);

/// The latch file of a state directory.
#[derive(Debug)]
pub(crate) struct LatchFile {
    path: PathBuf,
}

/// The content of the latch file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// No file: the stop was never used.
    Missing,
    /// A latch.
    Latch(Latch),
    /// Something that cannot be read as a latch, and why.
    Damaged(String),
    /// The process or the system lacks resources to read it at the moment.
    Unknown(String),
}

/// Changes whenever the file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signature {
    Missing,
    File { device: u64, inode: u64, bytes: u64, modified: (i64, i64), changed: (i64, i64) },
    Unreadable(i32),
}

impl LatchFile {
    pub(crate) fn new(state_dir: &Path) -> LatchFile {
        LatchFile { path: state_dir.join("emergency_stop.json") }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn lock_path(&self) -> PathBuf {
        self.path.with_extension("lock")
    }

    pub(crate) fn signature(&self) -> Signature {
        match fs::metadata(&self.path) {
            Ok(data) => Signature::File {
                device: data.dev(),
                inode: data.ino(),
                bytes: data.size(),
                modified: (data.mtime(), data.mtime_nsec()),
                changed: (data.ctime(), data.ctime_nsec()),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.is_dangling() => {
                Signature::Missing
            }
            Err(error) => Signature::Unreadable(error.raw_os_error().unwrap_or_default()),
        }
    }

    /// Reads the file.
    pub(crate) fn read(&self) -> Content {
        self.judge(self.read_bytes())
    }

    fn judge(&self, read: io::Result<Vec<u8>>) -> Content {
        let damaged = |why: String| Content::Damaged(format!("{} {why}", self.path.display()));
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.is_dangling() => {
                damaged("is a link to a file that does not exist".to_owned())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Content::Missing,
            Err(error) if is_passing(&error) => Content::Unknown(error.to_string()),
            Err(error) => damaged(format!("cannot be read: {error}")),
            Ok(bytes) if bytes.is_empty() => damaged("is empty".to_owned()),
            Ok(bytes) => match serde_json::from_slice::<Latch>(&bytes) {
                Ok(latch) => Content::Latch(latch.with_own_id()),
                Err(error) => damaged(format!("is damaged: {error}")),
            },
        }
    }

    /// Whether the path is a symbolic link without a target.
    fn is_dangling(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|there| there.is_symlink())
    }

    fn read_bytes(&self) -> io::Result<Vec<u8>> {
        let file = OpenOptions::new().read(true).custom_flags(nonblocking()).open(&self.path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let mut bytes = Vec::new();
        file.take(LATCH_BYTES + 1).read_to_end(&mut bytes)?;
        match bytes.len() as u64 > LATCH_BYTES {
            true => Err(io::Error::other(format!("it is longer than {LATCH_BYTES} bytes"))),
            false => Ok(bytes),
        }
    }

    /// Replaces the file. When this returns, a power cut leaves the new content.
    pub(crate) fn write(&self, latch: &Latch) -> io::Result<()> {
        let directory = self.directory();
        fs::create_dir_all(directory)?;
        let mut aside = self.path.with_extension(format!("{}.tmp", std::process::id()));
        if aside.is_dir() {
            // A process of this number was ended while it exchanged a directory for the latch.
            aside.set_extension(format!("{}.tmp", unix_ns()));
        }
        let written = write_synced(&aside, &serde_json::to_vec(latch)?)
            .and_then(|()| self.replace_with(&aside))
            .and_then(|()| File::open(directory)?.sync_all());
        if written.is_err() {
            // What is left of it would only take room.
            let _ = fs::remove_file(&aside);
        }
        written
    }

    /// Puts a file in the place of the latch in one step. A directory there is exchanged for it, because nothing can be
    /// renamed onto a directory, and is kept beside it.
    fn replace_with(&self, aside: &Path) -> io::Result<()> {
        if !fs::symlink_metadata(&self.path).is_ok_and(|there| there.is_dir()) {
            return fs::rename(aside, &self.path);
        }
        renameat_with(CWD, aside, CWD, &self.path, RenameFlags::EXCHANGE)?;
        // The latch is in place. What was there is kept, under a second name if the first one is taken by an earlier
        // fault; if that fails as well, it stays under the temporary name.
        let _ = fs::rename(aside, self.path.with_extension("damaged"))
            .or_else(|_| fs::rename(aside, self.path.with_extension(format!("{}.damaged", unix_ns()))));
        Ok(())
    }

    /// Empties the file, which needs no room on the disk: every process reads an empty latch as engaged.
    pub(crate) fn empty(&self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).custom_flags(nonblocking());
        options.open(&self.path)?.sync_all()?;
        File::open(self.directory())?.sync_all()
    }

    /// Keeps a copy of a damaged file for whoever wants to know what happened.
    pub(crate) fn keep_damaged(&self) {
        let kept = self.path.with_extension("damaged");
        let _ = fs::remove_file(&kept);
        let _ = fs::hard_link(&self.path, kept);
    }

    /// Locks the latch against the other processes, waiting at most this long. The lock ends with the file.
    pub(crate) fn lock(&self, wait: Duration) -> Option<File> {
        let path = self.lock_path();
        let _ = fs::create_dir_all(self.directory());
        let created = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = created.or_else(|_| File::open(&path)).ok()?;
        let since = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Some(file),
                Err(TryLockError::WouldBlock) if since.elapsed() < wait => std::thread::sleep(LOCK_RETRY),
                Err(TryLockError::WouldBlock) => return None,
                // A file system without locks. The renaming keeps the file whole all the same.
                Err(TryLockError::Error(_)) => return Some(file),
            }
        }
    }

    fn directory(&self) -> &Path {
        self.path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }
}

/// Opens without waiting: somebody may have put a pipe there.
fn nonblocking() -> i32 {
    rustix::fs::OFlags::NONBLOCK.bits() as i32
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Whether an error concerns this process's or the system's resources at the moment, and not the file.
fn is_passing(error: &io::Error) -> bool {
    let passing = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::INTR, Errno::AGAIN];
    error.raw_os_error().is_some_and(|code| passing.iter().any(|errno| errno.raw_os_error() == code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emergency_stop::latch::StopCommand;
    use crate::emergency_stop::state::Knowledge;

    fn file() -> (tempfile::TempDir, LatchFile) {
        let dir = tempfile::tempdir().unwrap();
        let file = LatchFile::new(dir.path());
        (dir, file)
    }

    #[test]
    fn what_cannot_be_read_as_a_latch_is_damaged_and_only_no_file_is_missing() {
        let (dir, file) = file();
        assert_eq!(file.read(), Content::Missing);
        let huge = format!("{{\"engaged\":false,\"id\":\"{}\"", "x".repeat(LATCH_BYTES as usize));
        let not_released = r#"{"engaged":false,"id":"a","reason":"","at_ns":"1"}"#;
        for damaged in ["", "{}", "null", "{\"engaged\":", "\0\0\0\0", "[false]", not_released, &huge] {
            fs::write(file.path(), damaged).unwrap();
            assert!(matches!(file.read(), Content::Damaged(_)), "{:.40}", damaged);
        }
        fs::remove_file(file.path()).unwrap();
        fs::create_dir(file.path()).unwrap();
        assert!(matches!(file.read(), Content::Damaged(_)), "a directory");
        fs::remove_dir(file.path()).unwrap();
        std::os::unix::fs::symlink(file.path(), file.path()).unwrap();
        assert!(matches!(file.read(), Content::Damaged(_)), "a link to itself");
        fs::remove_file(file.path()).unwrap();
        let missing = file.signature();
        std::os::unix::fs::symlink("nowhere", file.path()).unwrap();
        assert!(matches!(file.read(), Content::Damaged(_)), "a link to nothing");
        assert_ne!(file.signature(), missing);
        let below = LatchFile::new(&dir.path().join("file"));
        fs::write(dir.path().join("file"), "x").unwrap();
        assert!(matches!(below.read(), Content::Damaged(_)), "below a file");
    }

    #[test]
    fn only_a_file_that_is_not_there_reads_as_never_used() {
        let (_dir, file) = file();
        let judge = |errno: Errno| file.judge(Err(errno.into()));
        assert_eq!(judge(Errno::NOENT), Content::Missing);
        for passing in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::INTR, Errno::AGAIN] {
            assert!(matches!(judge(passing), Content::Unknown(_)), "{passing}");
        }
        for fault in [Errno::IO, Errno::ACCESS, Errno::PERM, Errno::STALE, Errno::NODEV, Errno::NOTDIR] {
            assert!(matches!(judge(fault), Content::Damaged(_)), "{fault}");
        }
    }

    #[test]
    fn a_pipe_is_damaged_and_does_not_block() {
        let (_dir, file) = file();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, file.path(), rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(matches!(file.read(), Content::Damaged(_)));
    }

    #[test]
    fn the_longest_latch_is_read_back() {
        let (_dir, file) = file();
        let text = |n: usize, chars: usize| format!("{n:04}{}", "\u{1}".repeat(chars - 4));
        let mut latch =
            Latch { engaged: true, id: text(0, ID_CHARS), reason: text(0, REASON_CHARS), ..Latch::default() };
        for n in 0..REMEMBERED_IDS {
            let by = format!("{n:04}{}", "\\".repeat(IDENTITY_BYTES - 4));
            latch.remember(&StopCommand::new(&text(n, ID_CHARS), true, "", i64::MIN).by(&by));
        }
        file.write(&latch).unwrap();
        assert_eq!(file.read(), Content::Latch(latch));
    }

    #[test]
    fn what_is_in_its_place_is_replaced_and_kept() {
        let (dir, file) = file();
        let latch = Latch { engaged: true, ..Latch::default() };
        for round in 0..3 {
            fs::remove_file(file.path()).ok();
            fs::create_dir(file.path()).unwrap();
            fs::write(file.path().join("content"), "x").unwrap();
            file.write(&latch).unwrap();
            assert_eq!(file.read(), Content::Latch(latch.clone()));
            let kept = fs::read_dir(dir.path()).unwrap().flatten();
            let kept = kept.filter(|entry| entry.path().join("content").exists()).count();
            assert_eq!(kept, round + 1);
        }
        fs::remove_file(file.path()).unwrap();
        std::os::unix::fs::symlink("nowhere", file.path()).unwrap();
        file.write(&latch).unwrap();
        assert_eq!(file.read(), Content::Latch(latch));
        assert!(!dir.path().join("nowhere").exists());
    }

    #[test]
    fn a_changed_file_has_another_signature_and_the_lock_is_exclusive() {
        let (_dir, file) = file();
        let none = file.signature();
        file.write(&Latch::default()).unwrap();
        let first = file.signature();
        file.write(&Latch::default()).unwrap();
        assert!(none != first && first != file.signature());
        let held = file.lock(Duration::ZERO);
        assert!(held.is_some() && file.lock(Duration::from_millis(5)).is_none());
        drop(held);
        assert!(file.lock(Duration::ZERO).is_some());
    }

    proptest::proptest! {
        /// A file that was engaged and is damaged in any way does not read as released.
        #[test]
        fn no_damage_releases(at in 0_usize..120, length in 0_usize..120, with: Vec<u8>) {
            let (_dir, file) = file();
            let latch = Latch { engaged: true, id: "ada/1".to_owned(), reason: "a person".to_owned(), ..Latch::default() };
            file.write(&latch).unwrap();
            let mut bytes = fs::read(file.path()).unwrap();
            let at = at.min(bytes.len());
            let end = (at + length).min(bytes.len());
            bytes.splice(at..end, with);
            fs::write(file.path(), bytes).unwrap();
            let state = Knowledge::of(file.read()).state();
            proptest::prop_assert!(state.engaged, "{state:?}");
        }
    }
}
