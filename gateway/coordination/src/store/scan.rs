//! Reads one key, or every entry under a prefix as of one revision, page by page.

use crate::limits;
use crate::store::{Entry, Page, Range, Revision, Store, StoreError};

/// Every entry under a prefix, as of one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// The entries, ordered by the bytes of their keys.
    pub(crate) entries: Vec<Entry>,
    /// The revision at which they are valid.
    pub(crate) revision: Revision,
}

/// The pages of a prefix, in key order.
pub(crate) struct Pages<'a> {
    store: &'a dyn Store,
    /// The next page; `None` after the last one.
    next: Option<Range>,
    /// Whether all pages are read at the revision of the first.
    pinned: bool,
}

impl<'a> Pages<'a> {
    /// All pages of one revision: this one, or the newest when the first page is read.
    pub(crate) fn pinned(store: &'a dyn Store, prefix: &str, at: Option<Revision>) -> Pages<'a> {
        Pages { pinned: true, ..Pages::unpinned(store, prefix, at) }
    }

    /// Each page at its own newest revision, unless `at` is given. Cheaper than a pinned scan, because no
    /// page is read from the history.
    pub(crate) fn unpinned(store: &'a dyn Store, prefix: &str, at: Option<Revision>) -> Pages<'a> {
        let (prefix, limit) = (prefix.to_owned(), limits::STORE_PAGE_ENTRIES);
        Pages { store, next: Some(Range { prefix, at, limit, ..Range::default() }), pinned: false }
    }

    /// The next page; `None` after the last one. There is always at least one, possibly empty.
    pub(crate) async fn next(&mut self) -> Result<Option<Page>, StoreError> {
        let Some(range) = self.next.take() else { return Ok(None) };
        let page = self.store.range(range.clone()).await?;
        if let Some(last) = page.entries.last().filter(|_| page.more) {
            let at = if self.pinned { Some(page.revision) } else { range.at };
            self.next = Some(Range { after: Some(last.key.clone()), at, ..range });
        }
        Ok(Some(page))
    }
}

/// Reads every entry under a prefix, as of a revision or, without one, of the newest.
pub(crate) async fn scan(
    store: &dyn Store,
    prefix: &str,
    at: Option<Revision>,
) -> Result<Snapshot, StoreError> {
    let mut pages = Pages::pinned(store, prefix, at);
    let mut snapshot = Snapshot::default();
    while let Some(page) = pages.next().await? {
        snapshot.entries.extend(page.entries);
        snapshot.revision = page.revision;
    }
    Ok(snapshot)
}

/// Reads exactly this key, and the revision at which that is valid.
pub(crate) async fn get(
    store: &dyn Store,
    key: &str,
    at: Option<Revision>,
) -> Result<(Option<Entry>, Revision), StoreError> {
    // Of all keys with this prefix, the key itself sorts first.
    let page = store.range(Range { prefix: key.to_owned(), limit: 1, at, ..Range::default() }).await?;
    Ok((page.entries.into_iter().find(|entry| entry.key == key), page.revision))
}

/// The newest revision of the store.
pub(crate) async fn newest_revision(store: &dyn Store, prefix: &str) -> Result<Revision, StoreError> {
    Ok(get(store, prefix, None).await?.1)
}
