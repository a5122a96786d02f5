//! The file: how it is opened, and what its tables are.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};

use super::super::{Revision, StoreError};
use super::turn::Turn;

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
}

/// Opens the file, and makes or migrates its tables.
pub(super) fn open(path: &Path) -> Result<Db, StoreError> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        let why = format!("SQLite {} corrupts what several processes write", rusqlite::version());
        return Err(StoreError::Unavailable(why));
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|error| StoreError::Unavailable(format!("{}: {error}", folder.display())))?;
    }
    let turn = Turn::beside(path).map_err(|error| StoreError::Unavailable(error.to_string()))?;
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    let mut db = Db { connection, turn };
    let layout = db.prepare()?;
    if layout > LAYOUT {
        let why = format!("the store's layout {layout} is newer than this program: update it");
        return Err(StoreError::Unavailable(why));
    }
    Ok(db)
}

impl Db {
    /// Makes the tables if there are none; the layout that there is.
    fn prepare(&mut self) -> rusqlite::Result<i64> {
        let _turn = self.turn.take();
        self.connection.pragma_update(None, "journal_mode", "WAL")?;
        self.connection.pragma_update(None, "synchronous", "FULL")?;
        self.connection.set_prepared_statement_cache_capacity(64);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let layout: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if layout == 0 {
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "user_version", LAYOUT)?;
        }
        transaction.commit()?;
        Ok(layout)
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
