//! The API against its own description, by somebody else's judge: Schemathesis makes up requests,
//! good and bad, and compares every answer with the OpenAPI document.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use roverline_tests::http;
use roverline_tests::python::python;
use roverline_tests::scratch::Scratch;
use serde_json::Value;

use super::writing::careful;
use super::{json, serve};

/// Requests made up per operation and phase; a few hundred in all.
const EXAMPLES: &str = "25";

/// Not that it never met a message or a hand-over that is there: it cannot know how to make one.
const WARNINGS: &str =
    "missing_auth,validation_mismatch,unused_openapi_auth,unsupported_regex,method_not_allowed";

/// What the document cannot say: that a wait is as long as one asks for, that of three ways to choose
/// events one may be given, and that a whole number is written without a point.
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

/// Runs the judge on a port; what it found.
fn judge(schemathesis: &PathBuf, port: u16, token: Option<&str>) -> (bool, String) {
    let scratch = Scratch::new();
    scratch.write("hooks.py", HOOKS);
    let mut command = Command::new(schemathesis);
    command
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", scratch.path())
        .args(["run", &format!("http://127.0.0.1:{port}/api/v2/openapi.json")])
        .args(["--max-examples", EXAMPLES, "--seed", "1", "--continue-on-failure", "--no-color"])
        .args(["--max-response-time", "5", "--request-timeout", "10"])
        .args(["--warnings", WARNINGS])
        .current_dir(scratch.path())
        .stdin(Stdio::null());
    if let Some(token) = token {
        command.args(["-H", &format!("Authorization: Bearer {token}")]);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let counted = said.lines().find(|line| line.contains("generated")).unwrap_or_default();
    println!("{}", counted.trim());
    (output.status.success(), said)
}

fn schemathesis() -> Option<PathBuf> {
    Some(python()?.parent().unwrap().join("schemathesis"))
}

#[test]
fn the_api_is_what_its_document_says() {
    let Some(schemathesis) = schemathesis() else { return };
    let gateway = serve(&[]);
    let port = gateway.first_port();
    let (passed, said) = judge(&schemathesis, port, None);
    assert!(passed && said.contains("No issues found"), "{said}");
    assert_eq!(http::get(port, "/health").status, 200);
    let log = gateway.end();
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn with_and_without_a_token_as_well() {
    let Some(schemathesis) = schemathesis() else { return };
    let careful = careful();
    let port = careful.gateway.first_port();
    // That some operations answer nothing but 401 is worth a warning to it, and meant.
    let (passed, said) = judge(&schemathesis, port, None);
    let closed = format!("{} operations returned only 401/403", writing(port));
    assert!(passed && said.contains(&closed), "{closed}: {said}");
    assert_eq!(directory_length(port), 1, "nobody without a token registers");
    let (passed, said) = judge(&schemathesis, port, Some(&careful.commander));
    assert!(passed && said.contains("No issues found"), "{said}");
}

/// How many operations change something.
fn writing(port: u16) -> usize {
    let document: Value = json(&http::get(port, "/api/v2/openapi.json"));
    let methods = document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap());
    methods.filter(|(method, _)| *method != "get").count()
}

fn directory_length(port: u16) -> usize {
    let directory: Value = json(&http::get(port, "/api/v2/endpoints"));
    directory["endpoints"].as_array().unwrap().len()
}
