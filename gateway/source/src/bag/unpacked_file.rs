//! Recordings that were compressed as a whole (rosbag2's mode `FILE`): unpacked once for all processes that play them.
//!
//! A reader seeks in its file, so it needs it unpacked. The unpacked file lies in a directory of the gateway under a name
//! that depends on path, size and time of the original. Each process that reads it holds a shared lock on a file beside
//! it; the last one removes them, or else the next run.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use roverline_protocol::Guid;
use rustix::fs::{FlockOperation, flock};

use crate::SourceError;

/// The end of the name of the lock that readers share.
const LOCK: &str = ".lock";
/// The end of the name of the lock that the process holds which unpacks.
const UNPACKING: &str = ".unpacking";
/// Times that a lock is tried which another process removes at that moment.
const ATTEMPTS: usize = 100;

/// An unpacked file that this process reads. Dropping it removes the file if no other process reads it.
#[derive(Debug)]
pub(super) struct UnpackedFile {
    path: PathBuf,
    lock: File,
}

impl UnpackedFile {
    /// Unpacks a file into a directory, unless another process has done it.
    pub(super) fn of(packed: &Path, scratch: &Path) -> Result<UnpackedFile, SourceError> {
        let fail = |e: std::io::Error| {
            SourceError(format!("cannot unpack {} into {}: {e}", packed.display(), scratch.display()))
        };
        DirBuilder::new().recursive(true).mode(0o700).create(scratch).map_err(fail)?;
        let path = scratch.join(name_of(packed).map_err(fail)?);
        remove_unused(scratch, &path);
        for _ in 0..ATTEMPTS {
            let Some(lock) = lock(&path, LOCK, FlockOperation::LockShared).map_err(fail)? else { continue };
            // From here on nobody removes the file.
            let file = UnpackedFile { path, lock };
            let _unpacking =
                self::lock(&file.path, UNPACKING, FlockOperation::LockExclusive).map_err(fail)?;
            if !file.path.is_file() {
                unpack::file(packed, &file.path)?;
            }
            return Ok(file);
        }
        Err(fail(std::io::Error::other("other processes remove it again and again")))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for UnpackedFile {
    fn drop(&mut self) {
        if flock(&self.lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            remove(&self.path);
        }
    }
}

/// The name of the unpacked file, which ends in that of the recording.
fn name_of(packed: &Path) -> std::io::Result<String> {
    let whole = packed.canonicalize()?;
    let meta = std::fs::metadata(&whole)?;
    let identity = format!("{} {} {} {}", whole.display(), meta.len(), meta.mtime(), meta.mtime_nsec());
    let name = packed.file_name().unwrap_or_default().to_string_lossy();
    Ok(format!("{}-{}", Guid::from_name(&identity), name.trim_end_matches(".zstd")))
}

/// Another file beside this one.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut other = path.as_os_str().to_owned();
    other.push(suffix);
    other.into()
}

/// Locks the file beside `path` that ends in `suffix`. `None` if it cannot be locked now, or was removed by whoever had
/// the lock before.
fn lock(path: &Path, suffix: &str, operation: FlockOperation) -> std::io::Result<Option<File>> {
    let path = beside(path, suffix);
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path)?;
    match flock(&file, operation) {
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        other => other?,
    }
    let is_there =
        std::fs::metadata(&path).is_ok_and(|now| file.metadata().is_ok_and(|own| own.ino() == now.ino()));
    Ok(is_there.then_some(file))
}

/// Removes an unpacked file that no process reads. Its lock is held, and goes last.
fn remove(path: &Path) {
    for other in [unpack::partial(path), path.to_owned(), beside(path, UNPACKING), beside(path, LOCK)] {
        let _ = std::fs::remove_file(other);
    }
}

/// Removes what other runs have left behind.
fn remove_unused(scratch: &Path, except: &Path) {
    for entry in std::fs::read_dir(scratch).into_iter().flatten().flatten() {
        let Some(path) = entry.path().to_str().and_then(|path| path.strip_suffix(LOCK)).map(PathBuf::from)
        else {
            continue;
        };
        if path != except
            && matches!(lock(&path, LOCK, FlockOperation::NonBlockingLockExclusive), Ok(Some(_)))
        {
            remove(&path);
        }
    }
}

#[cfg(feature = "mcap")]
mod unpack {
    //! Unpacks a Zstandard file, with a progress line.

    use std::fs::{File, OpenOptions};
    use std::io::{Read, Write};
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::{Path, PathBuf};

    use crate::SourceError;
    use crate::bag::progress::Progress;

    /// Larger recordings are refused: a small file can unpack to any size.
    const MAX_UNPACKED_BYTES: u64 = 256 << 30;
    const BUFFER_BYTES: usize = 1 << 20;

    /// The name of a file that is not yet complete.
    pub(super) fn partial(path: &Path) -> PathBuf {
        super::beside(path, ".part")
    }

    pub(super) fn file(packed: &Path, path: &Path) -> Result<(), SourceError> {
        let unfinished = partial(path);
        let result = write(packed, &unfinished).and_then(|()| {
            std::fs::rename(&unfinished, path)
                .map_err(|e| SourceError(format!("cannot rename {}: {e}", path.display())))
        });
        if result.is_err() {
            let _ = std::fs::remove_file(&unfinished);
        }
        result
    }

