//! The cache of this process, with the paths and bodies that other teams' scripts use.

use roverline_coordination::kv::{self, CacheEntry, Expect, KvError};
use roverline_protocol::api::kv::{
    CacheDocument, CacheList, CacheMetricsDocument, CacheStatus, CacheWrite, CacheWritten, CoherenceState,
};
use serde_json::value::RawValue;

use crate::api::error::ApiError;
use crate::api::json_depth::Depth;
use crate::api::kv::{author, raw, shared, stored_bytes};
use crate::api::query::Paging;
use crate::api::request::{self, ApiRequest};
use crate::api::response::{HttpResponse, json};
use crate::limits;

pub(crate) async fn get(request: &ApiRequest<'_>) -> Result<HttpResponse, ApiError> {
    let (params, key) = (request.parameters()?, request.name()?);
    let read = match params.flag("linearizable") {
        true => shared(request).get_linearizable(&key).await?,
        false => shared(request).get(&key).await?,
    };
    let Some(item) = read.item else { return Err(KvError::Unknown(key).into()) };
    let bytes = item.value.len();
    let make = move || {
        let value = raw(&item.value);
        CacheDocument { key, value, version: item.version, cached: read.cached }
    };
    request.respond_with(bytes, make).await
}

pub(crate) async fn put(request: &ApiRequest<'_>) -> Result<HttpResponse, ApiError> {
    let read = |body: &[u8]| {
        request::object::<CacheWrite<Depth>>(body)?.value.check(limits::KV_VALUE_DEPTH)?;
        let CacheWrite { key, value } = request::object::<CacheWrite<Box<RawValue>>>(body)?;
        Ok((key, stored_bytes(value)))
    };
    let (key, value) = request.parse_large(read).await?;
    let item = shared(request).put(&key, value, &Expect::Any, None, &author(request)).await?;
    let message = format!("written as version {}", item.version);
    Ok(json(&CacheWritten { success: true, message, key, version: Some(item.version) }))
}

pub(crate) async fn delete(request: &ApiRequest<'_>) -> Result<HttpResponse, ApiError> {
    let key = request.name()?;
    let (success, message) = match shared(request).delete(&key, &Expect::Any, &author(request)).await {
        Ok(_) => (true, "deleted".to_owned()),
        Err(error @ KvError::Unknown(_)) => (false, error.to_string()),
        Err(error) => return Err(error.into()),
    };
    Ok(json(&CacheWritten { success, message, key, version: None }))
}

pub(crate) fn status(request: &ApiRequest<'_>) -> Result<HttpResponse, ApiError> {
    let key = request.name()?;
    Ok(json(&match shared(request).entry(&key) {
        Some(entry) => shown(&entry),
        // An absent entry is invalid.
        None => {
            let state = CoherenceState::I;
            CacheStatus { key, state, version: None, revision: None, bytes: 0, hits: 0 }
        }
    }))
}

pub(crate) fn all(request: &ApiRequest<'_>) -> Result<HttpResponse, ApiError> {
    let all = shared(request).entries().iter().map(shown).collect();
    let (entries, total, next) = Paging::parse(request.query)?.part(all, |entry: &CacheStatus| &entry.key);
    Ok(json(&CacheList { entries, total, next }))
}

pub(crate) fn metrics(request: &ApiRequest<'_>) -> HttpResponse {
    let metrics = shared(request).metrics();
    let reads = metrics.hits + metrics.misses;
    json(&CacheMetricsDocument {
        entries: metrics.entries,
        max_entries: metrics.limits.entries,
        bytes: metrics.bytes,
        max_bytes: metrics.limits.bytes,
        hits: metrics.hits,
        misses: metrics.misses,
        hit_ratio: (reads > 0).then(|| metrics.hits as f64 / reads as f64),
        evictions: metrics.evictions,
        invalidations: metrics.invalidations,
        age_ms: metrics.age.map(|age| age.as_secs_f64() * 1e3),
        max_age_ms: metrics.limits.stale.as_secs_f64() * 1e3,
        coherent: metrics.coherent,
    })
}

fn shown(entry: &CacheEntry) -> CacheStatus {
    let state = match entry.state {
        kv::CacheState::Modified => CoherenceState::M,
        kv::CacheState::Shared => CoherenceState::S,
        kv::CacheState::Invalid => CoherenceState::I,
    };
    let (version, revision) = (Some(entry.version), Some(entry.modified.0));
    CacheStatus { key: entry.key.to_string(), state, version, revision, bytes: entry.bytes, hits: entry.hits }
}
