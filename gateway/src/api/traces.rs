//! Traces, put together from what all endpoints keep: a list of the newest, and one with all its spans.

use std::collections::HashSet;
use std::str::FromStr;
use std::time::Duration;

use futures_util::future::join_all;
use roverline_protocol::Tier;
use roverline_protocol::api::traces::{TopicStagesList, TraceDocument, TraceList, TraceSummary};
use roverline_protocol::status::Problem;
use roverline_protocol::trace::TraceId;
use roverline_source::clock::monotonic;
use serde::de::DeserializeOwned;

use crate::access::Role;
use crate::api::action::Action;
use crate::api::error::ApiError;
use crate::api::request::ApiRequest;
use crate::api::response::{HttpResponse, json};
use crate::api::route::{Content, Parameter, ParameterKind, Route, get, named, ok, schema};
use crate::endpoint::Endpoint;
use crate::endpoint::peers::Peer;
use crate::endpoint::peers::probe;
use crate::limits;
use crate::trace::ring::{LISTED_TRACES, SpanRing, TraceFilter, shorten};
use crate::trace::sample_ring::SampleRing;

/// Spans of one trace in a document; of more, the first by start.
const TRACE_SPANS: usize = 1_000;
/// A relay's rover answers within this time, or what it has is missing.
const ROVER_TIMEOUT_MS: u64 = 2_000;
/// Bytes of a peer's document.
const PEER_TRACE_BYTES: usize = 1 << 20;
/// The largest integer that every JSON reader represents exactly (RFC 8259, section 6).
const LARGEST: u64 = (1 << 53) - 1;

const LOCAL: Parameter = Parameter {
    name: "local",
    what: "Only what this endpoint has, without requests to the others.",
    kind: ParameterKind::Flag,
};

/// The routes.
pub(crate) static ROUTES: [Route; 3] = [
    Route {
        parameters: &[
            Parameter {
                name: "limit",
                what: "At most so many traces.",
                kind: ParameterKind::Number(1, LISTED_TRACES as u64),
            },
            Parameter {
                name: "name",
                what: "Only with this in the name of a span.",
                kind: ParameterKind::Text,
            },
            Parameter {
                name: "attribute",
                what: "Only with a span one of whose attributes has this value: a topic, a lock, a client.",
                kind: ParameterKind::Text,
            },
            Parameter {
                name: "min_ms",
                what: "Only those that took at least so many milliseconds.",
                kind: ParameterKind::Number(0, LARGEST),
            },
            Parameter { name: "errors", what: "Only those that failed.", kind: ParameterKind::Flag },
            Parameter {
                name: "topic",
                what: "The traced samples of this topic, instead of requests; other filters do not apply.",
                kind: ParameterKind::Text,
            },
            Parameter {
                name: "since_ms",
                what: "Only those that began since this time, milliseconds since the Unix epoch.",
                kind: ParameterKind::Number(0, LARGEST),
            },
            LOCAL,
        ],
        problems: &[404],
        ..get(
            "/api/v2/traces",
            Action::Traces,
            "The newest traces of all endpoints: requests, and what they caused",
            &[ok("The newest first", Content::Json(schema::<TraceList>))],
        )
    },
    Route {
        parameters: &[
            Parameter { name: "topic", what: "Only this topic.", kind: ParameterKind::Text },
            LOCAL,
        ],
        problems: &[404],
        ..get(
            "/api/v2/traces/topics",
            Action::TopicStages,
            "Where the time of samples goes, from the publisher to the client's screen, by topic and endpoint",
            &[ok("By topic", Content::Json(schema::<TopicStagesList>))],
        )
    },
    Route {
        parameters: &[LOCAL],
        problems: &[404],
        ..named(
            get(
                "/api/v2/traces/{id}",
                Action::Trace,
                "One trace, from all endpoints",
                &[ok("Its spans, by start", Content::Json(schema::<TraceDocument>))],
            ),
            "The trace id, 32 hexadecimal digits.",
            Some("0af7651916cd43dd8448eb211c80319c"),
        )
    },
];

fn ring(endpoint: &Endpoint) -> Result<&SpanRing, ApiError> {
    let off = || ApiError::not_found("traces are off: [trace] enabled in roverline.toml");
    endpoint.spans.as_deref().ok_or_else(off)
}

