//! Values that a team shares. A value is kept and given back as it was written: read again, its
//! numbers might not be the same.

mod cache;
mod routes;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use roverline_coordination::kv::{Author, Cache, Expect, Item, KvError};
use roverline_coordination::store::Revision;
use roverline_protocol::api::kv::{KvDocument, KvList, KvWritten};
use roverline_protocol::limits;
use roverline_source::clock::unix_ns;
use serde_json::value::{RawValue, to_raw_value};

use crate::api::json_depth::Depth;
pub(crate) use crate::api::kv::routes::ROUTES;
use crate::api::request::{self, Ask, Given};
use crate::api::response::{Answer, Failure, json};

/// What is done for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    List,
    Get,
    Put,
    Delete,
    CacheGet,
    CachePut,
    CacheDelete,
    CacheStatus,
    CacheAll,
    CacheMetrics,
}

impl From<KvError> for Failure {
    fn from(error: KvError) -> Failure {
        let status = match &error {
            KvError::Key => StatusCode::UNPROCESSABLE_ENTITY,
            KvError::Value(_) => StatusCode::PAYLOAD_TOO_LARGE,
            KvError::Unknown(_) => StatusCode::NOT_FOUND,
            KvError::Conflict { .. } => StatusCode::CONFLICT,
            KvError::Store(error) => return error.clone().into(),
        };
        Failure::new(status, error.to_string())
    }
}

/// Does it.
pub(crate) async fn answer(ask: &Ask<'_>, action: Action) -> Result<Answer, Failure> {
    match action {
        Action::List => list(ask).await,
        Action::Get => get(ask).await,
        Action::Put => put(ask).await,
        Action::Delete => delete(ask).await,
        Action::CacheGet => cache::get(ask).await,
        Action::CachePut => cache::put(ask).await,
        Action::CacheDelete => cache::delete(ask).await,
        Action::CacheStatus => cache::status(ask),
        Action::CacheAll => cache::all(ask),
        Action::CacheMetrics => Ok(cache::metrics(ask)),
    }
}

fn shared<'a>(ask: &Ask<'a>) -> &'a Cache {
    &ask.endpoint.coordination.kv
}

fn author(ask: &Ask<'_>) -> Author {
    Author { by: ask.asker().into(), at_ns: unix_ns() }
}

async fn list(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let given = ask.parameters()?;
    let limit = given.number("limit").and_then(|limit| usize::try_from(limit).ok());
    let prefix = given.text("prefix").unwrap_or_default();
    let limit = limit.unwrap_or(limits::API_PAGE_ENTRIES);
    let listing = shared(ask).list(prefix, given.text("after"), at(&given), limit).await?;
    let bytes = listing.items.iter().map(|item| item.value.len()).sum();
    let make = move || {
        let keys = listing.items.iter().map(document).collect();
        KvList { keys, revision: listing.revision.0, next: listing.next }
    };
    ask.tell(bytes, make).await
}

async fn get(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let (given, key) = (ask.parameters()?, ask.name()?);
    let item = match at(&given) {
        Some(at) => shared(ask).get_at(&key, at).await?,
        None if given.flag("linearizable") => shared(ask).get_linearizable(&key).await?.item,
        None => shared(ask).get(&key).await?.item,
    };
    let item = item.ok_or(KvError::Unknown(key))?;
    // A version may come again, when a key is deleted and made anew; a revision does not.
    let tag = format!("\"{}\"", item.modified.0);
    let known = ask.headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut known = known.flat_map(|value| value.split(',')).map(str::trim);
    let mut answer = match known.any(|known| known == "*" || known.trim_start_matches("W/") == tag) {
        true => empty(StatusCode::NOT_MODIFIED),
        false => ask.tell(item.value.len(), move || document(&item)).await?,
    };
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        answer.headers_mut().insert(header::ETAG, tag);
    }
    Ok(answer)
}

async fn put(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let (given, key) = (ask.parameters()?, ask.name()?);
    let read = |body: &[u8]| {
        request::any::<Depth>(body)?.check(limits::KV_VALUE_DEPTH)?;
        Ok(kept(request::any(body)?))
    };
    let value = ask.large(read).await?;
    let ttl = given.number("ttl_ms").map(Duration::from_millis);
    let item = shared(ask).put(&key, value, &expected(&given), ttl, &author(ask)).await?;
    Ok(json(&KvWritten { key, version: item.version, revision: item.modified.0 }))
}

async fn delete(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let (given, key) = (ask.parameters()?, ask.name()?);
    shared(ask).delete(&key, &expected(&given), &author(ask)).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

fn at(given: &Given) -> Option<Revision> {
    given.number("at").map(Revision)
}

fn expected(given: &Given) -> Expect {
    match (given.number("version"), given.number("revision")) {
        (_, Some(revision)) => Expect::Modified(Revision(revision)),
        (Some(version), None) => Expect::Version(version),
        (None, None) => Expect::Any,
    }
}

/// A value as it is kept: as it was written.
fn kept(value: Box<RawValue>) -> Bytes {
    Bytes::from(String::from(Box::<str>::from(value)))
}

fn document(item: &Item) -> KvDocument<Box<RawValue>> {
    KvDocument {
        key: item.key.to_string(),
        value: raw(&item.value),
        version: item.version,
        revision: item.modified.0,
        created: item.created.0,
        by: item.author.by.to_string(),
        written_ns: item.author.at_ns,
        expires: item.lease.is_some(),
    }
}

/// As it was written; what is no JSON, as text.
fn raw(value: &[u8]) -> Box<RawValue> {
    let text = || to_raw_value(&String::from_utf8_lossy(value)).unwrap_or_default();
    serde_json::from_slice(value).unwrap_or_else(|_| text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_as_they_were_written() {
        for text in
            ["1.10", "123456789012345678901234567890", "{\"b\": 1,  \"a\":[ ]}", "\"\\u00e9\"", "null"]
        {
            assert_eq!(raw(text.as_bytes()).get(), text);
        }
        assert_eq!((raw(b"no json").get(), raw(b"\xff").get()), ("\"no json\"", "\"\u{fffd}\""));
    }
}
