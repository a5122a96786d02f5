//! The file as a whole: copied while it is in use, put back, looked through. For whoever keeps a
//! computer, not for the processes that use the store.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use crate::events::Dump;
use crate::store::StoreError;
use crate::store::sqlite::write_lock::Turn;
use crate::store::sqlite::{db, permissions};

/// Pages that are copied at a time; between them, how far it is is shown.
const PAGES: i32 = 256;
/// How long a copy waits for a writer.
const PATIENCE: Duration = Duration::from_secs(10);
/// More revisions or leases than a store counts that nobody can read any more.
const UNKNOWN: i64 = 1 << 32;
/// Revisions end before it: places in the line for a lock are a thousand times as large, and are exact as numbers of
/// JSON.
const REVISIONS: i64 = 1 << 43;

/// The store's file in its directory.
pub fn store_file(directory: &Path) -> PathBuf {
    directory.join("roverline.db")
}

/// A store's file, as it is at one moment: nothing that is written meanwhile is seen.
pub struct StoreFile(Connection);

impl StoreFile {
    /// Opens it to be read, where there is one.
    pub fn open(path: &Path) -> Result<StoreFile, StoreError> {
        // A log beside the file is part of it, and SQLite takes part in it by writing there.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).or_else(|_| {
            Connection::open_with_flags(
                path,
                OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
            )
        })?;
        connection.busy_timeout(PATIENCE)?;
        connection.pragma_update(None, "query_only", true)?;
        connection.execute_batch("BEGIN")?;
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(StoreFile(connection))
    }

    /// What SQLite itself finds wrong with it, and whether it has the tables of a store.
    pub fn check(&self) -> Result<Vec<String>, StoreError> {
        let mut check = self.0.prepare("PRAGMA integrity_check(20)")?;
        let lines = check.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
        let mut wrong: Vec<String> = lines.into_iter().filter(|line| line != "ok").collect();
        if let Err(error) = self.0.query_row("SELECT revision FROM state", [], |_| Ok(())) {
            wrong.push(format!("it is no store: {error}"));
        }
        Ok(wrong)
    }

    /// Copies it into a file that is complete by itself, which must not exist yet. `progress` is
    /// told how many pages are done, of how many.
    pub fn copy(&self, to: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<(), StoreError> {
        let draft = beside(to, "part");
        if to.exists() {
            return Err(StoreError::Unavailable(format!("{} exists already", to.display())));
        }
        remove(&draft)?;
        permissions::file(&draft);
        let mut copy = Connection::open(&draft)?;
        transfer(&self.0, &mut copy, progress)?;
        copy.pragma_update(None, "journal_mode", "DELETE")?;
        copy.close().map_err(|(_, error)| error)?;
        std::fs::File::open(&draft)
            .and_then(|file| file.sync_all())
            .map_err(|error| fault(&draft, &error))?;
        std::fs::rename(&draft, to).map_err(|error| fault(to, &error))
    }
}

impl Dump for StoreFile {
    fn scan(&self, prefix: &str, each: &mut dyn FnMut(&str, &[u8])) -> Result<(), StoreError> {
        let mut rows = self
            .0
            .prepare_cached("SELECT key, value FROM entries WHERE key >= ?1 AND key < ?2 ORDER BY key")?;
        // Keys are UTF-8, where this byte never is.
        let mut rows = rows.query([prefix.as_bytes(), &[prefix.as_bytes(), &[0xff]].concat()])?;
        while let Some(row) = rows.next()? {
            let bytes = |column| row.get_ref(column).and_then(|value| value.as_bytes().map_err(Into::into));
            each(&String::from_utf8_lossy(bytes(0)?), bytes(1)?);
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
        // What is no database is in nobody's use.
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) => Ok(false),
        other => other.map(|()| false).map_err(StoreError::from),
    }
}

