//! The database file: opening, schema and migration.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};

use crate::store::sqlite::lease::boot_id;
use crate::store::sqlite::permissions;
use crate::store::sqlite::write_lock::WriteLock;
use crate::store::{Revision, StoreError};

/// Older versions corrupt the WAL if several processes use it (<https://sqlite.org/wal.html>, the WAL-reset
/// bug).
const MIN_SQLITE_VERSION: i32 = 3_051_003;
/// The version of the schema below; raised with each migration.
const SCHEMA_VERSION: i64 = 1;
/// For waits that the write lock does not cover: a reader that resets the WAL.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Pages of the file that each connection keeps in memory, KiB. SQLite's default is 2 MiB, and a process has
/// four connections; the kernel keeps the file's pages as well, once for all processes.
const PAGE_CACHE_KIB: i64 = 512;

const TABLES: &str = "
    CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), revision INTEGER NOT NULL,
        compacted INTEGER NOT NULL, lease INTEGER NOT NULL, boot TEXT NOT NULL);
    INSERT INTO state VALUES (1, 0, 0, 0, '');
    CREATE TABLE entries (key BLOB PRIMARY KEY, value BLOB NOT NULL, created INTEGER NOT NULL,
        modified INTEGER NOT NULL, version INTEGER NOT NULL, lease INTEGER) WITHOUT ROWID;
    CREATE INDEX entries_of_lease ON entries (lease) WHERE lease IS NOT NULL;
    CREATE TABLE changes (revision INTEGER NOT NULL, key BLOB NOT NULL, value BLOB, created INTEGER NOT NULL,
        version INTEGER NOT NULL, lease INTEGER, PRIMARY KEY (revision, key)) WITHOUT ROWID;
    CREATE INDEX changes_of_key ON changes (key, revision);
    CREATE TABLE leases (lease INTEGER PRIMARY KEY, ttl_ms INTEGER NOT NULL, ends_ms INTEGER NOT NULL);
    CREATE INDEX leases_by_end ON leases (ends_ms);
";

/// An open store file. Its operations are in the sibling modules.
pub(super) struct Db {
    pub(super) connection: Connection,
    pub(super) write_lock: WriteLock,
    /// The boot id of the computer, read once.
    pub(super) boot: String,
    /// Whether there is a new revision since the last check.
    pub(super) changed: bool,
    /// Opened without write access. Such a file is opened again for each use, because the connections of a
    /// process share their view of the file, and one that cannot write would hinder the others.
    pub(super) read_only: bool,
}

/// Opens the file, and creates or migrates its tables.
pub(super) fn open(path: &Path) -> Result<Db, StoreError> {
    if rusqlite::version_number() < MIN_SQLITE_VERSION {
        let why = format!("SQLite {} corrupts what several processes write", rusqlite::version());
        return Err(StoreError::Unavailable(why));
    }
    if let Some(folder) = path.parent() {
        permissions::create_folder(folder)
            .map_err(|error| StoreError::Unavailable(format!("{}: {error}", folder.display())))?;
    }
    permissions::create_file(path);
    let write_lock = WriteLock::beside(path).map_err(|error| StoreError::Unavailable(error.to_string()))?;
    let boot = boot_id().map_err(|error| StoreError::Unavailable(error.to_string()))?;
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let mut db = Db { connection, write_lock, boot, changed: false, read_only: false };
    let version = db.prepare()?;
    check_schema_version(version)?;
    Ok(db)
}

/// Opens the file for reading, without write access if necessary.
pub(super) fn open_to_read(path: &Path) -> Result<Db, StoreError> {
    open(path).or_else(|error| match path.exists() {
        true => open_unwritable(path).map_err(|_| error),
        false => Err(error),
    })
}

fn open_unwritable(path: &Path) -> Result<Db, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let try_open = |name: &Path, flags| {
        let connection = Connection::open_with_flags(name, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(64);
        bound_page_cache(&connection)?;
        let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        check_schema_version(version)?;
        // A read-only connection ends no leases.
        let boot = String::new();
        let db = Db { connection, write_lock: WriteLock::none(), boot, changed: false, read_only: true };
        db.newest().map(|_| db)
    };
    let opened = try_open(path, flags);
    let log = path.with_extension("db-wal").metadata().map_or(0, |log| log.len());
    if opened.is_ok() || log > 0 {
        return opened;
    }
    // SQLite readers share an index of the WAL, and cannot create one here. No process can write here
    // either, so the file is complete as it is (<https://sqlite.org/uri.html>, immutable).
    let escaped = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let name = format!("file:{escaped}?immutable=1");
    try_open(Path::new(&name), flags | OpenFlags::SQLITE_OPEN_URI)
}

fn bound_page_cache(connection: &Connection) -> rusqlite::Result<()> {
    // A negative number is in KiB.
    connection.pragma_update(None, "cache_size", -PAGE_CACHE_KIB)
}

fn check_schema_version(version: i64) -> Result<(), StoreError> {
    if version > SCHEMA_VERSION {
        let why = format!("the store's layout {version} is newer than this program: update it");
        return Err(StoreError::Unavailable(why));
    }
    Ok(())
}

impl Db {
    /// Creates the tables if there are none, and returns the schema version.
    fn prepare(&mut self) -> rusqlite::Result<i64> {
        self.connection.set_prepared_statement_cache_capacity(64);
        bound_page_cache(&self.connection)?;
        self.connection.pragma_update(None, "synchronous", "FULL")?;
        if let Some(version) = self.usable_version()? {
            return Ok(version);
        }
        let _write_lock = self.write_lock.acquire();
        self.connection.pragma_update(None, "journal_mode", "WAL")?;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version == 0 {
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        }
        transaction.commit()?;
        Ok(version)
    }

    /// The schema version of a file that can be used as it is. The check does not take the write lock, so a
    /// reader can open the file while a writer is suspended.
    fn usable_version(&self) -> rusqlite::Result<Option<i64>> {
        let version: i64 = self.connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let journal: String = self.connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
        let usable = version > 0 && journal == "wal" && !self.connection.is_readonly(rusqlite::MAIN_DB)?;
        Ok(usable.then_some(version))
    }

    /// The newest revision.
    pub(super) fn newest(&self) -> Result<Revision, StoreError> {
        self.number("SELECT revision FROM state").map(Revision)
    }

    /// Reads a number that the tables always contain.
    pub(super) fn number(&self, query: &str) -> Result<u64, StoreError> {
        let mut statement = self.connection.prepare_cached(query)?;
        let number: Option<i64> = statement.query_row([], |row| row.get(0)).optional()?;
        Ok(number.unwrap_or_default().cast_unsigned())
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        StoreError::Unavailable(error.to_string())
    }
}
