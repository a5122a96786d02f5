//! The file: how it is opened, and what its tables are.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};

use crate::store::sqlite::lease::boot_id;
use crate::store::sqlite::permissions;
use crate::store::sqlite::write_lock::Turn;
use crate::store::{Revision, StoreError};

/// Older ones corrupt the WAL when several processes use it (<https://sqlite.org/wal.html>, the
/// WAL-reset bug).
const OLDEST_SQLITE: i32 = 3_051_003;
/// The layout below; raised with each migration.
const LAYOUT: i64 = 1;
/// What the kernel's queue of writers does not cover: a reader that turns the WAL around.
const BUSY: Duration = Duration::from_secs(5);

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

/// An open store file. What it can do is in the modules beside this one.
pub(super) struct Db {
    pub(super) connection: Connection,
    pub(super) turn: Turn,
    /// The start of the computer, read once.
    pub(super) boot: String,
    /// Whether there is a new revision since this was asked last.
    pub(super) changed: bool,
    /// Opened where it could not be written: it is to be opened anew for each use, since the connections
    /// of a process share what they know of the file, and one that cannot write would hinder the other.
    pub(super) frozen: bool,
}

/// Opens the file, and makes or migrates its tables.
pub(super) fn open(path: &Path) -> Result<Db, StoreError> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        let why = format!("SQLite {} corrupts what several processes write", rusqlite::version());
        return Err(StoreError::Unavailable(why));
    }
    if let Some(folder) = path.parent() {
        permissions::folder(folder)
            .map_err(|error| StoreError::Unavailable(format!("{}: {error}", folder.display())))?;
    }
    permissions::file(path);
    let turn = Turn::beside(path).map_err(|error| StoreError::Unavailable(error.to_string()))?;
    let boot = boot_id().map_err(StoreError::Unavailable)?;
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    let mut db = Db { connection, turn, boot, changed: false, frozen: false };
    let layout = db.prepare()?;
    check_layout(layout)?;
    Ok(db)
}

/// Opens the file to read it. Where it cannot be written, what is in it can be read all the same.
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
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(64);
        let layout = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        check_layout(layout)?;
        // It ends no leases.
        let boot = String::new();
        let db = Db { connection, turn: Turn::nobodys(), boot, changed: false, frozen: true };
        db.newest().map(|_| db)
    };
    let opened = try_open(path, flags);
    let log = path.with_extension("db-wal").metadata().map_or(0, |log| log.len());
    if opened.is_ok() || log > 0 {
        return opened;
    }
    // SQLite shares a log between its readers, and cannot make one here. Nobody else can either: what
    // is in the file is all there is (<https://sqlite.org/uri.html>, immutable).
    let escaped = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let name = format!("file:{escaped}?immutable=1");
    try_open(Path::new(&name), flags | OpenFlags::SQLITE_OPEN_URI)
}

fn check_layout(layout: i64) -> Result<(), StoreError> {
    if layout > LAYOUT {
        let why = format!("the store's layout {layout} is newer than this program: update it");
        return Err(StoreError::Unavailable(why));
    }
    Ok(())
}

impl Db {
    /// Makes the tables if there are none; the layout that there is.
    fn prepare(&mut self) -> rusqlite::Result<i64> {
        self.connection.set_prepared_statement_cache_capacity(64);
        self.connection.pragma_update(None, "synchronous", "FULL")?;
        if let Some(layout) = self.prepared()? {
            return Ok(layout);
        }
        let _turn = self.turn.take();
        self.connection.pragma_update(None, "journal_mode", "WAL")?;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let layout: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if layout == 0 {
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "user_version", LAYOUT)?;
        }
        transaction.commit()?;
        Ok(layout)
    }

    /// The layout of a file that can be used as it is. To find that out takes no turn: whoever only
    /// reads does so while a writer stands still.
    fn prepared(&self) -> rusqlite::Result<Option<i64>> {
        let layout: i64 = self.connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let journal: String = self.connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
        let usable = layout > 0 && journal == "wal" && !self.connection.is_readonly(rusqlite::MAIN_DB)?;
        Ok(usable.then_some(layout))
    }

    /// The newest revision.
    pub(super) fn newest(&self) -> Result<Revision, StoreError> {
        self.number("SELECT revision FROM state").map(Revision)
    }

    /// A number that the tables always have.
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
