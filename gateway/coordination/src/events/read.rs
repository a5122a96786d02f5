//! Reading: the whole log, or what an index leads to; forward or backward, page by page.

use roverline_protocol::limits;

use crate::events::entry::{
    self, CORRELATION, LOG, STREAM, Stored, TYPE, index_key, index_prefix, log_key, seq_of,
};
use crate::events::{EventError, Events, get};
use crate::store::Range;

/// Which events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Select {
    /// All.
    #[default]
    All,
    /// Those of a stream.
    Stream(String),
    /// Those of a type.
    Type(String),
    /// Those that belong together.
    Correlation(String),
}

/// What is to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Which events.
    pub select: Select,
    /// The number in the log to begin with; without it, the end that is read first.
    pub from: Option<u64>,
    /// From the newest to the oldest.
    pub backward: bool,
    /// At most so many; bounded by [`limits::EVENT_PAGE_ENTRIES`].
    pub limit: usize,
}

/// Events in the order that was asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventPage {
    /// The events.
    pub events: Vec<Stored>,
    /// Where the next page begins, if there is more.
    pub next: Option<u64>,
}

/// Events that are read at once: as many as fill a page if each is as long as can be.
const CHUNK: usize = limits::EVENT_PAGE_BYTES / limits::EVENT_DATA_BYTES;

impl Events {
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
        let mut walk =
            Walk { index, name: name.map(String::as_str), backward: query.backward, at: query.from };
        let (mut page, mut bytes, mut more) = (EventPage::default(), 0, true);
        while more && page.events.len() < limit && bytes < limits::EVENT_PAGE_BYTES {
            let chunk = CHUNK.min(limit - page.events.len());
            let (events, rest) = self.chunk(&mut walk, chunk).await?;
            // What was removed since the check is told, not skipped.
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
        page.next = if more { walk.at.filter(|at| *at > 0) } else { None };
        Ok(page)
    }

    /// One event of the log.
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

    /// The next events of a walk, and whether there are more.
    async fn chunk(&self, walk: &mut Walk<'_>, limit: usize) -> Result<(Vec<Stored>, bool), EventError> {
        let page = self.0.store.range(walk.range(limit)).await?;
        let (mut events, mut since) = (Vec::with_capacity(page.entries.len()), 0);
        for found in &page.entries {
            // To read many takes long; whatever else this thread does gets its turn.
            since += found.value.len();
            if since > limits::EVENT_DATA_BYTES {
                since = 0;
                tokio::task::yield_now().await;
            }
            let seq = seq_of(&found.key).ok_or(EventError::Damaged)?;
            walk.at = Some(if walk.backward { seq.saturating_sub(1) } else { seq + 1 });
            if walk.name.is_none() {
                events.push(Stored::read(&found.value)?);
            } else if let Some(event) = self.indexed(seq).await? {
                events.push(event);
            }
        }
        Ok((events, page.more))
    }

    /// An event that an index has; `None` where it was removed meanwhile.
    async fn indexed(&self, seq: u64) -> Result<Option<Stored>, EventError> {
        let found = get(&*self.0.store, &log_key(seq)).await?;
        found.map(|found| Stored::read(&found.value)).transpose()
    }
}

/// A way through the log or an index.
struct Walk<'a> {
    index: &'static str,
    /// Of an index; `None` is the log itself.
    name: Option<&'a str>,
    backward: bool,
    /// The next number.
    at: Option<u64>,
}

impl Walk<'_> {
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
