//! Reads rosbag2's SQLite files.
//!
//! The file is opened as immutable, so SQLite takes no lock and writes no file beside it. Messages are
//! read in order of (timestamp, id). Two kinds of file are read in order of id instead, with each page
//! of [`pages::ROWS`] rows sorted by time: files without an index on the timestamp, which SQLite would
//! have to sort as a whole, and truncated files, which lose the index first.

mod pages;
mod schema;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use crate::bag::db3::pages::{Pages, Row, RowOrder};
use crate::bag::recording::{
    Channel, CorruptRecording, Event, Message, Recording, RecordingStats, Skipped, Span, add, keep_last,
};
use crate::{SourceError, StopFlag};

/// A rosbag2 SQLite file.
pub(super) struct Db3Recording {
    path: PathBuf,
    name: String,
    order: RowOrder,
    truncated: bool,
    empty: bool,
    span: Option<Span>,
    channels: Vec<Channel>,
    ignored: Vec<bool>,
    connection: Option<Connection>,
    pages: Pages,
    orphans: u64,
}

impl Db3Recording {
    /// Opens a file that starts with the SQLite magic.
    pub(super) fn open(path: &Path, name: &str) -> Result<Db3Recording, SourceError> {
        let truncated = is_truncated(path);
        let fail = |e: rusqlite::Error| SourceError(format!("cannot read {name}: {}", explain(&e)));
        let connection = connect(path, truncated).map_err(fail)?;
        let pending = has_wal(path);
        if !schema::is_rosbag2(&connection).map_err(fail)? {
            let hint = if pending { ", or they are still in its -wal file" } else { "" };
            return Err(SourceError(format!(
                "{name} is a SQLite file without rosbag2's tables `topics` and `messages`{hint}"
            )));
        }
        if pending {
            tracing::warn!(
                "{name}: the recorder left messages in {name}-wal that are not played; to add them, let SQLite merge a copy of both files: sqlite3 {name} 'PRAGMA wal_checkpoint(TRUNCATE)'"
            );
        }
        let channels = schema::channels(&connection).map_err(fail)?;
        let indexed = schema::has_time_index(&connection).map_err(fail)?;
        let order = if indexed && !truncated { RowOrder::Time } else { RowOrder::Id };
        // A file that is damaged further in may fail here; reading it reports the position later.
        let span = if order == RowOrder::Time { span(&connection).unwrap_or(None) } else { None };
        let empty = span.is_none() && !truncated && is_empty(&connection).unwrap_or(false);
        Ok(Db3Recording {
            path: path.to_owned(),
            name: name.to_owned(),
            order,
            truncated,
            empty,
            span,
            ignored: vec![false; channels.len()],
            channels,
            connection: None,
            pages: Pages::new(order),
            orphans: 0,
        })
    }

    fn index(&self, topic: i64) -> Option<usize> {
        self.channels.iter().position(|channel| i64::from(channel.id) == topic)
    }

    /// The next row, without its payload, and its channel index.
    fn row(&mut self) -> Result<Option<(usize, Row)>, CorruptRecording> {
        loop {
            let Some(connection) = &self.connection else { return Ok(None) };
            match self.pages.next(connection) {
                Ok(Some(row)) => match self.index(row.topic) {
                    Some(channel) => return Ok(Some((channel, row))),
                    None => self.orphan(row.topic),
                },
                Ok(None) => return Ok(None),
                Err(e) => return Err(self.corruption(&e)),
            }
        }
    }

    fn orphan(&mut self, topic: i64) {
        self.orphans += 1;
        if self.orphans == 1 {
            tracing::warn!(
                "{}: messages of topic number {topic} are left out: the file does not say what it is",
                self.name
            );
        }
    }

    fn message(&self, channel: usize, row: &Row) -> Result<Message, CorruptRecording> {
        let data = match &self.connection {
            Some(connection) if !self.ignored[channel] => {
                payload(connection, row.id).map_err(|e| self.corruption(&e))?
            }
            _ => Bytes::new(),
        };
        Ok(Message { channel, log_time: row.time, publish_time: row.time, data })
    }

    /// An error at the current reading position.
    fn corruption(&self, error: &rusqlite::Error) -> CorruptRecording {
        let location = match (self.pages.last(), self.span) {
            (None, _) => "its first row".to_owned(),
            (Some(row), None) => format!("after row {} (time {})", row.id, row.time),
            (Some(row), Some(span)) => {
                format!("after row {} ({:.3} s in)", row.id, row.time.saturating_sub(span.first) as f64 / 1e9)
            }
        };
        let reason = if self.truncated { "the file is cut short".to_owned() } else { explain(error) };
        CorruptRecording { file: self.name.clone(), location, reason }
    }
}

