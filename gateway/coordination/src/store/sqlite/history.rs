//! Reads: the newest state, past revisions, and the changes between them; and compaction.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, TransactionBehavior, params};

use crate::limits;
use crate::store::sqlite::db::Db;
use crate::store::sqlite::write_txn::row_entry;
use crate::store::{Change, Page, Range, Revision, StoreError};

/// Revisions whose changes are read at once.
const REVISIONS: u64 = 1_024;

/// The newest state of the keys.
macro_rules! entries_now {
    () => {
        "SELECT key, value, created, modified, version, lease FROM entries
         WHERE key >= ?1 AND key < ?2 AND modified <= ?3"
    };
}

/// The total length of the first values of a range.
macro_rules! lengths {
    () => {
        "SELECT coalesce(sum(bytes), 0) FROM (SELECT length(value) AS bytes FROM entries
         WHERE key >= ?1 AND key < ?2"
    };
}

/// The keys at a past revision: the entries that have not changed since, and for the others their last
/// change up to it. So the recent past, which is read most, costs no more than what changed since.
macro_rules! entries_then {
    () => {
        "SELECT key, value, created, modified, version, lease FROM entries
         WHERE key >= ?1 AND key < ?2 AND modified <= ?3
         UNION ALL
         SELECT was.key, was.value, was.created, was.revision, was.version, was.lease
         FROM (SELECT DISTINCT key FROM changes WHERE revision > ?3 AND key >= ?1 AND key < ?2) since
         CROSS JOIN changes was ON was.key = since.key AND was.revision =
             (SELECT max(revision) FROM changes WHERE key = since.key AND revision <= ?3)
         WHERE was.value IS NOT NULL"
    };
}

impl Db {
    pub(super) fn range(&mut self, range: &Range) -> Result<Page, StoreError> {
        // One snapshot for all reads of the page.
        let snapshot = self.connection.unchecked_transaction()?;
        let newest = self.newest()?;
        let at = range.at.unwrap_or(newest);
        let compacted = self.compacted()?;
        if at > newest {
            return Err(StoreError::Future(newest));
        }
        if at < compacted {
            return Err(StoreError::Compacted(compacted));
        }
        let limit = range.limit.clamp(1, limits::STORE_PAGE_ENTRIES);
        let (low, high) = bounds(&range.prefix, range.after.as_deref(), range.backward);
        let query = match (range.at, range.backward) {
            (None, false) => concat!(entries_now!(), " ORDER BY key LIMIT ?4"),
            (None, true) => concat!(entries_now!(), " ORDER BY key DESC LIMIT ?4"),
            (Some(_), false) => concat!(entries_then!(), " ORDER BY key LIMIT ?4"),
            (Some(_), true) => concat!(entries_then!(), " ORDER BY key DESC LIMIT ?4"),
        };
        let mut statement = self.connection.prepare_cached(query)?;
        let one_more = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        let mut rows = statement.query(params![low, high, at.0.cast_signed(), one_more])?;
        let (mut entries, mut bytes, mut more) = (Vec::new(), 0, false);
        while let Some(row) = rows.next()? {
            more = entries.len() >= limit || bytes >= limits::STORE_PAGE_BYTES;
            if more {
                break;
            }
            let entry = row_entry(row)?;
            bytes += entry.value.len();
            entries.push(entry);
        }
        drop(rows);
        drop(statement);
        snapshot.finish()?;
        Ok(Page { entries, revision: at, more })
    }

    /// Whether the values of a range, in the newest state, have at most this many bytes together. Long
    /// values are not read for this.
    pub(super) fn is_within(&self, range: &Range, bytes: u64) -> Result<bool, StoreError> {
        let (low, high) = bounds(&range.prefix, range.after.as_deref(), range.backward);
        let query = match range.backward {
            false => concat!(lengths!(), " ORDER BY key LIMIT ?3)"),
            true => concat!(lengths!(), " ORDER BY key DESC LIMIT ?3)"),
        };
        let one_more = i64::try_from(range.limit.max(1) + 1).unwrap_or(i64::MAX);
        let mut statement = self.connection.prepare_cached(query)?;
        let sum: i64 = statement.query_row(params![low, high, one_more], |row| row.get(0))?;
        Ok(sum.cast_unsigned() <= bytes)
    }

