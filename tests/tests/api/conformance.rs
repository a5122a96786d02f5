//! Conformance with the OpenAPI document: Schemathesis generates valid and invalid requests and compares
//! every response with the document.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use roverline_tests::clients::python;
use roverline_tests::http;
use roverline_tests::require;
use roverline_tests::skip::Missing;
use roverline_tests::temp;
use serde_json::Value;

use super::directory::token_only;
use super::{json, serve};

/// Generated requests per operation and phase; a few hundred in total.
const EXAMPLES: u32 = 25;
/// The same where only permissions differ.
const EXAMPLES_OF_PERMISSIONS: u32 = 6;

/// Without the warning about operations that never succeed: it cannot create a message or a hand-over itself.
const WARNINGS: &str =
    "missing_auth,validation_mismatch,unused_openapi_auth,unsupported_regex,method_not_allowed";

/// Restrictions that the document cannot express: short waits, only one of three ways to select events, and
/// integers without a decimal point.
const HOOKS: &str = r#"
import schemathesis

ANYTHING = ("message", "data", "value")
CHOICES = ("stream", "type", "correlation_id")

def plain(fields):
    for name, value in list(fields.items()):
        if isinstance(value, float) and value.is_integer() and name not in ANYTHING:
            fields[name] = value = int(value)
        if name == "wait_ms" and str(value).isdecimal() and 600 < int(value) <= 30000:
            fields[name] = type(value)(600)
        if name == "messages" and isinstance(value, list):
            for item in value:
                if isinstance(item, dict):
                    plain(item)

@schemathesis.hook
def before_call(context, case, kwargs):
    for fields in (case.query, case.body):
        if isinstance(fields, dict):
            plain(fields)
    if case.operation.path == "/api/v2/events" and isinstance(case.query, dict):
        for choice in [name for name in CHOICES if name in case.query][1:]:
            del case.query[choice]
"#;

/// Runs Schemathesis on a port: whether it passed, and its output.
fn run_schemathesis(program: &PathBuf, port: u16, examples: u32, token: Option<&str>) -> (bool, String) {
    let scratch = temp::dir();
    temp::write(&scratch, "hooks.py", HOOKS);
    let mut command = Command::new(program);
    command
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", scratch.path())
        .args(["run", &format!("http://127.0.0.1:{port}/api/v2/openapi.json")])
        .args(["--max-examples", &examples.to_string(), "--seed", "1", "--continue-on-failure", "--no-color"])
        .args(["--max-response-time", "5", "--request-timeout", "10"])
        .args(["--warnings", WARNINGS])
        .current_dir(scratch.path())
        .stdin(Stdio::null());
    if let Some(token) = token {
        command.args(["-H", &format!("Authorization: Bearer {token}")]);
    }
    let output = command.output().unwrap();
    let output_text = String::from_utf8_lossy(&output.stdout).into_owned();
    let counted = output_text.lines().find(|line| line.contains("generated")).unwrap_or_default();
    println!("{}", counted.trim());
    (output.status.success(), output_text)
}

fn schemathesis() -> Result<PathBuf, Missing> {
    Ok(python()?.parent().unwrap().join("schemathesis"))
}

#[test]
fn the_api_is_what_its_document_says() {
    let schemathesis = require!(schemathesis());
    let gateway = serve(&[]);
    let port = gateway.first_port();
    let (passed, output_text) = run_schemathesis(&schemathesis, port, EXAMPLES, None);
    assert!(passed && output_text.contains("No issues found"), "{output_text}");
    assert_eq!(http::get(port, "/health").status, 200);
    let log = gateway.stop_and_read_stderr();
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn the_document_holds_with_and_without_a_token() {
    let schemathesis = require!(schemathesis());
    let token_only = token_only();
    let port = token_only.gateway.first_port();
    // It warns about operations that only answer 401, which is intended here.
    let (passed, output_text) = run_schemathesis(&schemathesis, port, EXAMPLES_OF_PERMISSIONS, None);
    let closed = format!("{} operations returned only 401/403", writing_operations(port));
    assert!(passed && output_text.contains(&closed), "{closed}: {output_text}");
    assert_eq!(directory_length(port), 1, "no client registers without a token");
    let (passed, output_text) =
        run_schemathesis(&schemathesis, port, EXAMPLES_OF_PERMISSIONS, Some(&token_only.commander));
    assert!(passed && output_text.contains("No issues found"), "{output_text}");
}

/// The number of operations that change something.
fn writing_operations(port: u16) -> usize {
    let document: Value = json(&http::get(port, "/api/v2/openapi.json"));
    let methods = document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap());
    methods.filter(|(method, _)| *method != "get").count()
}

fn directory_length(port: u16) -> usize {
    let directory: Value = json(&http::get(port, "/api/v2/endpoints"));
    directory["endpoints"].as_array().unwrap().len()
}
