//! Writing: one transaction of the store is one of the file.

use bytes::Bytes;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use crate::store::sqlite::db::Db;
use crate::store::sqlite::lease::{boot_ms, expire, is_due, is_of};
use crate::store::{Entry, LeaseId, Op, Outcome, Revision, StoreError, Txn};

impl Db {
    pub(super) fn txn(&mut self, txn: &Txn) -> Result<Outcome, StoreError> {
        self.write(|draft| {
            let mut succeeded = true;
            for compare in &txn.compares {
                succeeded &= compare.holds(draft.entry(compare.key())?.as_ref());
            }
            let ops = if succeeded { &txn.success } else { &txn.failure };
            let mut got = Vec::new();
            for op in ops {
                if let Op::Get(key) = op {
                    got.push(draft.entry(key)?);
                }
            }
            for op in ops {
                match op {
                    Op::Get(_) => {}
                    Op::Put { key, value, lease } => draft.put(key, value, *lease)?,
                    Op::Delete(key) => draft.delete(key.as_bytes())?,
                }
            }
            Ok(Outcome { succeeded, revision: draft.revision(), got })
        })
    }

    pub(super) fn grant(&mut self, ttl_ms: u64) -> Result<LeaseId, StoreError> {
        self.write_unsynced(|draft| {
            let lease: i64 = draft.transaction.query_row(
                "UPDATE state SET lease = lease + 1 RETURNING lease",
                [],
                |row| row.get(0),
            )?;
            let ttl_ms = ttl_ms.cast_signed();
            let row = params![lease, ttl_ms, draft.now_ms + ttl_ms];
            draft.transaction.execute("INSERT INTO leases VALUES (?1, ?2, ?3)", row)?;
            Ok(LeaseId(lease.cast_unsigned()))
        })
    }

    pub(super) fn keep_alive(&mut self, lease: LeaseId) -> Result<(), StoreError> {
        self.write_unsynced(|draft| {
            let row = params![lease.0.cast_signed(), draft.now_ms];
            let update = "UPDATE leases SET ends_ms = ?2 + ttl_ms WHERE lease = ?1";
            match draft.transaction.execute(update, row)? {
                0 => Err(StoreError::LeaseEnded),
                _ => Ok(()),
            }
        })
    }

    pub(super) fn revoke(&mut self, lease: LeaseId) -> Result<(), StoreError> {
        self.write(|draft| {
            let id = lease.0.cast_signed();
            match draft.transaction.execute("DELETE FROM leases WHERE lease = ?1", [id])? {
                0 => Err(StoreError::LeaseEnded),
                _ => draft.keys_of(id)?.iter().try_for_each(|key| draft.delete(key)),
            }
        })
    }

    /// Ends what is due, if anything is.
    pub(super) fn sweep(&mut self) -> Result<(), StoreError> {
        if !is_due(&self.connection, boot_ms())? {
            return Ok(());
        }
        let _turn = self.turn.take();
        self.write(|_| Ok(()))
    }

    /// With all that is due ended: acts and commits, or changes nothing. In the turn of this process,
    /// which is the worker's to take.
    fn write<R>(
        &mut self,
        act: impl FnOnce(&mut Draft<'_>) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut draft = Draft::begin(transaction, &self.boot)?;
        let answer = act(&mut draft);
        if answer.is_err() && !draft.forget_act()? {
            return answer;
        }
        let committed = draft.commit();
        self.changed |= *committed.as_ref().unwrap_or(&false);
        // What was refused did not happen, whatever became of the leases.
        answer.and_then(|answer| committed.map(|_| answer))
    }

    /// The same for what a restart of the computer ends in any case, and so need not be on the disk: it
    /// gets there with the next revision, which may depend on it, and whose log is synced as a whole.
    fn write_unsynced<R>(
        &mut self,
        act: impl FnOnce(&mut Draft<'_>) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        // It cannot be changed within a transaction.
        self.connection.pragma_update(None, "synchronous", "NORMAL")?;
        let done = self.write_if_none_ends(act);
        self.connection.pragma_update(None, "synchronous", "FULL")?;
        match done? {
            Tried::Done(answer) => answer,
            Tried::Ends(act) => self.write(act),
        }
    }

    /// Does nothing if a lease ends with it: that is a revision, which is told and so must stay.
    fn write_if_none_ends<R, A>(&mut self, act: A) -> Result<Tried<R, A>, StoreError>
    where
        A: FnOnce(&mut Draft<'_>) -> Result<R, StoreError>,
    {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let now_ms = boot_ms();
        if !is_of(&transaction, &self.boot)? || is_due(&transaction, now_ms)? {
            return Ok(Tried::Ends(act));
        }
        let mut draft = Draft::new(transaction, now_ms)?;
        let answer = act(&mut draft);
        if answer.is_ok() {
            draft.commit()?;
        }
        Ok(Tried::Done(answer))
    }
}

/// What came of a write that must not end a lease.
enum Tried<R, A> {
    Done(Result<R, StoreError>),
    Ends(A),
}

/// Changes that are not committed yet.
struct Draft<'a> {
    transaction: Transaction<'a>,
    /// The newest revision before them.
    before: Revision,
    /// Whether there are any of the caller's.
    changed: bool,
    /// Whether leases ended before them, which they do whatever becomes of the caller's.
    expired: bool,
    now_ms: i64,
}

impl<'a> Draft<'a> {
    fn new(transaction: Transaction<'a>, now_ms: i64) -> Result<Draft<'a>, StoreError> {
        let newest: i64 = transaction
            .prepare_cached("SELECT revision FROM state")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))?;
        let before = Revision(newest.cast_unsigned());
        Ok(Draft { transaction, before, changed: false, expired: false, now_ms })
    }

    /// With what is due ended.
    fn begin(transaction: Transaction<'a>, boot: &str) -> Result<Draft<'a>, StoreError> {
        let mut draft = Draft::new(transaction, boot_ms())?;
        let Some(ended) = expire(&draft.transaction, boot, draft.now_ms)? else { return Ok(draft) };
        draft.expired = true;
        for key in &ended {
            draft.delete(key)?;
        }
        if std::mem::take(&mut draft.changed) {
            // Their end is a change of its own, before the caller's.
            draft.before = draft.before.next();
            draft.note_revision(draft.before)?;
        }
        draft.transaction.execute_batch("SAVEPOINT act")?;
        Ok(draft)
    }

    /// Undoes the caller's changes. Whether something is left: leases that ended. What a caller was
    /// refused because of that stays refused.
    fn forget_act(&mut self) -> Result<bool, StoreError> {
        if self.expired {
            self.transaction.execute_batch("ROLLBACK TO act")?;
            self.changed = false;
        }
        Ok(self.expired)
    }

    /// Of these changes, when there are any.
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

    /// Whether there is a new revision.
    fn commit(self) -> Result<bool, StoreError> {
        if self.changed {
            self.note_revision(self.revision())?;
        }
        let new = self.changed || self.expired;
        // Whether a commit that failed is in the file shows when it is read again.
        self.transaction.commit().map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull | ErrorCode::ReadOnly) => error.into(),
            _ => StoreError::Unknown(error.to_string()),
        })?;
        Ok(new)
    }
}

/// The key as it is.
fn entry(connection: &Connection, key: &[u8]) -> rusqlite::Result<Option<Entry>> {
    connection
        .prepare_cached("SELECT key, value, created, modified, version, lease FROM entries WHERE key = ?1")?
        .query_row([key], row_entry)
        .optional()
}

/// A row of key, value, created, modified, version, lease.
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