impl Recording for Db3Recording {
    fn channels(&self) -> &[Channel] {
        &self.channels
    }

    fn span(&self) -> Option<Span> {
        self.span
    }

    fn is_empty(&self) -> bool {
        self.empty
    }

    fn ignore(&mut self, channel: usize) {
        if let Some(ignored) = self.ignored.get_mut(channel) {
            *ignored = true;
        }
    }

    fn rewind(&mut self) -> Result<(), CorruptRecording> {
        self.pages = Pages::new(self.order);
        self.connection = None;
        let connection = connect(&self.path, self.truncated).map_err(|e| self.corruption(&e))?;
        self.connection = Some(connection);
        Ok(())
    }

    fn skip_to(&mut self, from: i64, stop: &StopFlag) -> Result<Skipped, CorruptRecording> {
        if self.order != RowOrder::Time {
            return Ok(Skipped::default());
        }
        let (mut counts, mut last) = (Vec::new(), Vec::new());
        while let Some((channel, row)) = self.row()? {
            if row.time >= from || stop.is_set() {
                self.pages.put_back(row);
                break;
            }
            add(&mut counts, channel, 1);
            let most = self.channels[channel].kept_messages();
            if most > 0 {
                keep_last(&mut last, channel, (counts[channel], row), most);
            }
        }
        let message =
            |(channel, (ordinal, row)): &(usize, (u64, Row))| Ok((*ordinal, self.message(*channel, row)?));
        let latched = last.iter().map(message);
        Ok(Skipped { latched: latched.collect::<Result<_, CorruptRecording>>()?, counts })
    }

    fn next(&mut self) -> Result<Option<Event>, CorruptRecording> {
        let Some((channel, row)) = self.row()? else {
            return match self.truncated {
                true => Err(self.corruption(&rusqlite::Error::QueryReturnedNoRows)),
                false => Ok(None),
            };
        };
        Ok(Some(Event::Message(self.message(channel, &row)?)))
    }

    fn read_stats(&mut self, stop: &StopFlag) -> Result<Option<RecordingStats>, CorruptRecording> {
        let mut stats = RecordingStats::default();
        self.rewind()?;
        while let Some((channel, row)) = self.row()? {
            stats.count(channel, row.time);
            if stop.is_set() {
                return Ok(None);
            }
        }
        Ok(Some(stats))
    }
}

/// Opens the file so that SQLite neither locks nor writes.
fn connect(path: &Path, truncated: bool) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri(path), flags)?;
    // A recording is untrusted data: nothing in it may call functions or touch other tables.
    connection.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;")?;
    if truncated {
        // SQLite rejects a file with fewer pages than its header says, except in this mode.
        connection.execute_batch("PRAGMA writable_schema = ON;")?;
    }
    Ok(connection)
}

/// The path as a SQLite URI, with every byte that is special in a URI percent-encoded.
fn uri(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut uri = "file://".to_owned();
    for byte in absolute.as_os_str().as_bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'~' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                uri.push(char::from(*byte))
            }
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push_str("?mode=ro&immutable=1");
    uri
}

/// Whether the file is shorter than its header says.
fn is_truncated(path: &Path) -> bool {
    use std::io::Read;
    let mut head = [0; 100];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut head));
    let page = match u16::from_be_bytes([head[16], head[17]]) {
        1 => 1 << 16,
        bytes => u64::from(bytes),
    };
    let pages = u64::from(u32::from_be_bytes([head[28], head[29], head[30], head[31]]));
    read.is_err() || std::fs::metadata(path).is_ok_and(|meta| meta.len() < page * pages)
}

/// Whether a non-empty write-ahead log lies beside the file.
fn has_wal(path: &Path) -> bool {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    std::fs::metadata(wal).is_ok_and(|meta| meta.len() > 0)
}

fn span(connection: &Connection) -> rusqlite::Result<Option<Span>> {
    // Two statements, so SQLite answers each from one end of the index.
    let first = connection.query_row("SELECT min(timestamp) FROM messages", [], |row| row.get(0))?;
    let last = connection.query_row("SELECT max(timestamp) FROM messages", [], |row| row.get(0))?;
    Ok(Option::zip(first, last).map(|(first, last)| Span { first, last }))
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    let first = connection.query_row("SELECT id FROM messages LIMIT 1", [], |_| Ok(())).optional()?;
    Ok(first.is_none())
}

fn payload(connection: &Connection, id: i64) -> rusqlite::Result<Bytes> {
    let mut statement = connection.prepare_cached("SELECT data FROM messages WHERE id = ?1")?;
    statement.query_row([id], |row| Ok(Bytes::copy_from_slice(row.get_ref(0)?.as_blob()?)))
}

/// SQLite's own message, without the library's prefix.
fn explain(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
        other => other.to_string(),
    }
}
