//! The OpenAPI document (3.1), generated from the table of routes and the types of their bodies.

use std::sync::OnceLock;

use bytes::Bytes;
use roverline_protocol::api::LABEL_PATTERN;
use roverline_protocol::status::Problem;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::api::error::PROBLEM;
use crate::api::response::JSON;
use crate::api::route::{Content, HttpMethod, Name, Parameter, ParameterKind, Reply, Route};
use crate::api::route_permission::RoutePermission;
use crate::api::routes;
use crate::limits;

/// The document as it is sent, generated once per process.
pub(crate) fn text() -> Bytes {
    static MADE: OnceLock<Bytes> = OnceLock::new();
    // A JSON value always serializes.
    MADE.get_or_init(|| serde_json::to_vec(&document()).unwrap_or_default().into()).clone()
}

fn document() -> Value {
    let make = |settings: SchemaSettings| {
        settings.with(|s| s.definitions_path = "/components/schemas".into()).into_generator()
    };
    let mut answers = make(SchemaSettings::draft2020_12().for_serialize());
    // A field with a default may be left out.
    let mut bodies = make(SchemaSettings::draft2020_12().for_deserialize());
    let mut paths = Map::new();
    for route in routes::all() {
        let operation = operation(route, &mut answers, &mut bodies);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(route.method.name().to_ascii_lowercase(), operation);
        }
    }
    let mut schemas = bodies.take_definitions(true);
    // Types used for both are the same either way.
    schemas.append(&mut answers.take_definitions(true));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Roverline",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What an endpoint of a rover's gateway says over HTTP. Telemetry itself goes \
                            over WebSockets on the same port. HEAD answers as GET does, without a body.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {
                "type": "http", "scheme": "bearer",
                "description": "A token of an operator or commander; not needed from loopback unless configured.",
            }},
        },
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator, bodies: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    for reply in route.replies {
        responses.insert(reply.status.to_string(), response(reply, generator));
    }
    let schema = generator.subschema_for::<Problem>();
    for status in problems(route) {
        let what = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
        let what = what.unwrap_or("Error");
        let content = json!({PROBLEM: {"schema": schema}});
        responses.insert(status.to_string(), json!({"description": what, "content": content}));
    }
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": route.summary,
        "x-roverline-permission": route.action.permission().name(),
        "responses": responses,
    });
    let Some(fields) = operation.as_object_mut() else { return operation };
    let mut parameters: Vec<Value> = route.name.iter().map(|name| path_parameter(route.path, name)).collect();
    if route.paged {
        parameters.extend(paging_parameters());
    }
    parameters.extend(route.parameters.iter().map(query_parameter));
    if !parameters.is_empty() {
        fields.insert("parameters".to_owned(), parameters.into());
    }
    if let (Some(body), Some(kind)) = (route.body, route.body_media_type()) {
        let content = json!({kind: {"schema": body(bodies)}});
        fields.insert("requestBody".to_owned(), json!({"required": true, "content": content}));
    }
    if route.method != HttpMethod::Get {
        // No token is needed from loopback: the empty alternative.
        fields.insert("security".to_owned(), json!([{}, {"token": []}]));
    }
    operation
}

/// The problem statuses that a route may answer with.
fn problems(route: &Route) -> Vec<u16> {
    let mut all = route.problems.to_vec();
    if route.method != HttpMethod::Get {
        // Too many wrong tokens from one address.
        all.push(429);
    }
    if route.name.is_some() || route.paged || route.body.is_some() || !route.parameters.is_empty() {
        all.push(400);
    }
    // A page under a name that others may own.
    if route.action.permission() != RoutePermission::Telemetry {
        all.push(421);
    }
    // The memory for responses is limited; for /health, 503 has its own meaning.
    if !route.replies.iter().any(|reply| reply.status == 503) && route.method == HttpMethod::Get {
        all.push(503);
    }
    all.sort_unstable();
    all.dedup();
    all
}

fn response(reply: &Reply, generator: &mut SchemaGenerator) -> Value {
    let content = match reply.content {
        Content::Empty => return json!({"description": reply.what}),
        Content::Json(schema) => json!({JSON: {"schema": schema(generator)}}),
        Content::Object => json!({JSON: {"schema": {"type": "object"}}}),
        Content::Text(kind) => json!({kind: {"schema": {"type": "string"}}}),
    };
    json!({"description": reply.what, "content": content})
}

/// The method and the words of the path: unique among all operations.
fn operation_id(route: &Route) -> String {
    let words = route.path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let method = route.method.name().to_ascii_lowercase();
    std::iter::once(method.as_str()).chain(words).collect::<Vec<_>>().join("_")
}

fn query_parameter(parameter: &Parameter) -> Value {
    let schema = match parameter.kind {
        ParameterKind::Text => json!({"type": "string", "maxLength": limits::API_NAME_CHARS}),
        ParameterKind::Label => json!({"type": "string", "pattern": LABEL_PATTERN}),
        ParameterKind::Number(min, max) => json!({"type": "integer", "minimum": min, "maximum": max}),
        ParameterKind::Flag => json!({"type": "boolean"}),
        ParameterKind::Word(words) => json!({"type": "string", "enum": words}),
    };
    json!({"name": parameter.name, "in": "query", "description": parameter.what, "schema": schema})
}

fn path_parameter(path: &str, name: &Name) -> Value {
    let called = path.split(['{', '}']).nth(1).unwrap_or_default();
    let mut parameter = json!({
        "name": called, "in": "path", "required": true, "description": name.what,
        "schema": {"type": "string", "minLength": 1, "maxLength": limits::API_NAME_CHARS},
    });
    if let (Some(example), Some(fields)) = (name.example, parameter.as_object_mut()) {
        fields.insert("example".to_owned(), example.into());
    }
    if let (Some(pattern), Some(schema)) = (name.pattern, parameter["schema"].as_object_mut()) {
        schema.insert("pattern".to_owned(), pattern.into());
    }
    parameter
}

fn paging_parameters() -> [Value; 3] {
    let text = json!({"type": "string", "maxLength": limits::API_NAME_CHARS});
    [
        json!({
            "name": "limit", "in": "query", "description": "How many entries at most.",
            "schema": {
                "type": "integer", "minimum": 1, "maximum": limits::API_PAGE_MAX_ENTRIES,
                "default": limits::API_PAGE_ENTRIES,
            },
        }),
        json!({
            "name": "prefix", "in": "query", "description": "Only names that begin so.",
            "schema": text,
        }),
        json!({
            "name": "after", "in": "query", "description": "Only names after this one: `next` of the page before.",
            "schema": text,
        }),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_is_in_the_document() {
        let document: Value = serde_json::from_slice(&text()).unwrap();
        for route in routes::all() {
            let operation = &document["paths"][route.path][route.method.name().to_ascii_lowercase()];
            for reply in route.replies {
                assert!(operation["responses"][reply.status.to_string()].is_object(), "{}", route.path);
            }
        }
        let operations = |path: &Value| path.as_object().unwrap().len();
        let all: usize = document["paths"].as_object().unwrap().values().map(operations).sum();
        assert_eq!(all, routes::all().count());
        let ids: BTreeSet<_> = routes::all().map(operation_id).collect();
        assert_eq!(ids.len(), routes::all().count(), "{ids:?}");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document: Value = serde_json::from_slice(&text()).unwrap();
        let text = document.to_string();
        let references: BTreeSet<_> =
            text.split("\"$ref\":\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        assert!(references.len() > 20, "{references:?}");
        for reference in references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
}
