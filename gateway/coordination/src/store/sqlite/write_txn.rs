//! Write transactions: one transaction of the store is one transaction of the file.

use bytes::Bytes;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use crate::store::sqlite::db::Db;
use crate::store::sqlite::lease::{boot_ms, expire, is_due, is_of};
use crate::store::{Entry, LeaseId, Op, Outcome, Revision, StoreError, Txn};

impl Db {
    pub(super) fn txn(&mut self, txn: &Txn) -> Result<Outcome, StoreError> {
        self.write(|write| {
            let mut succeeded = true;
            for compare in &txn.compares {
                succeeded &= compare.holds(write.entry(compare.key())?.as_ref());
            }
            let ops = if succeeded { &txn.success } else { &txn.failure };
            let mut got = Vec::new();
            for op in ops {
                if let Op::Get(key) = op {
                    got.push(write.entry(key)?);
                }
            }
            for op in ops {
                match op {
                    Op::Get(_) => {}
                    Op::Put { key, value, lease } => write.put(key, value, *lease)?,
                    Op::Delete(key) => write.delete(key.as_bytes())?,
                }
            }
            Ok(Outcome { succeeded, revision: write.revision(), got })
        })
    }

    pub(super) fn grant(&mut self, ttl_ms: u64) -> Result<LeaseId, StoreError> {
        self.write_unsynced(|write| {
            let lease: i64 = write.transaction.query_row(
                "UPDATE state SET lease = lease + 1 RETURNING lease",
                [],
                |row| row.get(0),
            )?;
            let ttl_ms = ttl_ms.cast_signed();
            let row = params![lease, ttl_ms, write.now_ms + ttl_ms];
            write.transaction.execute("INSERT INTO leases VALUES (?1, ?2, ?3)", row)?;
            Ok(LeaseId(lease.cast_unsigned()))
        })
    }

    pub(super) fn keep_alive(&mut self, lease: LeaseId) -> Result<(), StoreError> {
        self.write_unsynced(|write| {
            let row = params![lease.0.cast_signed(), write.now_ms];
            let update = "UPDATE leases SET ends_ms = ?2 + ttl_ms WHERE lease = ?1";
            match write.transaction.execute(update, row)? {
                0 => Err(StoreError::LeaseEnded),
                _ => Ok(()),
            }
        })
    }

    pub(super) fn revoke(&mut self, lease: LeaseId) -> Result<(), StoreError> {
        self.write(|write| {
            let id = lease.0.cast_signed();
            match write.transaction.execute("DELETE FROM leases WHERE lease = ?1", [id])? {
                0 => Err(StoreError::LeaseEnded),
                _ => write.keys_of(id)?.iter().try_for_each(|key| write.delete(key)),
            }
        })
    }

    /// Ends the leases that are due, if any.
    pub(super) fn sweep(&mut self) -> Result<(), StoreError> {
        if !is_due(&self.connection, boot_ms())? {
            return Ok(());
        }
        let _write_lock = self.write_lock.acquire();
        self.write(|_| Ok(()))
    }

