//! Backup and restore of the store file, for administration tools; processes that use the store do not need
//! it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use crate::store::StoreError;
use crate::store::sqlite::write_lock::WriteLock;
use crate::store::sqlite::{db, permissions};

/// Pages that are copied per step; progress is reported between steps.
const PAGES_PER_STEP: i32 = 256;
/// How long a copy waits for a writer.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// More revisions or leases than a store whose counters cannot be read can have issued.
const SAFETY_GAP: i64 = 1 << 32;
/// Upper bound of revisions. Positions in a lock's queue are a thousand times as large, and must be exact as
/// JSON numbers.
const MAX_REVISION: i64 = 1 << 43;

/// The path of the store file in its directory.
pub fn store_file(directory: &Path) -> PathBuf {
    directory.join("roverline.db")
}

/// A snapshot of a store file: later writes are not visible.
pub struct StoreFile(Connection);

impl StoreFile {
    /// Opens an existing file for reading.
    pub fn open(path: &Path) -> Result<StoreFile, StoreError> {
        // A WAL beside the file is part of the database, and SQLite has to write to it in order to read it.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).or_else(|_| {
            Connection::open_with_flags(
                path,
                OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
            )
        })?;
        connection.busy_timeout(LOCK_TIMEOUT)?;
        connection.pragma_update(None, "query_only", true)?;
        connection.execute_batch("BEGIN")?;
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(StoreFile(connection))
    }

    /// The result of SQLite's integrity check, and whether the file has the tables of a store. Empty if it
    /// is sound.
    pub fn check(&self) -> Result<Vec<String>, StoreError> {
        let mut check = self.0.prepare("PRAGMA integrity_check(20)")?;
        let lines = check.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
        let mut wrong: Vec<String> = lines.into_iter().filter(|line| line != "ok").collect();
        if let Err(error) = self.0.query_row("SELECT revision FROM state", [], |_| Ok(())) {
            wrong.push(format!("it is no store: {error}"));
        }
        Ok(wrong)
    }

    /// Copies it into a self-contained file, which must not exist yet. `progress` receives the pages done
    /// and their total.
    pub fn copy(&self, to: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<(), StoreError> {
        let draft = beside(to, "part");
        if to.exists() {
            return Err(StoreError::Unavailable(format!("{} exists already", to.display())));
        }
        remove(&draft)?;
        permissions::create_file(&draft);
        let mut copy = Connection::open(&draft)?;
        transfer(&self.0, &mut copy, progress)?;
        copy.pragma_update(None, "journal_mode", "DELETE")?;
        copy.close().map_err(|(_, error)| error)?;
        std::fs::File::open(&draft)
            .and_then(|file| file.sync_all())
            .map_err(|error| io_error(&draft, &error))?;
        std::fs::rename(&draft, to).map_err(|error| io_error(to, &error))
    }

    /// Calls `visit` with every key that has this prefix, in key order, and its value.
    pub fn visit_entries(&self, prefix: &str, visit: &mut dyn FnMut(&str, &[u8])) -> Result<(), StoreError> {
        let mut rows = self
            .0
            .prepare_cached("SELECT key, value FROM entries WHERE key >= ?1 AND key < ?2 ORDER BY key")?;
        // Keys are UTF-8, which never contains this byte.
        let mut rows = rows.query([prefix.as_bytes(), &[prefix.as_bytes(), &[0xff]].concat()])?;
        while let Some(row) = rows.next()? {
            let bytes = |column| row.get_ref(column).and_then(|value| value.as_bytes().map_err(Into::into));
            visit(&String::from_utf8_lossy(bytes(0)?), bytes(1)?);
        }
        Ok(())
    }
}

/// Whether a process has the store of this directory open.
pub fn in_use(directory: &Path) -> Result<bool, StoreError> {
    let path = store_file(directory);
    if !path.exists() {
        return Ok(false);
    }
    let connection = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(Duration::from_millis(500))?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    match connection.execute_batch("BEGIN EXCLUSIVE; ROLLBACK") {
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) => Ok(true),
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseLocked) => Ok(true),
        // A file that is not a database is not in use.
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) => Ok(false),
        other => other.map(|()| false).map_err(StoreError::from),
    }
}

