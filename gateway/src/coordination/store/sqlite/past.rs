//! Reading: as it is, as it was, and what changed since.

use roverline_protocol::limits;
use rusqlite::params;

use super::super::{Change, Page, Range, Revision, StoreError};
use super::engine::row_entry;
use super::file::Db;

/// Changes of so many revisions are read at once.
const REVISIONS: u64 = 1_024;

/// The keys as they are.
macro_rules! entries_now {
    () => {
        "SELECT key, value, created, modified, version, lease FROM entries
         WHERE key >= ?1 AND key < ?2 AND modified <= ?3"
    };
}

/// The keys as they were: those that are as they were then, and of the others what they were. So the
/// near past, which is what is asked for, costs no more than what changed since.
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
        // One snapshot for all the reads of the page.
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
        let rows = statement.query_map(params![low, high, at.0.cast_signed(), one_more], row_entry)?;
        let mut entries = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        let more = entries.len() > limit;
        entries.truncate(limit);
        drop(statement);
        snapshot.finish()?;
        Ok(Page { entries, revision: at, more })
    }

    /// The changes under a prefix from a revision on, as many revisions as are read at once, and the
    /// revision to go on from.
    pub(super) fn changes(
        &mut self,
        prefix: &str,
        from: Revision,
    ) -> Result<(Vec<Change>, Revision), StoreError> {
        let snapshot = self.connection.unchecked_transaction()?;
        let (newest, compacted) = (self.newest()?, self.compacted()?);
        // What a compaction leaves of its own revision and those before is not all of them.
        if from <= compacted && compacted.0 > 0 {
            return Err(StoreError::Compacted(compacted.next()));
        }
        let to = Revision(newest.0.min(from.0.saturating_add(REVISIONS - 1)));
        let (low, high) = bounds(prefix, None, false);
        let mut statement = self.connection.prepare_cached(
            "SELECT key, value, created, revision, version, lease FROM changes
                 WHERE revision >= ?3 AND revision <= ?4 AND key >= ?1 AND key < ?2 ORDER BY revision, key",
        )?;
        let row_change = |row: &rusqlite::Row<'_>| -> rusqlite::Result<Change> {
            if row.get_ref(1)? == rusqlite::types::ValueRef::Null {
                let key = String::from_utf8_lossy(row.get_ref(0)?.as_bytes()?).into_owned();
                return Ok(Change::Delete { key, revision: Revision(row.get::<_, i64>(3)?.cast_unsigned()) });
            }
            row_entry(row).map(Change::Put)
        };
        let (first, last) = (from.0.cast_signed(), to.0.cast_signed());
        let rows = statement.query_map(params![low, high, first, last], row_change)?;
        let changes = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        drop(statement);
        snapshot.finish()?;
        Ok((changes, from.max(to.next())))
    }

    pub(super) fn compact(&mut self, before: Revision) -> Result<(), StoreError> {
        let upto = Revision(before.0.saturating_sub(1)).min(self.newest()?);
        let transaction = self.connection.transaction()?;
        let upto = upto.0.cast_signed();
        // The newest of each key stays, unless it is its end.
        let done = transaction
            .execute(
                "DELETE FROM changes WHERE revision <= ?1 AND (value IS NULL OR EXISTS (SELECT 1 FROM changes newer
                 WHERE newer.key = changes.key AND newer.revision > changes.revision AND newer.revision <= ?1))",
                [upto],
            )
            .and_then(|_| transaction.execute("UPDATE state SET compacted = max(compacted, ?1)", [upto]))
            .and_then(|_| transaction.commit());
        done.map_err(StoreError::from)
    }

    fn compacted(&self) -> Result<Revision, StoreError> {
        self.number("SELECT compacted FROM state").map(Revision)
    }
}

/// The first key of a range, and the first one behind it.
fn bounds(prefix: &str, after: Option<&str>, backward: bool) -> (Vec<u8>, Vec<u8>) {
    // Keys are UTF-8, where this byte never is.
    let (low, high) = (prefix.as_bytes().to_vec(), [prefix.as_bytes(), &[0xff]].concat());
    match after {
        // No key is between one and the same with a zero byte behind it.
        Some(after) if !backward => (low.max([after.as_bytes(), &[0]].concat()), high),
        Some(before) => (low, high.min(before.as_bytes().to_vec())),
        None => (low, high),
    }
}