    /// Ends the leases that are due, runs the operation and commits; on an error only the leases are
    /// committed. The worker holds the write lock meanwhile.
    fn write<R>(
        &mut self,
        operation: impl FnOnce(&mut WriteTxn<'_>) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut write = WriteTxn::begin(transaction, &self.boot)?;
        let answer = operation(&mut write);
        if answer.is_err() && !write.rollback_statement()? {
            return answer;
        }
        let committed = write.commit();
        self.changed |= *committed.as_ref().unwrap_or(&false);
        // A refused operation had no effect, even if leases have changed.
        answer.and_then(|answer| committed.map(|_| answer))
    }

    /// A write without sync, for data that a reboot discards anyway. It reaches the disk with the next
    /// revision, which may depend on it and whose WAL is synced as a whole.
    fn write_unsynced<R>(
        &mut self,
        operation: impl FnOnce(&mut WriteTxn<'_>) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        // The pragma has no effect inside a transaction.
        self.connection.pragma_update(None, "synchronous", "NORMAL")?;
        let done = self.write_if_none_ends(operation);
        self.connection.pragma_update(None, "synchronous", "FULL")?;
        match done? {
            Unsynced::Done(answer) => answer,
            Unsynced::LeaseEnds(operation) => self.write(operation),
        }
    }

    /// Returns the operation unused if a lease would end: that creates a revision, which watchers see and
    /// which therefore must be durable.
    fn write_if_none_ends<R, A>(&mut self, operation: A) -> Result<Unsynced<R, A>, StoreError>
    where
        A: FnOnce(&mut WriteTxn<'_>) -> Result<R, StoreError>,
    {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let now_ms = boot_ms();
        if !is_of(&transaction, &self.boot)? || is_due(&transaction, now_ms)? {
            return Ok(Unsynced::LeaseEnds(operation));
        }
        let mut write = WriteTxn::new(transaction, now_ms)?;
        let answer = operation(&mut write);
        if answer.is_ok() {
            write.commit()?;
        }
        Ok(Unsynced::Done(answer))
    }
}

/// The result of an unsynced write.
enum Unsynced<R, A> {
    Done(Result<R, StoreError>),
    LeaseEnds(A),
}

/// Changes that are not committed yet.
struct WriteTxn<'a> {
    transaction: Transaction<'a>,
    /// The newest revision before them.
    before: Revision,
    /// Whether the caller has changed something.
    changed: bool,
    /// Whether leases ended, which stands even if the caller's operation fails.
    expired: bool,
    now_ms: i64,
}

impl<'a> WriteTxn<'a> {
    fn new(transaction: Transaction<'a>, now_ms: i64) -> Result<WriteTxn<'a>, StoreError> {
        let newest: i64 = transaction
            .prepare_cached("SELECT revision FROM state")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))?;
        let before = Revision(newest.cast_unsigned());
        Ok(WriteTxn { transaction, before, changed: false, expired: false, now_ms })
    }

    /// Begins a transaction and ends the leases that are due.
    fn begin(transaction: Transaction<'a>, boot: &str) -> Result<WriteTxn<'a>, StoreError> {
        let mut write = WriteTxn::new(transaction, boot_ms())?;
        let Some(ended) = expire(&write.transaction, boot, write.now_ms)? else { return Ok(write) };
        write.expired = true;
        for key in &ended {
            write.delete(key)?;
        }
        if std::mem::take(&mut write.changed) {
            // The end of leases has a revision of its own, before the caller's.
            write.before = write.before.next();
            write.note_revision(write.before)?;
        }
        write.transaction.execute_batch("SAVEPOINT act")?;
        Ok(write)
    }

    /// Rolls back the caller's changes and returns whether ended leases remain. A refusal that they caused
    /// stands.
    fn rollback_statement(&mut self) -> Result<bool, StoreError> {
        if self.expired {
            self.transaction.execute_batch("ROLLBACK TO act")?;
            self.changed = false;
        }
        Ok(self.expired)
    }

    /// The revision of these changes; the newest one if there are none.
    fn revision(&self) -> Revision {
        if self.changed { self.before.next() } else { self.before }
    }

    fn entry(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        entry(&self.transaction, key.as_bytes()).map_err(StoreError::from)
    }

    fn keys_of(&self, lease: i64) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut statement =
            self.transaction.prepare_cached("SELECT key FROM entries WHERE lease = ?1 ORDER BY key")?;
        let keys = statement.query_map([lease], |row| row.get(0))?;
        keys.collect::<rusqlite::Result<_>>().map_err(StoreError::from)
    }

    fn put(&mut self, key: &str, value: &Bytes, lease: Option<LeaseId>) -> Result<(), StoreError> {
        let lease = lease.map(|lease| lease.0.cast_signed());
        if let Some(lease) = lease {
            let mut known = self.transaction.prepare_cached("SELECT 1 FROM leases WHERE lease = ?1")?;
            if !known.exists([lease])? {
                return Err(StoreError::LeaseEnded);
            }
        }
        let old = self.entry(key)?;
        let revision = self.before.next().0.cast_signed();
        let created = old.as_ref().map_or(revision, |old| old.created.0.cast_signed());
        let version = old.map_or(1, |old| old.version.cast_signed() + 1);
        let (key, value) = (key.as_bytes(), value.as_ref());
        self.transaction
            .prepare_cached("INSERT OR REPLACE INTO entries VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
            .and_then(|mut put| put.execute(params![key, value, created, revision, version, lease]))?;
        self.transaction
            .prepare_cached("INSERT INTO changes VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
            .and_then(|mut note| note.execute(params![revision, key, value, created, version, lease]))?;
        self.changed = true;
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), StoreError> {
        let gone = self
            .transaction
            .prepare_cached("DELETE FROM entries WHERE key = ?1")
            .and_then(|mut delete| delete.execute([key]))?;
        if gone > 0 {
            let revision = self.before.next().0.cast_signed();
            self.transaction
                .prepare_cached("INSERT INTO changes VALUES (?1, ?2, NULL, 0, 0, NULL)")
                .and_then(|mut note| note.execute(params![revision, key]))?;
            self.changed = true;
        }
        Ok(())
    }

    fn note_revision(&self, revision: Revision) -> Result<(), StoreError> {
        self.transaction
            .prepare_cached("UPDATE state SET revision = ?1")
            .and_then(|mut update| update.execute([revision.0.cast_signed()]))?;
        Ok(())
    }

    /// Commits, and returns whether there is a new revision.
    fn commit(self) -> Result<bool, StoreError> {
        if self.changed {
            self.note_revision(self.revision())?;
        }
        let new = self.changed || self.expired;
        // Whether a failed commit is in the file shows only when it is read again.
        self.transaction.commit().map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull | ErrorCode::ReadOnly) => error.into(),
            _ => StoreError::Unknown(error.to_string()),
        })?;
        Ok(new)
    }
}

/// The newest state of a key.
fn entry(connection: &Connection, key: &[u8]) -> rusqlite::Result<Option<Entry>> {
    connection
        .prepare_cached("SELECT key, value, created, modified, version, lease FROM entries WHERE key = ?1")?
        .query_row([key], row_entry)
        .optional()
}

/// Reads an entry from a row of key, value, created, modified, version, lease.
pub(super) fn row_entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let number = |column: usize| row.get::<_, i64>(column).map(i64::cast_unsigned);
    Ok(Entry {
        key: String::from_utf8_lossy(row.get_ref(0)?.as_bytes()?).into_owned(),
        value: Bytes::copy_from_slice(row.get_ref(1)?.as_bytes()?),
        created: Revision(number(2)?),
        modified: Revision(number(3)?),
        version: number(4)?,
        lease: row.get::<_, Option<i64>>(5)?.map(|lease| LeaseId(lease.cast_unsigned())),
    })
}
