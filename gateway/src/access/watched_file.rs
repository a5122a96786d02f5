//! The parsed content of a file that is read again when it changes. If the new content is malformed, the
//! content before stays. An empty file counts once it is found empty again, since a program that writes a file in
//! place empties it first.

use std::error::Error;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

/// A file this young is read again, even if it looks the same: it may have been written twice within one
/// tick of the file system's clock.
const UNSETTLED_MS: u64 = 2_000;

/// The metadata that distinguishes two versions of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    mode: u32,
    modified: (i64, i64),
    changed: (i64, i64),
}

struct State<T> {
    stamp: Option<Stamp>,
    content: Arc<T>,
    problem: Option<String>,
    /// The last read found an empty file.
    is_empty: bool,
}

/// A file and its content.
pub(super) struct WatchedFile<T, E> {
    path: PathBuf,
    parse: fn(&Path) -> Result<T, E>,
    state: Mutex<State<T>>,
}

impl<T: PartialEq, E: Error> WatchedFile<T, E> {
    /// Reads the file for the first time.
    pub(super) fn open(path: &Path, parse: fn(&Path) -> Result<T, E>) -> Result<WatchedFile<T, E>, E> {
        let stamp = settled_stamp(path);
        let state = State { stamp, content: Arc::new(parse(path)?), problem: None, is_empty: false };
        Ok(WatchedFile { path: path.to_owned(), parse, state: Mutex::new(state) })
    }

    /// The newest content that could be read.
    pub(super) fn current(&self) -> Arc<T> {
        self.state.lock().content.clone()
    }

    /// The error that keeps the current file from being used.
    pub(super) fn problem(&self) -> Option<String> {
        self.state.lock().problem.clone()
    }

    /// Reads the file again if it has changed, or in any case. Blocks for as long as the disk does.
    pub(super) fn refresh(&self, in_any_case: bool) {
        let stamp = settled_stamp(&self.path);
        if !in_any_case && stamp.is_some() && stamp == self.state.lock().stamp {
            return;
        }
        let before = size(&self.path);
        let read = (self.parse)(&self.path);
        let is_empty = before == Some(0);
        let mut state = self.state.lock();
        let was_empty = std::mem::replace(&mut state.is_empty, is_empty);
        if (is_empty && !was_empty) || before != size(&self.path) {
            state.stamp = None;
            return;
        }
        state.stamp = stamp;
        match read {
            Ok(content) => {
                if state.problem.take().is_some() || content != *state.content {
                    tracing::info!(file = %self.path.display(), "read again");
                }
                if content != *state.content {
                    state.content = Arc::new(content);
                }
            }
            Err(error) => {
                let problem = error.to_string();
                if state.problem.as_ref() != Some(&problem) {
                    tracing::error!(%error, "what was read before stays in effect");
                }
                state.problem = Some(problem);
            }
        }
    }
}

/// The file's size in bytes; `None` if there is no file.
fn size(path: &Path) -> Option<u64> {
    Some(fs::metadata(path).ok()?.size())
}

/// The file's metadata; `None` if the file is too recent to detect a later change.
fn settled_stamp(path: &Path) -> Option<Stamp> {
    let about = fs::metadata(path).ok()?;
    let age = SystemTime::now().duration_since(about.modified().ok()?).ok()?;
    (age > Duration::from_millis(UNSETTLED_MS)).then(|| Stamp {
        device: about.dev(),
        inode: about.ino(),
        bytes: about.size(),
        mode: about.mode(),
        modified: (about.mtime(), about.mtime_nsec()),
        changed: (about.ctime(), about.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("malformed")]
    struct Malformed;

    fn parse(path: &Path) -> Result<String, Malformed> {
        fs::read_to_string(path).ok().filter(|text| text != "bad").ok_or(Malformed)
    }

    #[test]
    fn a_change_is_read_and_a_malformed_one_is_not_taken() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("file");
        assert!(WatchedFile::open(&path, parse).is_err());
        fs::write(&path, "one").unwrap();
        let file = WatchedFile::open(&path, parse).unwrap();
        fs::write(&path, "two").unwrap();
        assert_eq!(*file.current(), "one");
        file.refresh(false);
        assert_eq!((file.current().as_str(), file.problem()), ("two", None));
        fs::write(&path, "bad").unwrap();
        file.refresh(false);
        assert_eq!((file.current().as_str(), file.problem()), ("two", Some("malformed".to_owned())));
        fs::remove_file(&path).unwrap();
        file.refresh(false);
        assert_eq!(*file.current(), "two");
        fs::write(&path, "three").unwrap();
        file.refresh(false);
        assert_eq!((file.current().as_str(), file.problem()), ("three", None));
    }

    #[test]
    fn a_file_that_is_emptied_to_be_written_keeps_the_content_before() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("file");
        fs::write(&path, "one").unwrap();
        let file = WatchedFile::open(&path, parse).unwrap();
        fs::write(&path, "").unwrap();
        file.refresh(false);
        assert_eq!((file.current().as_str(), file.problem()), ("one", None));
        fs::write(&path, "two").unwrap();
        file.refresh(false);
        assert_eq!(*file.current(), "two");
        // It stays empty: that is meant.
        fs::write(&path, "").unwrap();
        file.refresh(false);
        file.refresh(false);
        assert_eq!(*file.current(), "");
    }

    #[test]
    fn a_file_that_is_old_is_read_once() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("file");
        fs::write(&path, "one").unwrap();
        let long_ago = SystemTime::now() - Duration::from_secs(60);
        fs::File::open(&path).unwrap().set_modified(long_ago).unwrap();
        let file = WatchedFile::open(&path, parse).unwrap();
        assert!(settled_stamp(&path).is_some() && settled_stamp(&path) == file.state.lock().stamp);
        // The same content in place of it is noticed by its inode.
        fs::write(scratch.path().join("new"), "two").unwrap();
        fs::rename(scratch.path().join("new"), &path).unwrap();
        fs::File::open(&path).unwrap().set_modified(long_ago).unwrap();
        file.refresh(false);
        assert_eq!(*file.current(), "two");
    }
}
