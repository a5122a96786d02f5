//! The routes of shared values.

use roverline_protocol::api::kv::{
    CacheDocument, CacheList, CacheMetricsDocument, CacheStatus, CacheWrite, CacheWritten, KEY_PATTERN,
    KvDocument, KvList, KvWritten,
};
use roverline_protocol::limits;
use serde_json::Value;

use crate::api::action::KvAction as Action;
use crate::api::route::{
    Content, HttpMethod, Name, Parameter, ParameterKind, Reply, Route, get, list, ok, post, schema,
};

/// Largest request that writes a value.
const KV_BODY_BYTES: usize = limits::KV_VALUE_BYTES + (4 << 10);

const KEY: &str = "The key, with slashes as they are or percent-encoded.";
const EXAMPLE: Option<&str> = Some("mission/goal");
/// The highest revision and version that a store can count to.
const MOST: u64 = i64::MAX.cast_unsigned();

const AT: Parameter = Parameter {
    name: "at",
    what: "As it was at this revision, while that is kept.",
    kind: ParameterKind::Number(1, MOST),
};
const LINEARIZABLE: Parameter = Parameter {
    name: "linearizable",
    what: "`true`: as it is, by the store; else as it was a second ago at most.",
    kind: ParameterKind::Flag,
};
const VERSION: Parameter = Parameter {
    name: "version",
    what: "Only if it has this version; 0: only if it does not exist.",
    kind: ParameterKind::Number(0, MOST),
};
const REVISION: Parameter = Parameter {
    name: "revision",
    what: "Only if it got its value at this revision, whatever `version` says; 0: only if it does not exist.",
    kind: ParameterKind::Number(0, MOST),
};

const fn action(action: Action) -> crate::api::action::Action {
    crate::api::action::Action::Kv(action)
}

const fn key(route: Route) -> Route {
    let name = Name { what: KEY, example: EXAMPLE, pattern: Some(KEY_PATTERN) };
    Route { name: Some(name), ..route }
}

/// The routes.
pub(crate) static ROUTES: [Route; 10] = [
    Route {
        parameters: &[
            Parameter { name: "prefix", what: "Only keys that begin so.", kind: ParameterKind::Text },
            Parameter {
                name: "after",
                what: "Only keys after this one: `next` of the page before.",
                kind: ParameterKind::Text,
            },
            Parameter {
                name: "limit",
                what: "How many entries at most.",
                kind: ParameterKind::Number(1, limits::API_PAGE_MAX_ENTRIES as u64),
            },
            AT,
        ],
        problems: &[404, 410],
        ..get(
            "/api/v2/kv",
            action(Action::List),
            "Values that the team shares, by the store",
            &[ok("By key", Content::Json(schema::<KvList>))],
        )
    },
    Route {
        parameters: &[LINEARIZABLE, AT],
        problems: &[404, 410, 422],
        ..key(get(
            "/api/v2/kv/{key}",
            action(Action::Get),
            "One value; its revision is its `ETag`",
            &[
                ok("The value", Content::Json(schema::<KvDocument>)),
                Reply { status: 304, what: "It is as you have it", content: Content::Empty },
            ],
        ))
    },
    Route {
        method: HttpMethod::Put,
        body_bytes: KV_BODY_BYTES,
        parameters: &[
            VERSION,
            REVISION,
            Parameter {
                name: "ttl_ms",
                what: "It goes by itself, so long after this; without it, it stays.",
                kind: ParameterKind::Number(limits::LEASE_MIN_MS, limits::LEASE_MAX_MS),
            },
        ],
        ..key(post(
            "/api/v2/kv/{key}",
            action(Action::Put),
            "Gives a key a value: any JSON",
            schema::<Value>,
            &[ok("It is written", Content::Json(schema::<KvWritten>))],
        ))
    },
    Route {
        method: HttpMethod::Delete,
        parameters: &[VERSION, REVISION],
        problems: crate::api::route::WRITES,
        ..key(get(
            "/api/v2/kv/{key}",
            action(Action::Delete),
            "Removes a key",
            &[Reply { status: 204, what: "It is gone", content: Content::Empty }],
        ))
    },
    Route {
        parameters: &[LINEARIZABLE],
        problems: &[404, 422],
        ..key(get(
            "/cache/{key}",
            action(Action::CacheGet),
            "One value, by way of this process's cache",
            &[ok("The value", Content::Json(schema::<CacheDocument>))],
        ))
    },
    Route {
        body_bytes: KV_BODY_BYTES,
        ..post(
            "/cache",
            action(Action::CachePut),
            "Gives a key a value, through this process's cache",
            schema::<CacheWrite>,
            &[ok("It is written", Content::Json(schema::<CacheWritten>))],
        )
    },
    Route {
        method: HttpMethod::Delete,
        problems: crate::api::route::WRITES,
        ..key(get(
            "/cache/{key}",
            action(Action::CacheDelete),
            "Removes a key, through this process's cache",
            &[ok("It is gone, or was not there", Content::Json(schema::<CacheWritten>))],
        ))
    },
    key(get(
        "/cache/status/{key}",
        action(Action::CacheStatus),
        "What this process's cache knows of a key",
        &[ok("Its state", Content::Json(schema::<CacheStatus>))],
    )),
    list(
        "/cache/all",
        action(Action::CacheAll),
        "What this process's cache holds, without the values; a key of this name is at /api/v2/kv/all",
        &[ok("By key", Content::Json(schema::<CacheList>))],
    ),
    get(
        "/cache/metrics",
        action(Action::CacheMetrics),
        "How this process's cache is doing",
        &[ok("Counted since it started", Content::Json(schema::<CacheMetricsDocument>))],
    ),
];
