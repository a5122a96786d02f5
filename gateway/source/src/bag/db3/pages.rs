//! Reads the rows of `messages` page by page, without their payloads.

use std::collections::VecDeque;

use rusqlite::{Connection, Statement};

/// Rows fetched per query.
pub(super) const ROWS: usize = 1024;

/// A message without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    pub(super) time: i64,
    pub(super) id: i64,
    pub(super) topic: i64,
}

/// The order in which rows are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowOrder {
    /// By time, then by id.
    Time,
    /// By id, with each page sorted by time.
    Id,
}

/// One pass over the table.
pub(super) struct Pages {
    order: RowOrder,
    queue: VecDeque<Row>,
    /// The next page starts after this row.
    after: Row,
    last: Option<Row>,
    ended: bool,
    /// An error found in the middle of a page; reported after the rows before it.
    error: Option<rusqlite::Error>,
}

impl Pages {
    pub(super) fn new(order: RowOrder) -> Pages {
        let after = Row { time: i64::MIN, id: i64::MIN, topic: 0 };
        Pages { order, queue: VecDeque::new(), after, last: None, ended: false, error: None }
    }

    /// The next row.
    pub(super) fn next(&mut self, connection: &Connection) -> rusqlite::Result<Option<Row>> {
        if self.queue.is_empty() && !self.ended {
            self.error = self.fetch(connection).err();
            self.ended = self.error.is_some() || self.queue.len() < ROWS;
        }
        match self.queue.pop_front() {
            Some(row) => {
                self.last = Some(row);
                Ok(Some(row))
            }
            None => self.error.take().map_or(Ok(None), Err),
        }
    }

    /// Undoes a `next`.
    pub(super) fn put_back(&mut self, row: Row) {
        self.queue.push_front(row);
    }

    /// The last row returned.
    pub(super) fn last(&self) -> Option<Row> {
        self.last
    }

    fn fetch(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let Row { time, id, .. } = self.after;
        match self.order {
            RowOrder::Time => {
                let mut statement = connection.prepare_cached(
                    "SELECT timestamp, id, topic_id FROM messages \
                     WHERE (timestamp, id) > (?1, ?2) ORDER BY timestamp, id LIMIT ?3",
                )?;
                self.read(&mut statement, [time, id, ROWS as i64])
            }
            RowOrder::Id => {
                let mut statement = connection.prepare_cached(
                    "SELECT timestamp, id, topic_id FROM messages WHERE id > ?1 ORDER BY id LIMIT ?2",
                )?;
                let read = self.read(&mut statement, [id, ROWS as i64]);
                self.queue.make_contiguous().sort();
                read
            }
        }
    }

    fn read<P: rusqlite::Params>(
        &mut self,
        statement: &mut Statement<'_>,
        parameters: P,
    ) -> rusqlite::Result<()> {
        let mut rows = statement.query(parameters)?;
        while let Some(row) = rows.next()? {
            let row = Row { time: row.get(0)?, id: row.get(1)?, topic: row.get(2)? };
            self.after = row;
            self.queue.push_back(row);
        }
        Ok(())
    }
}
