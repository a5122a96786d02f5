//! One route of the API: method, path, operation, and what OpenAPI says of it.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::api::action::Action;
use crate::api::response::JSON;

/// Longest body of a modifying request.
const API_BODY_BYTES: usize = 8 << 10;

/// The methods in use; a `GET` is also a `HEAD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HttpMethod {
    Get,
    Post,
    Put,
    Delete,
}

impl HttpMethod {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            HttpMethod::Get => "GET",
            HttpMethod::Post => "POST",
            HttpMethod::Put => "PUT",
            HttpMethod::Delete => "DELETE",
        }
    }
}

/// Generates the schema of a type.
pub(crate) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// The content of a body.
#[derive(Clone, Copy)]
pub(crate) enum Content {
    /// None.
    Empty,
    /// JSON of this type.
    Json(SchemaOf),
    /// Text of this media type.
    Text(&'static str),
    /// Any JSON object.
    Object,
}

/// A response of a route, problems aside.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) what: &'static str,
    pub(crate) content: Content,
}

/// The path parameter: its meaning and an example.
#[derive(Clone, Copy)]
pub(crate) struct Name {
    pub(crate) what: &'static str,
    pub(crate) example: Option<&'static str>,
    /// A regular expression (ECMA 262), if not every name is valid.
    pub(crate) pattern: Option<&'static str>,
}

/// A query parameter.
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) kind: ParameterKind,
}

/// The type of a parameter.
#[derive(Clone, Copy)]
pub(crate) enum ParameterKind {
    /// Text of at most [`limits::API_NAME_CHARS`].
    Text,
    /// A label in the event log.
    Label,
    /// An integer within these inclusive bounds.
    Number(u64, u64),
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
}

/// One method of one path.
#[derive(Clone, Copy)]
pub(crate) struct Route {
    pub(crate) method: HttpMethod,
    /// As in OpenAPI; the path parameter in braces may contain slashes.
    pub(crate) path: &'static str,
    pub(crate) action: Action,
    pub(crate) summary: &'static str,
    /// The path parameter.
    pub(crate) name: Option<Name>,
    /// Whether the list is paged.
    pub(crate) paged: bool,
    /// The schema of the request body.
    pub(crate) body: Option<SchemaOf>,
    /// The largest request body, in bytes.
    pub(crate) body_bytes: usize,
    pub(crate) replies: &'static [Reply],
    /// Optional query parameters, apart from those of paging.
    pub(crate) parameters: &'static [Parameter],
    /// Statuses of its problems, apart from those that follow from the other fields.
    pub(crate) problems: &'static [u16],
}

pub(crate) fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

pub(crate) const fn ok(what: &'static str, content: Content) -> Reply {
    Reply { status: 200, what, content }
}

pub(crate) const fn get(
    path: &'static str,
    action: Action,
    summary: &'static str,
    replies: &'static [Reply],
) -> Route {
    Route {
        method: HttpMethod::Get,
        path,
        action,
        summary,
        name: None,
        paged: false,
        body: None,
        body_bytes: API_BODY_BYTES,
        replies,
        parameters: &[],
        problems: &[],
    }
}

pub(crate) const fn list(
    path: &'static str,
    action: Action,
    summary: &'static str,
    replies: &'static [Reply],
) -> Route {
    Route { paged: true, ..get(path, action, summary, replies) }
}

pub(crate) const fn named(route: Route, what: &'static str, example: Option<&'static str>) -> Route {
    Route { name: Some(Name { what, example, pattern: None }), ..route }
}

/// Problem statuses of every change of shared state.
pub(crate) const WRITES: &[u16] = &[401, 403, 404, 408, 409, 413, 415, 422, 503, 507];

/// A change of shared state with a body.
pub(crate) const fn post(
    path: &'static str,
    action: Action,
    summary: &'static str,
    body: SchemaOf,
    replies: &'static [Reply],
) -> Route {
    let read = get(path, action, summary, replies);
    Route { method: HttpMethod::Post, body: Some(body), problems: WRITES, ..read }
}

impl Route {
    /// The media type of its body, if it has one.
    pub(crate) fn body_media_type(&self) -> Option<&'static str> {
        self.body.map(|_| JSON)
    }

    /// The path parameter in a path of this route, still encoded; empty for a route without one.
    pub(crate) fn match_path<'a>(&self, path: &'a str) -> Option<&'a str> {
        match self.path.split_once('{') {
            None => (self.path == path).then_some(""),
            Some((before, rest)) => {
                let after = rest.split_once('}').map_or("", |(_, after)| after);
                let name = path.strip_prefix(before)?.strip_suffix(after)?;
                (!name.is_empty()).then_some(name)
            }
        }
    }
}