    /// Changes under a prefix from a revision on, up to a batch of revisions, and the revision to continue
    /// from.
    pub(super) fn changes(
        &mut self,
        prefix: &str,
        from: Revision,
    ) -> Result<(Vec<Change>, Revision), StoreError> {
        let snapshot = self.connection.unchecked_transaction()?;
        let (newest, compacted) = (self.newest()?, self.compacted()?);
        // Compaction leaves only some of the changes of its own revision and of earlier ones.
        if from <= compacted && compacted.0 > 0 {
            return Err(StoreError::Compacted(compacted.next()));
        }
        // Revisions have a gap where a copy was restored.
        let mut first =
            self.connection.prepare_cached("SELECT min(revision) FROM changes WHERE revision >= ?1")?;
        let first: Option<i64> = first.query_row([from.0.cast_signed()], |row| row.get(0))?;
        let first = first.map_or(newest.0, i64::cast_unsigned);
        let mut to = Revision(newest.0.min(first.saturating_add(REVISIONS - 1)));
        let (low, high) = bounds(prefix, None, false);
        let mut statement = self.connection.prepare_cached(
            "SELECT key, value, created, revision, version, lease FROM changes
                 WHERE revision >= ?3 AND revision <= ?4 AND key >= ?1 AND key < ?2 ORDER BY revision, key",
        )?;
        let mut rows = statement.query(params![low, high, from.0.cast_signed(), to.0.cast_signed()])?;
        let (mut changes, mut bytes) = (Vec::<Change>::new(), 0);
        while let Some(row) = rows.next()? {
            let change = row_change(row)?;
            // Revisions are never split.
            if bytes >= limits::STORE_PAGE_BYTES
                && let Some(last) = changes.last().map(Change::revision)
                && change.revision() > last
            {
                to = last;
                break;
            }
            if let Change::Put(entry) = &change {
                bytes += entry.value.len();
            }
            changes.push(change);
        }
        drop(rows);
        drop(statement);
        snapshot.finish()?;
        Ok((changes, from.max(to.next())))
    }

    /// Discards a part of the history and returns whether there is more to discard. Only changes after the
    /// last compaction are examined: of the ones before, only the newest of each key is left.
    pub(super) fn compact(&mut self, before: Revision) -> Result<bool, StoreError> {
        let upto = Revision(before.0.saturating_sub(1)).min(self.newest()?);
        let from = self.compacted()?;
        if upto <= from {
            return Ok(false);
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let part = part_of(&transaction, from, upto)?;
        let span = params![from.0.cast_signed(), part.0.cast_signed()];
        // The newest change of each key stays, unless it is a deletion.
        let done = newest_of_each(&transaction, from, part)
            .and_then(|newest| {
                let mut older =
                    transaction.prepare_cached("DELETE FROM changes WHERE key = ?1 AND revision < ?2")?;
                newest.iter().try_for_each(|(key, revision)| older.execute(params![key, revision]).map(drop))
            })
            .and_then(|()| {
                let ends = "DELETE FROM changes WHERE revision > ?1 AND revision <= ?2 AND value IS NULL";
                transaction.execute(ends, span)
            })
            .and_then(|_| {
                transaction.execute("UPDATE state SET compacted = max(compacted, ?1)", [part.0.cast_signed()])
            })
            .and_then(|_| transaction.commit());
        done.map(|()| part < upto).map_err(StoreError::from)
    }

    fn compacted(&self) -> Result<Revision, StoreError> {
        self.number("SELECT compacted FROM state").map(Revision)
    }
}

/// Reads a change from its row.
fn row_change(row: &Row<'_>) -> rusqlite::Result<Change> {
    if row.get_ref(1)? == ValueRef::Null {
        let key = String::from_utf8_lossy(row.get_ref(0)?.as_bytes()?).into_owned();
        return Ok(Change::Delete { key, revision: Revision(row.get::<_, i64>(3)?.cast_unsigned()) });
    }
    row_entry(row).map(Change::Put)
}

/// The last revision that still fits into one part.
fn part_of(connection: &Connection, from: Revision, upto: Revision) -> rusqlite::Result<Revision> {
    let mut changes = connection.prepare_cached(
        "SELECT revision, length(value) FROM changes WHERE revision > ?1 AND revision <= ?2 ORDER BY revision",
    )?;
    let mut rows = changes.query(params![from.0.cast_signed(), upto.0.cast_signed()])?;
    let (mut entries, mut bytes, mut last) = (0, 0_usize, from);
    while let Some(row) = rows.next()? {
        let revision = Revision(row.get::<_, i64>(0)?.cast_unsigned());
        let full = entries >= limits::STORE_COMPACTED_ENTRIES || bytes >= limits::STORE_PAGE_BYTES;
        if full && revision > last {
            return Ok(last);
        }
        entries += 1;
        let length: Option<i64> = row.get(1)?;
        bytes =
            bytes.saturating_add(length.and_then(|length| usize::try_from(length).ok()).unwrap_or_default());
        last = revision;
    }
    Ok(upto)
}

/// The keys that changed after `from`, with the revision of their last change.
fn newest_of_each(
    connection: &Connection,
    from: Revision,
    upto: Revision,
) -> rusqlite::Result<Vec<(Vec<u8>, i64)>> {
    connection
        .prepare_cached(
            "SELECT key, max(revision) FROM changes WHERE revision > ?1 AND revision <= ?2 GROUP BY key",
        )?
        .query_map(params![from.0.cast_signed(), upto.0.cast_signed()], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// The first key of a range, and the first key after it.
fn bounds(prefix: &str, after: Option<&str>, backward: bool) -> (Vec<u8>, Vec<u8>) {
    // Keys are UTF-8, which never contains this byte.
    let (low, high) = (prefix.as_bytes().to_vec(), [prefix.as_bytes(), &[0xff]].concat());
    match after {
        // A key followed by a zero byte is the next possible key.
        Some(after) if !backward => (low.max([after.as_bytes(), &[0]].concat()), high),
        Some(before) => (low, high.min(before.as_bytes().to_vec())),
        None => (low, high),
    }
}