    fn write(packed: &Path, path: &Path) -> Result<(), SourceError> {
        let shown = packed.display();
        let unreadable = |e: std::io::Error| SourceError(format!("cannot unpack {shown}: {e}"));
        let unwritable =
            |e: std::io::Error| SourceError(format!("cannot unpack {shown} to {}: {e}", path.display()));
        let input = Counting { file: File::open(packed).map_err(unreadable)?, read: 0 };
        let total = input.file.metadata().map_err(unreadable)?.len();
        let mut reader = zstd::stream::read::Decoder::new(input).map_err(unreadable)?;
        let options = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).clone();
        let mut output = options.open(path).map_err(unwritable)?;
        let mut progress = Progress::new(true);
        let (mut buffer, mut written) = (vec![0; BUFFER_BYTES], 0u64);
        let started = std::time::Instant::now();
        tracing::info!("unpacking {shown}");
        loop {
            let n = reader.read(&mut buffer).map_err(unreadable)?;
            if n == 0 {
                break;
            }
            written += n as u64;
            if written > MAX_UNPACKED_BYTES {
                let most = MAX_UNPACKED_BYTES >> 30;
                return Err(SourceError(format!("{shown} unpacks to more than {most} GiB")));
            }
            output.write_all(&buffer[..n]).map_err(unwritable)?;
            let part = reader.get_ref().get_ref().read as f64 / total.max(1) as f64;
            progress.update_part(started.elapsed().as_nanos() as i64, "unpacking the recording", part);
        }
        progress.end();
        Ok(())
    }

    /// A file that counts what was read from it.
    struct Counting {
        file: File,
        read: u64,
    }

    impl Read for Counting {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let n = self.file.read(buffer)?;
            self.read += n as u64;
            Ok(n)
        }
    }
}

#[cfg(not(feature = "mcap"))]
mod unpack {
    //! A build that cannot unpack.

    use std::path::{Path, PathBuf};

    use crate::SourceError;

    pub(super) fn partial(path: &Path) -> PathBuf {
        path.to_owned()
    }

    pub(super) fn file(packed: &Path, _: &Path) -> Result<(), SourceError> {
        let shown = packed.display();
        Err(SourceError(format!(
            "{shown} is compressed, which this build cannot read; unpack it first: zstd -d {shown}"
        )))
    }
}

#[cfg(feature = "mcap")]
#[cfg(test)]
mod tests {
    use super::*;

    fn packed(dir: &Path, text: &[u8]) -> PathBuf {
        let path = dir.join("r.db3.zstd");
        let bytes = zstd::bulk::compress(text, 3).expect("zstd compresses");
        std::fs::write(&path, bytes).expect("the test's folder takes a file");
        path
    }

    fn entries(dir: &Path) -> usize {
        std::fs::read_dir(dir).map_or(0, Iterator::count)
    }

    #[test]
    fn it_is_unpacked_once_and_removed_by_the_last_reader() {
        let (dir, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let packed = packed(dir.path(), b"hello");
        let first = UnpackedFile::of(&packed, scratch.path()).unwrap();
        assert_eq!(std::fs::read(first.path()).unwrap(), b"hello");
        let written = std::fs::metadata(first.path()).unwrap().ino();
        let second = UnpackedFile::of(&packed, scratch.path()).unwrap();
        assert_eq!(std::fs::metadata(second.path()).unwrap().ino(), written, "not unpacked again");
        drop(first);
        assert_eq!(std::fs::read(second.path()).unwrap(), b"hello");
        drop(second);
        assert_eq!(entries(scratch.path()), 0);
    }

    #[test]
    fn what_a_killed_process_left_is_removed_by_the_next() {
        let (dir, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for name in ["old", "old.lock", "older.part", "older.lock"] {
            std::fs::write(scratch.path().join(name), b"x").unwrap();
        }
        let held = UnpackedFile::of(&packed(dir.path(), b"a"), scratch.path()).unwrap();
        assert_eq!(entries(scratch.path()), 3, "the file and its locks");
        // Another recording does not disturb it.
        let other = tempfile::tempdir().unwrap();
        drop(UnpackedFile::of(&packed(other.path(), b"b"), scratch.path()).unwrap());
        assert_eq!(std::fs::read(held.path()).unwrap(), b"a");
    }

    #[test]
    fn many_processes_come_and_go_at_once() {
        let (dir, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let packed = packed(dir.path(), b"hello");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let file = UnpackedFile::of(&packed, scratch.path()).unwrap();
                        assert_eq!(std::fs::read(file.path()).unwrap(), b"hello");
                    }
                });
            }
        });
        // Two that end at the same instant may each leave the file to the other; the next one removes it.
        drop(UnpackedFile::of(&packed, scratch.path()).unwrap());
        assert_eq!(entries(scratch.path()), 0);
    }

    #[test]
    fn damage_is_reported_and_leaves_nothing() {
        let (dir, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = packed(dir.path(), &[7; 100_000]);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        let error = UnpackedFile::of(&path, scratch.path()).unwrap_err().0;
        assert!(error.starts_with("cannot unpack ") && error.contains("r.db3.zstd"), "{error}");
        assert_eq!(entries(scratch.path()), 0);
    }
}