/// Replaces the store of this directory by a copy, in one transaction, and saves the old one as `archive`.
/// Revisions and leases continue above the old ones, so that no fencing token is issued twice.
pub fn restore(
    copy: &StoreFile,
    directory: &Path,
    archive: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), StoreError> {
    let path = store_file(directory);
    permissions::create_folder(directory).map_err(|error| io_error(directory, &error))?;
    // No other process may write between reading the newest revision and exceeding it.
    let lock = WriteLock::beside(&path).map_err(|error| io_error(&path, &error))?;
    let lock = lock.acquire_within(LOCK_TIMEOUT).ok_or(StoreError::Busy)?;
    let old = archive_existing(&path, archive)?;
    let draft = beside(&path, "restore");
    remove_all(&draft)?;
    let done = prepare(copy, &draft, old).and_then(|()| {
        permissions::create_file(&path);
        let mut store = Connection::open(&path)?;
        store.busy_timeout(LOCK_TIMEOUT)?;
        transfer(&StoreFile::open(&draft)?.0, &mut store, progress)?;
        store.close().map_err(|(_, error)| error.into())
    });
    let removed = remove_all(&draft);
    done.and(removed)?;
    drop(lock);
    // Creates the WAL now rather than under load.
    db::open(&path).map(drop)
}

/// The counters of a store.
#[derive(Clone, Copy)]
struct Sequences {
    revision: i64,
    lease: i64,
}

impl Sequences {
    fn of(store: &Connection) -> rusqlite::Result<Sequences> {
        let sequences = |row: &rusqlite::Row<'_>| Ok(Sequences { revision: row.get(0)?, lease: row.get(1)? });
        store.query_row("SELECT revision, lease FROM state", [], sequences)
    }
}

/// Saves the existing store and returns its counters; `None` if they are not known.
fn archive_existing(path: &Path, archive: &Path) -> Result<Option<Sequences>, StoreError> {
    if !path.exists() {
        return Ok(None);
    }
    let old = StoreFile::open(path).and_then(|old| {
        old.copy(archive, &mut |_, _| {})?;
        Sequences::of(&old.0).map_err(StoreError::from)
    });
    let error = match old {
        Ok(sequences) => return Ok(Some(sequences)),
        Err(error) => error,
    };
    // An unreadable store is moved as it is.
    tracing::warn!(%error, "the old store cannot be read, and is moved away as it is");
    for ending in ["db", "db-wal", "db-shm"] {
        let old = path.with_extension(ending);
        if old.exists() {
            let name = archive.with_extension(ending);
            std::fs::rename(&old, name).map_err(|error| io_error(&old, &error))?;
        }
    }
    Ok(None)
}

/// Makes the file that replaces the store: the copy, with raised counters.
fn prepare(copy: &StoreFile, draft: &Path, old: Option<Sequences>) -> Result<(), StoreError> {
    copy.copy(draft, &mut |_, _| {})?;
    // Migrates an older schema.
    let store = db::open(draft)?.connection;
    let copied = Sequences::of(&store)?;
    let (newest, gap) = match old {
        Some(old) => (copied.revision.max(old.revision), 1),
        None => (copied.revision, 1 + SAFETY_GAP),
    };
    let lease = copied.lease.max(old.map_or(0, |old| old.lease));
    let raised = (newest.checked_add(gap).filter(|revision| *revision < MAX_REVISION))
        .zip(lease.checked_add(SAFETY_GAP))
        .ok_or_else(|| StoreError::Unavailable("its revisions are used up".to_owned()))?;
    store.execute("UPDATE state SET revision = ?1, lease = ?2", raised)?;
    store.pragma_update(None, "journal_mode", "DELETE")?;
    store.close().map_err(|(_, error)| error.into())
}

/// Removes a store file and the files beside it.
fn remove_all(path: &Path) -> Result<(), StoreError> {
    remove(&path.with_extension("turn"))?;
    ["", "-wal", "-shm", "-journal"].iter().try_for_each(|ending| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        remove(Path::new(&name))
    })
}

fn transfer(
    from: &Connection,
    to: &mut Connection,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), StoreError> {
    let backup = Backup::new(from, to)?;
    let started = std::time::Instant::now();
    loop {
        let step = backup.step(PAGES_PER_STEP)?;
        let state = backup.progress();
        let total = u64::try_from(state.pagecount).unwrap_or_default();
        progress(total - u64::try_from(state.remaining).unwrap_or_default().min(total), total);
        match step {
            StepResult::Done => return Ok(()),
            StepResult::More => {}
            _ if started.elapsed() > LOCK_TIMEOUT => return Err(StoreError::Busy),
            // Another process is writing.
            _ => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(path, &error)),
        _ => Ok(()),
    }
}

/// A path beside this one, with an extension appended.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{ending}"));
    path.with_file_name(name)
}

fn io_error(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", path.display()))
}
