//! Shared values. A value is stored and returned exactly as it was written: re-encoded, its numbers
//! might change.

mod cache;
mod routes;

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use roverline_coordination::kv::{Author, Cache, Expect, Item, KvError};
use roverline_coordination::store::Revision;
use roverline_protocol::api::kv::{KvDocument, KvList, KvWritten};
use roverline_source::clock::unix_ns;
use serde_json::value::{RawValue, to_raw_value};

use crate::api::action::KvAction as Action;
use crate::api::error::ApiError;
use crate::api::json_depth::Depth;
pub(crate) use crate::api::kv::routes::ROUTES;
use crate::api::request::{self, ApiRequest, QueryParams};
use crate::api::response::{HttpResponse, empty, has_etag, json, tagged};
use crate::limits;

/// Dispatches an operation.
pub(crate) async fn handle(request: &ApiRequest<'_>, action: Action) -> Result<HttpResponse, ApiError> {
    match action {
        Action::List => list(request).await,
        Action::Get => get(request).await,
        Action::Put => put(request).await,
        Action::Delete => delete(request).await,
        Action::CacheGet => cache::get(request).await,
        Action::CachePut => cache::put(request).await,
        Action::CacheDelete => cache::delete(request).await,
        Action::CacheStatus => cache::status(request),
        Action::CacheAll => cache::all(request),
        Action::CacheMetrics => Ok(cache::metrics(request)),
    }
}

fn shared<'a>(request: &ApiRequest<'a>) -> &'a Cache {
    &request.endpoint.coordination.kv
}

fn author(request: &ApiRequest<'_>) -> Author {
    Author { by: request.by().into(), client: request.client().map(Into::into), at_ns: unix_ns() }
}

async fn list(request: &ApiRequest<'_>) -> Result<HttpResponse, ApiError> {
    let params = request.parameters()?;
    let limit = params.number("limit").and_then(|limit| usize::try_from(limit).ok());
    let prefix = params.text("prefix").unwrap_or_default();
    let limit = limit.unwrap_or(limits::API_PAGE_ENTRIES);
    let listing = shared(request).list(prefix, params.text("after"), at(&params), limit).await?;
    let bytes = listing.items.iter().map(|item| item.value.len()).sum();
    let make = move || {
        let keys = listing.items.iter().map(document).collect();
        KvList { keys, revision: listing.revision.0, next: listing.next }
    };
    request.respond_with(bytes, make).await
}

async fn get(request: &ApiRequest<'_>) -> Result<HttpResponse, ApiError> {
    let (params, key) = (request.parameters()?, request.name()?);
    let item = match at(&params) {
        Some(at) => shared(request).get_at(&key, at).await?,
        None if params.flag("linearizable") => shared(request).get_linearizable(&key).await?.item,
        None => shared(request).get(&key).await?.item,
    };
    let item = item.ok_or(KvError::Unknown(key))?;
    // A version can repeat when a key is deleted and created again; a revision cannot.
    let tag = format!("\"{}\"", item.modified.0);
    let response = match has_etag(request.headers, &tag) {
        true => empty(StatusCode::NOT_MODIFIED),
        false => request.respond_with(item.value.len(), move || document(&item)).await?,
    };
    Ok(tagged(response, &tag))
}

async fn put(request: &ApiRequest<'_>) -> Result<HttpResponse, ApiError> {
    let (params, key) = (request.parameters()?, request.name()?);
    let read = |body: &[u8]| {
        request::any::<Depth>(body)?.check(limits::KV_VALUE_DEPTH)?;
        Ok(stored_bytes(request::any(body)?))
    };
    let value = request.parse_large(read).await?;
    let ttl = params.number("ttl_ms").map(Duration::from_millis);
    let item = shared(request).put(&key, value, &expected(&params), ttl, &author(request)).await?;
    Ok(json(&KvWritten { key, version: item.version, revision: item.modified.0 }))
}

async fn delete(request: &ApiRequest<'_>) -> Result<HttpResponse, ApiError> {
    let (params, key) = (request.parameters()?, request.name()?);
    shared(request).delete(&key, &expected(&params), &author(request)).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

fn at(params: &QueryParams) -> Option<Revision> {
    params.number("at").map(Revision)
}

fn expected(params: &QueryParams) -> Expect {
    match (params.number("version"), params.number("revision")) {
        (_, Some(revision)) => Expect::Modified(Revision(revision)),
        (Some(version), None) => Expect::Version(version),
        (None, None) => Expect::Any,
    }
}

/// A value as it is stored: exactly as it was written.
fn stored_bytes(value: Box<RawValue>) -> Bytes {
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
        client: item.author.client.as_deref().map(str::to_owned),
        written_ns: item.author.at_ns,
        expires: item.lease.is_some(),
    }
}

/// The value as it was written; a value that is not JSON becomes a string.
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