/// Puts a copy in the place of the store of this directory, in one transaction, and keeps what was
/// there as `kept`. Revisions and leases go on above those that were there, so that no fencing token
/// comes twice.
pub fn put_back(
    copy: &StoreFile,
    directory: &Path,
    kept: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), StoreError> {
    let path = store_file(directory);
    permissions::folder(directory).map_err(|error| fault(directory, &error))?;
    // Nobody writes from when the newest revision is read until it is surpassed.
    let turn = Turn::beside(&path).map_err(|error| fault(&path, &error))?;
    let turn = turn.take_within(PATIENCE).ok_or(StoreError::Busy)?;
    let old = put_away(&path, kept)?;
    let draft = beside(&path, "restore");
    remove_all(&draft)?;
    let done = prepare(copy, &draft, old).and_then(|()| {
        permissions::file(&path);
        let mut store = Connection::open(&path)?;
        store.busy_timeout(PATIENCE)?;
        transfer(&StoreFile::open(&draft)?.0, &mut store, progress)?;
        store.close().map_err(|(_, error)| error.into())
    });
    let removed = remove_all(&draft);
    done.and(removed)?;
    drop(turn);
    // The log is made now, and not under load.
    db::open(&path).map(drop)
}

/// How far a store has counted.
#[derive(Clone, Copy)]
struct Counted {
    revision: i64,
    lease: i64,
}

impl Counted {
    fn of(store: &Connection) -> rusqlite::Result<Counted> {
        let counted = |row: &rusqlite::Row<'_>| Ok(Counted { revision: row.get(0)?, lease: row.get(1)? });
        store.query_row("SELECT revision, lease FROM state", [], counted)
    }
}

/// Keeps the store that is there, and says how far it has counted; nothing if that is not known.
fn put_away(path: &Path, kept: &Path) -> Result<Option<Counted>, StoreError> {
    if !path.exists() {
        return Ok(None);
    }
    let old = StoreFile::open(path).and_then(|old| {
        old.copy(kept, &mut |_, _| {})?;
        Counted::of(&old.0).map_err(StoreError::from)
    });
    let error = match old {
        Ok(counted) => return Ok(Some(counted)),
        Err(error) => error,
    };
    // It cannot be read: it is kept as it is.
    tracing::warn!(%error, "the old store cannot be read, and is moved away as it is");
    for ending in ["db", "db-wal", "db-shm"] {
        let old = path.with_extension(ending);
        if old.exists() {
            let name = kept.with_extension(ending);
            std::fs::rename(&old, name).map_err(|error| fault(&old, &error))?;
        }
    }
    Ok(None)
}

/// Makes a file of a copy, complete in all that is different from it.
fn prepare(copy: &StoreFile, draft: &Path, old: Option<Counted>) -> Result<(), StoreError> {
    copy.copy(draft, &mut |_, _| {})?;
    // What is missing in an older layout is made here.
    let store = db::open(draft)?.connection;
    let copied = Counted::of(&store)?;
    let (newest, gap) = match old {
        Some(old) => (copied.revision.max(old.revision), 1),
        None => (copied.revision, 1 + UNKNOWN),
    };
    let lease = copied.lease.max(old.map_or(0, |old| old.lease));
    let raised = (newest.checked_add(gap).filter(|revision| *revision < REVISIONS))
        .zip(lease.checked_add(UNKNOWN))
        .ok_or_else(|| StoreError::Unavailable("its revisions are used up".to_owned()))?;
    store.execute("UPDATE state SET revision = ?1, lease = ?2", raised)?;
    store.pragma_update(None, "journal_mode", "DELETE")?;
    store.close().map_err(|(_, error)| error.into())
}

/// Removes a store's file and all beside it.
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
    let begun = std::time::Instant::now();
    loop {
        let step = backup.step(PAGES)?;
        let state = backup.progress();
        let total = u64::try_from(state.pagecount).unwrap_or_default();
        progress(total - u64::try_from(state.remaining).unwrap_or_default().min(total), total);
        match step {
            StepResult::Done => return Ok(()),
            StepResult::More => {}
            _ if begun.elapsed() > PATIENCE => return Err(StoreError::Busy),
            // Somebody writes.
            _ => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(fault(path, &error)),
        _ => Ok(()),
    }
}

/// A name beside this one.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{ending}"));
    path.with_file_name(name)
}

fn fault(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", path.display()))
}
