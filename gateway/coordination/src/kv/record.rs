//! The stored form of a value: a line of JSON with its author, followed by the value.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::kv::{Author, Item, KvChange, KvError, PREFIX};
use crate::limits;
use crate::store::{Change, Entry};

/// Upper bound of the first line, however the name is escaped.
const HEAD_BYTES: usize = 4_096;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct Head<'a> {
    /// The author.
    by: &'a str,
    /// The unverified name that the author declares.
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
    /// The author's time, for display.
    at_ns: i64,
}

/// A description of the last write, the only trace of a deletion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastWrite {
    /// The key.
    pub key: String,
    /// Whether it was a deletion.
    pub deleted: bool,
    /// The author.
    pub by: String,
    /// The unverified name that the author declares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The author's time, for display: nanoseconds since 1970.
    pub at_ns: i64,
}

impl LastWrite {
    pub(super) fn new(key: &str, deleted: bool, author: &Author) -> LastWrite {
        let (by, client) = author.shown();
        let client = client.map(str::to_owned);
        LastWrite { key: key.to_owned(), deleted, by: by.to_owned(), client, at_ns: author.at_ns }
    }

    pub(super) fn bytes(&self) -> Bytes {
        // Our own types always serialize.
        Bytes::from(serde_json::to_vec(self).unwrap_or_default())
    }
}

/// The author of a stored value, and how many bytes it counts.
pub(super) fn counted(entry: &Entry) -> Option<(Arc<str>, u64)> {
    let item = item(entry)?;
    Some((item.author.by, (entry.key.len() + entry.value.len()) as u64))
}

impl Author {
    /// Both names, truncated to [`limits::KV_AUTHOR_CHARS`].
    pub(super) fn shown(&self) -> (&str, Option<&str>) {
        (truncated(&self.by), self.client.as_deref().map(truncated))
    }
}

fn truncated(name: &str) -> &str {
    let end = name.char_indices().nth(limits::KV_AUTHOR_CHARS).map_or(name.len(), |(at, _)| at);
    &name[..end]
}

/// The stored form.
pub(super) fn pack(value: &Bytes, author: &Author) -> Bytes {
    let (by, client) = author.shown();
    let head = Head { by, client, at_ns: author.at_ns };
    // Our own types always serialize, and compact JSON contains no line break.
    let head = serde_json::to_vec(&head).unwrap_or_default();
    let mut packed = BytesMut::with_capacity(head.len() + 1 + value.len());
    packed.put_slice(&head);
    packed.put_u8(b'\n');
    packed.put_slice(value);
    packed.freeze()
}

/// The value and its author. A value written by another program has no author and is returned whole.
fn unpack(stored: &Bytes) -> (Bytes, Author) {
    // Limited, because a value of another program may have no line break.
    let head = stored.iter().take(HEAD_BYTES).position(|byte| *byte == b'\n').and_then(|end| {
        /// Owned, because a name may contain escapes.
        #[derive(Deserialize)]
        struct Owned {
            by: String,
            #[serde(default)]
            client: Option<String>,
            at_ns: i64,
        }
        let head: Owned = serde_json::from_slice(&stored[..end]).ok()?;
        Some((
            stored.slice(end + 1..),
            Author { by: head.by.into(), client: head.client.map(Into::into), at_ns: head.at_ns },
        ))
    });
    head.unwrap_or_else(|| (stored.clone(), Author { by: Arc::from(""), client: None, at_ns: 0 }))
}

/// The item of a store entry, if it is one.
pub(super) fn item(entry: &Entry) -> Option<Item> {
    let key = entry.key.strip_prefix(PREFIX)?;
    let (value, author) = unpack(&entry.value);
    Some(Item {
        key: Arc::from(key),
        value,
        version: entry.version,
        created: entry.created,
        modified: entry.modified,
        lease: entry.lease,
        author,
    })
}

/// The change of an item, if it is one.
pub(super) fn change(change: &Change) -> Option<KvChange> {
    match change {
        Change::Put(entry) => item(entry).map(KvChange::Put),
        Change::Delete { key, revision } => {
            Some(KvChange::Delete { key: key.strip_prefix(PREFIX)?.to_owned(), revision: *revision })
        }
    }
}

/// The store key of a name.
pub(super) fn key(name: &str) -> Result<String, KvError> {
    let bad = name.is_empty() || name.len() > limits::KV_KEY_BYTES || name.contains(char::is_control);
    if bad { Err(KvError::Key) } else { Ok(format!("{PREFIX}{name}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn what_is_packed_comes_out_whole(
            value: Vec<u8>,
            by in "\\PC{0,40}|[\n\"\\\\]{0,5}",
            client in proptest::option::of("\\PC{0,40}"),
            at_ns: i64,
        ) {
            let client = client.map(Into::into);
            let (value, author) = (Bytes::from(value), Author { by: by.into(), client, at_ns });
            assert_eq!(unpack(&pack(&value, &author)), (value, author));
        }

        #[test]
        fn what_is_not_ours_is_a_value(stored: Vec<u8>) {
            let stored = Bytes::from(stored);
            let (value, author) = unpack(&stored);
            assert!(!author.by.is_empty() || author.at_ns != 0 || value == stored);
        }
    }

    #[test]
    fn a_long_name_is_cut_and_names_of_keys_are_checked() {
        let author = Author { by: "é".repeat(limits::KV_AUTHOR_CHARS + 9).into(), client: None, at_ns: 1 };
        let (_, kept) = unpack(&pack(&Bytes::new(), &author));
        assert_eq!(kept.by.chars().count(), limits::KV_AUTHOR_CHARS);
        for good in ["a", "a/b//c", "/", "é", &"x".repeat(limits::KV_KEY_BYTES)] {
            assert!(key(good).is_ok(), "{good}");
        }
        for bad in ["", "a\nb", "\0", &"x".repeat(limits::KV_KEY_BYTES + 1)] {
            assert_eq!(key(bad), Err(KvError::Key), "{bad}");
        }
    }
}
