//! Programs on CycloneDDS's Python package, which print what they saw when they end.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a foreign client may take.
pub(crate) const CLIENT_DEADLINE: Duration = Duration::from_secs(30);

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Starts a script of CycloneDDS in a domain.
pub(crate) fn client(python: &Path, script: &str, domain: u16, args: &str) -> Child {
    Command::new(python)
        .arg(root().join("tests/clients").join(script))
        .args(["--domain", &domain.to_string()])
        .args(args.split_whitespace())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits for a client to exit and returns the last line it printed.
pub(crate) fn finish(child: Child) -> serde_json::Value {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{:?}", output.status);
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}