/// The list.
pub(crate) async fn list(request: &ApiRequest<'_>) -> Result<HttpResponse, ApiError> {
    let params = request.parameters()?;
    let filter = TraceFilter {
        min_duration: Duration::from_millis(params.number("min_ms").unwrap_or(0)),
        name: params.text("name").unwrap_or_default().to_owned(),
        attribute: params.text("attribute").map(str::to_owned),
        errors: params.flag("errors"),
        since_ns: params
            .number("since_ms")
            .map(|ms| i64::try_from(ms).unwrap_or(0).saturating_mul(1_000_000)),
        limit: params.number("limit").and_then(|limit| usize::try_from(limit).ok()),
    };
    let mut list = match params.text("topic") {
        Some(topic) => samples_of(request.endpoint, topic, filter.limit.unwrap_or(LISTED_TRACES))?,
        None => ring(request.endpoint)?.list(&filter),
    };
    if !params.flag("local") {
        let path = format!("/api/v2/traces?local=true&{}", request.query.unwrap_or_default());
        let (lists, unreachable) = from_peers::<TraceList>(request.endpoint, &path).await;
        lists.into_iter().for_each(|other| merge(&mut list, other));
        shorten(&mut list.traces, filter.limit.unwrap_or(LISTED_TRACES));
        list.unreachable = unreachable;
    }
    Ok(json(&list))
}

/// The traced samples of a topic at this endpoint.
fn samples_of(endpoint: &Endpoint, topic: &str, limit: usize) -> Result<TraceList, ApiError> {
    let ring = sample_ring(endpoint)?;
    let (traces, usage) = (ring.list(topic, limit), ring.usage());
    Ok(TraceList {
        total: traces.len(),
        traces,
        kept_spans: usage.samples,
        evicted_spans: usage.evicted,
        unreachable: Vec::new(),
    })
}

fn sample_ring(endpoint: &Endpoint) -> Result<&SampleRing, ApiError> {
    let off = || ApiError::not_found("samples are not traced: [trace] samples_per_s in roverline.toml");
    endpoint.hub.sample_ring().ok_or_else(off)
}

/// Where the time of samples goes.
pub(crate) async fn topics(request: &ApiRequest<'_>) -> Result<HttpResponse, ApiError> {
    let params = request.parameters()?;
    let ring = sample_ring(request.endpoint)?;
    let mut list = TopicStagesList {
        topics: ring.stages(params.text("topic"), monotonic()),
        evicted_samples: ring.usage().evicted,
        unreachable: Vec::new(),
    };
    if !params.flag("local") {
        let path = format!("/api/v2/traces/topics?local=true&{}", request.query.unwrap_or_default());
        let (others, unreachable) = from_peers::<TopicStagesList>(request.endpoint, &path).await;
        list.unreachable = unreachable;
        for other in others {
            list.topics.extend(other.topics);
            list.evicted_samples = list.evicted_samples.saturating_add(other.evicted_samples);
        }
        list.topics.sort_by(|a, b| (&a.topic, &a.service).cmp(&(&b.topic, &b.service)));
    }
    Ok(json(&list))
}

/// Adds the list of another endpoint: a trace that both have is one.
fn merge(list: &mut TraceList, other: TraceList) {
    list.kept_spans += other.kept_spans;
    list.evicted_spans = list.evicted_spans.saturating_add(other.evicted_spans);
    list.total += other.total;
    for trace in other.traces {
        let Some(own) = list.traces.iter_mut().find(|own| own.trace_id == trace.trace_id) else {
            list.traces.push(trace);
            continue;
        };
        list.total -= 1;
        if own.observers_only != trace.observers_only {
            // What observers report says nothing about a trace of others.
            let spans = own.spans + trace.spans;
            if own.observers_only {
                *own = trace;
            }
            own.spans = spans;
            continue;
        }
        let end = |trace: &TraceSummary| trace.start_ns.saturating_add_unsigned(trace.duration_ns);
        let end = end(own).max(end(&trace));
        if trace.start_ns < own.start_ns {
            (own.name, own.service, own.start_ns) = (trace.name, trace.service, trace.start_ns);
        }
        own.duration_ns = end.abs_diff(own.start_ns);
        own.spans += trace.spans;
        own.error |= trace.error;
        own.unfinished |= trace.unfinished;
    }
}

