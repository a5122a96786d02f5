//! Reads the log or one of its indexes, forward or backward, page by page.

use crate::events::entry::{
    self, CORRELATION, LOG, STREAM, Stored, TYPE, index_key, index_prefix, log_key, seq_of,
};
use crate::events::{EventError, Events, get};
use crate::limits;
use crate::store::Range;

/// Bytes of events read at once, one event at least.
const EVENT_PAGE_BYTES: usize = 4 << 20;

/// Which events to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Select {
    /// All events.
    #[default]
    All,
    /// The events of a stream.
    Stream(String),
    /// The events of a type.
    Type(String),
    /// The events with a correlation id.
    Correlation(String),
}

/// A query for events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Which events to read.
    pub select: Select,
    /// The sequence number to begin with; without it, the beginning or, backward, the end of the log.
    pub from: Option<u64>,
    /// From the newest to the oldest.
    pub backward: bool,
    /// The largest number of events; at most [`limits::EVENT_PAGE_ENTRIES`].
    pub limit: usize,
}

/// A page of events in the requested order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventPage {
    /// The events.
    pub events: Vec<Stored>,
    /// The sequence number at which the next page begins, if there is one.
    pub next: Option<u64>,
}

/// Events per read from the store: they fill a page if each has the maximum length.
const CHUNK: usize = EVENT_PAGE_BYTES / limits::EVENT_DATA_BYTES;

impl Events {
    /// The event with this id, if the log has one.
    pub async fn find(&self, id: &str) -> Result<Option<Stored>, EventError> {
        let Some(found) = get(&*self.0.store, &entry::id_key(id)).await? else { return Ok(None) };
        let seq =
            std::str::from_utf8(&found.value).ok().and_then(|text| text.split_once(' ')?.0.parse().ok());
        let log = get(&*self.0.store, &log_key(seq.ok_or(EventError::Damaged)?)).await?;
        // Retention may have removed it meanwhile.
        log.map(|entry| Stored::read(&entry.value)).transpose()
    }

    /// Reads a page of events.
    pub async fn read(&self, query: Query) -> Result<EventPage, EventError> {
        let limit = query.limit.clamp(1, limits::EVENT_PAGE_ENTRIES);
        if query.from.is_some_and(|from| from == 0) {
            return Err(EventError::None(0));
        }
        self.check_kept(query.from).await?;
        let (index, name) = match &query.select {
            Select::All => (LOG, None),
            Select::Stream(name) => (STREAM, Some(name)),
            Select::Type(name) => (TYPE, Some(name)),
            Select::Correlation(name) => (CORRELATION, Some(name)),
        };
        if let Some(name) = name {
            entry::check_name("what is asked for", name)?;
        }
        let mut cursor =
            LogCursor { index, name: name.map(String::as_str), backward: query.backward, at: query.from };
        let (mut page, mut bytes, mut more) = (EventPage::default(), 0, true);
        while more && page.events.len() < limit && bytes < EVENT_PAGE_BYTES {
            let chunk = CHUNK.min(limit - page.events.len());
            let (events, rest) = self.chunk(&mut cursor, chunk).await?;
            // Events that were removed since the check are reported, not skipped.
            if let (Some(from), Select::All, false, true) =
                (query.from, &query.select, query.backward, page.events.is_empty())
                && events.first().is_some_and(|first| first.event.seq != from)
            {
                self.check_kept(query.from).await?;
                return Err(EventError::Damaged);
            }
            bytes += events.iter().map(|event| event.size).sum::<usize>();
            page.events.extend(events);
            more = rest;
        }
        page.next = if more { cursor.at.filter(|at| *at > 0) } else { None };
        Ok(page)
    }

    /// Reads one event.
    pub async fn event(&self, seq: u64) -> Result<Stored, EventError> {
        match get(&*self.0.store, &log_key(seq)).await? {
            Some(found) => Stored::read(&found.value),
            None => {
                self.check_kept(Some(seq)).await?;
                Err(EventError::None(seq))
            }
        }
    }

    async fn check_kept(&self, from: Option<u64>) -> Result<(), EventError> {
        let Some(from) = from else { return Ok(()) };
        match self.floor().await? {
            Some(floor) if from <= floor.seq => Err(EventError::Removed(floor.seq + 1)),
            _ => Ok(()),
        }
    }

    /// Reads the next events at the cursor, and whether there are more.
    async fn chunk(
        &self,
        cursor: &mut LogCursor<'_>,
        limit: usize,
    ) -> Result<(Vec<Stored>, bool), EventError> {
        let page = self.0.store.range(cursor.range(limit)).await?;
        let (mut events, mut since) = (Vec::with_capacity(page.entries.len()), 0);
        for found in &page.entries {
            // Reading many events takes long; yield to other tasks.
            since += found.value.len();
            if since > limits::EVENT_DATA_BYTES {
                since = 0;
                tokio::task::yield_now().await;
            }
            let seq = seq_of(&found.key).ok_or(EventError::Damaged)?;
            cursor.at = Some(if cursor.backward { seq.saturating_sub(1) } else { seq + 1 });
            if cursor.name.is_none() {
                events.push(Stored::read(&found.value)?);
            } else if let Some(event) = self.indexed(seq).await? {
                events.push(event);
            }
        }
        Ok((events, page.more))
    }

    /// An event found by an index; `None` if it was removed meanwhile.
    async fn indexed(&self, seq: u64) -> Result<Option<Stored>, EventError> {
        let found = get(&*self.0.store, &log_key(seq)).await?;
        found.map(|found| Stored::read(&found.value)).transpose()
    }
}

/// A position in the log or in an index.
struct LogCursor<'a> {
    index: &'static str,
    /// The name within an index; `None` for the log itself.
    name: Option<&'a str>,
    backward: bool,
    /// The next sequence number.
    at: Option<u64>,
}

impl LogCursor<'_> {
    fn range(&self, limit: usize) -> Range {
        let key = |seq| match self.name {
            Some(name) => index_key(self.index, name, seq),
            None => log_key(seq),
        };
        let before = |at: u64| if self.backward { at.checked_add(1) } else { at.checked_sub(1) };
        Range {
            prefix: self.name.map_or(self.index.to_owned(), |name| index_prefix(self.index, name)),
            after: self.at.and_then(before).map(key),
            backward: self.backward,
            limit,
            at: None,
        }
    }
}
