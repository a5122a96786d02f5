//! rosbag2's SQLite files.
//!
//! The file is opened immutable, so nothing is locked and nothing is written beside it. Messages
//! come in order of (timestamp, id). Two kinds of file are read in order of id instead, each page
//! of [`pages::ROWS`] rows sorted by time: those without an index on the timestamp, which would
//! have to be sorted as a whole, and those that are cut short, whose index is the first to go.

mod pages;
mod schema;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use crate::bag::db3::pages::{Order, Pages, Row};
use crate::bag::recording::{Channel, Damage, Event, Message, Recording, Skipped, Span, Survey, add};
use crate::{SourceError, Stop};

/// A rosbag2 SQLite file.
pub(super) struct Db3Recording {
    path: PathBuf,
    name: String,
    order: Order,
    truncated: bool,
    span: Option<Span>,
    channels: Vec<Channel>,
    ignored: Vec<bool>,
    connection: Option<Connection>,
    pages: Pages,
    orphans: u64,
}

impl Db3Recording {
    /// Opens a file that starts with SQLite's magic.
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
        let order = if indexed && !truncated { Order::Time } else { Order::Id };
        // A file that is damaged further in may fail here; reading it will say where.
        let span = if order == Order::Time { span(&connection).unwrap_or(None) } else { None };
        let empty = span.is_none() && is_empty(&connection).unwrap_or(false);
        if empty && !truncated {
            return Err(SourceError(format!("{name} is a recording without messages: nothing to play")));
        }
        Ok(Db3Recording {
            path: path.to_owned(),
            name: name.to_owned(),
            order,
            truncated,
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

    /// The next row, without its payload, and the index of its channel.
    fn row(&mut self) -> Result<Option<(usize, Row)>, Damage> {
        loop {
            let Some(connection) = &self.connection else { return Ok(None) };
            match self.pages.next(connection) {
                Ok(Some(row)) => match self.index(row.topic) {
                    Some(channel) => return Ok(Some((channel, row))),
                    None => self.orphan(row.topic),
                },
                Ok(None) => return Ok(None),
                Err(e) => return Err(self.damage(&e)),
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

    fn message(&self, channel: usize, row: &Row) -> Result<Message, Damage> {
        let data = match &self.connection {
            Some(connection) if !self.ignored[channel] => {
                payload(connection, row.id).map_err(|e| self.damage(&e))?
            }
            _ => Bytes::new(),
        };
        Ok(Message { channel, log_time: row.time, publish_time: row.time, data })
    }

    /// An error at the place that reading has come to.
    fn damage(&self, error: &rusqlite::Error) -> Damage {
        let place = match (self.pages.last(), self.span) {
            (None, _) => "its first row".to_owned(),
            (Some(row), None) => format!("after row {} (time {})", row.id, row.time),
            (Some(row), Some(span)) => {
                format!("after row {} ({:.3} s in)", row.id, row.time.saturating_sub(span.first) as f64 / 1e9)
            }
        };
        let what = if self.truncated { "the file is cut short".to_owned() } else { explain(error) };
        Damage { file: self.name.clone(), place, what }
    }
}

impl Recording for Db3Recording {
    fn channels(&self) -> &[Channel] {
        &self.channels
    }

    fn span(&self) -> Option<Span> {
        self.span
    }

    fn ignore(&mut self, channel: usize) {
        if let Some(ignored) = self.ignored.get_mut(channel) {
            *ignored = true;
        }
    }

    fn rewind(&mut self) -> Result<(), Damage> {
        self.pages = Pages::new(self.order);
        self.connection = None;
        let connection = connect(&self.path, self.truncated).map_err(|e| self.damage(&e))?;
        self.connection = Some(connection);
        Ok(())
    }

    fn skip_to(&mut self, from: i64, stop: &Stop) -> Result<Skipped, Damage> {
        if self.order != Order::Time {
            return Ok(Skipped::default());
        }
        let (mut counts, mut last) = (Vec::new(), Vec::new());
        while let Some((channel, row)) = self.row()? {
            if row.time >= from || stop.is_set() {
                self.pages.put_back(row);
                break;
            }
            add(&mut counts, channel, 1);
            if self.channels[channel].qos.transient_local {
                last.retain(|(held, _)| *held != channel);
                last.push((channel, row));
            }
        }
        let latched = last.iter().map(|(channel, row)| Ok((counts[*channel], self.message(*channel, row)?)));
        Ok(Skipped { latched: latched.collect::<Result<_, Damage>>()?, counts })
    }

    fn next(&mut self) -> Result<Option<Event>, Damage> {
        let Some((channel, row)) = self.row()? else {
            return match self.truncated {
                true => Err(self.damage(&rusqlite::Error::QueryReturnedNoRows)),
                false => Ok(None),
            };
        };
        Ok(Some(Event::Message(self.message(channel, &row)?)))
    }

    fn survey(&mut self, stop: &Stop) -> Result<Option<Survey>, Damage> {
        let mut survey = Survey::default();
        self.rewind()?;
        while let Some((channel, row)) = self.row()? {
            survey.count(channel, row.time);
            if stop.is_set() {
                return Ok(None);
            }
        }
        Ok(Some(survey))
    }
}

/// Opens the file so that SQLite neither locks nor writes anything.
fn connect(path: &Path, truncated: bool) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri(path), flags)?;
    // A recording is data: nothing in it may call functions or touch other tables.
    connection.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;")?;
    if truncated {
        // SQLite refuses a file with fewer pages than its header says, except in this mode.
        connection.execute_batch("PRAGMA writable_schema = ON;")?;
    }
    Ok(connection)
}

/// The path as a SQLite URI. Every byte that could mean something in a URI is escaped.
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

/// Whether the file has fewer bytes than its own header says.
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

/// Whether a write-ahead log with something in it lies beside the file.
fn has_wal(path: &Path) -> bool {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    std::fs::metadata(wal).is_ok_and(|meta| meta.len() > 0)
}

fn span(connection: &Connection) -> rusqlite::Result<Option<Span>> {
    // Two statements: SQLite answers each from an end of the index.
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

/// SQLite's own sentence, without the library's wrapping.
fn explain(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
        other => other.to_string(),
    }
}