/// One trace.
pub(crate) async fn one(request: &ApiRequest<'_>) -> Result<HttpResponse, ApiError> {
    let id = request.name()?;
    let params = request.parameters()?;
    let id = TraceId::from_str(&id).map_err(|error| ApiError::not_found(error.to_string()))?;
    let (mut spans, mut unreachable) = (ring(request.endpoint)?.trace(id), Vec::new());
    spans.extend(request.endpoint.hub.sample_ring().map(|ring| ring.trace(id)).unwrap_or_default());
    if !params.flag("local") {
        let path = format!("/api/v2/traces/{id}?local=true");
        let (documents, silent) = from_peers::<TraceDocument>(request.endpoint, &path).await;
        let rover = from_rover(request, format!("/api/v2/traces/{id}")).await;
        unreachable = silent;
        for document in documents.into_iter().chain(rover) {
            spans.extend(document.spans);
            unreachable.extend(document.unreachable);
        }
    }
    if spans.is_empty() {
        return Err(ApiError::not_found(format!("no endpoint has a span of trace {id} (any more)")));
    }
    spans.sort_by_key(|span| span.start_ns);
    // A relay's endpoints share what they record.
    let mut known = HashSet::new();
    spans.retain(|span| known.insert(span.span_id.clone()));
    spans.truncate(TRACE_SPANS);
    Ok(json(&TraceDocument { trace_id: id.to_string(), spans, unreachable }))
}

/// Requests a document from the endpoints that have proven the rover's key: the documents, and who did not answer. A
/// problem is an answer without a document.
async fn from_peers<T: DeserializeOwned>(endpoint: &Endpoint, path: &str) -> (Vec<T>, Vec<Tier>) {
    let peers = endpoint.peers.proven();
    let requests = peers.iter().map(async |peer| (peer.tier, from_peer::<T>(peer, path).await));
    let (mut documents, mut unreachable) = (Vec::new(), Vec::new());
    for (tier, answer) in join_all(requests).await {
        match answer {
            Some(document) => documents.extend(document),
            None => unreachable.push(tier),
        }
    }
    (documents, unreachable)
}

/// Requests a trace from the rover of a relay, over the relay's link; `None` for other endpoints, and if nothing comes.
/// Observers do not cause traffic on the radio.
async fn from_rover(request: &ApiRequest<'_>, path: String) -> Option<TraceDocument> {
    if request.role() < Role::Operator {
        return None;
    }
    let limit = Duration::from_millis(ROVER_TIMEOUT_MS);
    let (_, body) = request.endpoint.ros.read_upstream(path, limit).await?;
    serde_json::from_value(body).ok()
}

async fn from_peer<T: DeserializeOwned>(peer: &Peer, path: &str) -> Option<Option<T>> {
    let limit = Duration::from_millis(limits::PEER_TIMEOUT_MS);
    let asking = probe::get_bounded(&peer.address, path, PEER_TRACE_BYTES);
    let body = tokio::time::timeout(limit, asking).await.ok()?.ok()?;
    match serde_json::from_slice::<T>(&body) {
        Ok(document) => Some(Some(document)),
        Err(_) => serde_json::from_slice::<Problem>(&body).is_ok().then_some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_that_two_endpoints_have_is_one() {
        let trace = |id: &str, service: &str, start_ns, duration_ns, error| TraceSummary {
            trace_id: id.to_owned(),
            name: service.to_owned(),
            service: service.to_owned(),
            start_ns,
            duration_ns,
            spans: 2,
            error,
            unfinished: false,
            observers_only: false,
        };
        let list = |traces: Vec<TraceSummary>| {
            let total = traces.len();
            TraceList { traces, total, kept_spans: 5, evicted_spans: 1, unreachable: Vec::new() }
        };
        let mut all = list(vec![trace("a", "secondary", 100, 10, false)]);
        merge(&mut all, list(vec![trace("a", "primary", 90, 15, true), trace("b", "primary", 5, 1, false)]));
        assert_eq!((all.total, all.kept_spans, all.evicted_spans), (2, 10, 2));
        let first = &all.traces[0];
        assert_eq!((first.name.as_str(), first.start_ns, first.duration_ns), ("primary", 90, 20));
        assert!(first.error && first.spans == 4);
        let observers =
            |id| TraceSummary { observers_only: true, ..trace(id, "client", i64::MIN, u64::MAX, true) };
        merge(&mut all, list(vec![observers("a")]));
        assert_eq!(
            (all.traces[0].name.as_str(), all.traces[0].start_ns, all.traces[0].spans),
            ("primary", 90, 6)
        );
        let mut theirs = list(vec![observers("c")]);
        merge(&mut theirs, list(vec![trace("c", "primary", 7, 1, false)]));
        let first = &theirs.traces[0];
        assert_eq!((first.name.as_str(), first.start_ns, first.observers_only), ("primary", 7, false));
    }
}
