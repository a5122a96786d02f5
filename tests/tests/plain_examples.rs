//! The documents' examples for plain clients are identical with the tested ones.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use roverline_tests::clients::{browser, python};
use roverline_tests::gateway::Gateway;
use roverline_tests::process::{self, Guard};
use roverline_tests::require;
use roverline_tests::script::Script;
use roverline_tests::skip::{Missing, skip};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The fenced code blocks of a language in a document.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("docs").join(document)).unwrap();
    let parts = text.split("```").skip(1).step_by(2);
    parts.filter_map(|part| part.strip_prefix(&format!("{language}\n")).map(str::to_owned)).collect()
}

fn client(name: &str) -> String {
    std::fs::read_to_string(root().join("tests/clients").join(name)).unwrap()
}

/// Runs a shell command until it has printed three lines, for at most 20 s.
fn three_lines(line: &str) -> Vec<String> {
    let path = format!("{}:{}", root().join(".clients/cargo/bin").display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("timeout");
    command.args(["20", "sh", "-c", &format!("{line} | head -n 3")]).env("PATH", path);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    // Like a terminal without input: standard input stays open.
    let _open = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn the_examples_in_the_documents_are_the_tested_ones() {
    assert_eq!(blocks("plain.md", "python"), [client("plain_example.py")]);
    assert_eq!(blocks("browser.md", "js"), [client("browser_example.js")]);
    assert_eq!(blocks("plain.md", "sh").len(), 3);
}

#[test]
fn websocat_shows_the_rover() {
    if !root().join(".clients/cargo/bin/websocat").exists() {
        return skip(&Missing::client("run scripts/setup-clients: there is no websocat"));
    }
    let gateway = Gateway::up(&["--source", "sim"]);
    for line in blocks("plain.md", "sh") {
        if line.contains("jq") && !Path::new("/usr/bin/jq").exists() {
            skip(&Missing::capability("there is no jq"));
            continue;
        }
        let printed = three_lines(line.trim().replace("8080", &gateway.first_port().to_string()).as_str());
        assert_eq!(printed.len(), 3, "{line}: {printed:?}");
        let last: Value = serde_json::from_str(&printed[2]).unwrap();
        match line.contains("jq") {
            true => assert!(last["lat"].is_f64(), "{line}: {last}"),
            false => assert!(last["type"].is_string(), "{line}: {last}"),
        }
    }
}

#[test]
fn the_python_example_reconnects_after_a_kill() {
    let python = require!(python());
    let gateway = Gateway::up(&["--source", "sim"]);
    let url = format!("ws://127.0.0.1:{}/telemetry", gateway.first_port());
    let mut command = Command::new(python);
    command.arg(root().join("tests/clients/plain_example.py")).arg(url);
    let mut child = Guard(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap());
    let stdout = std::io::BufReader::new(child.0.stdout.take().unwrap());
    let (sender, lines) = std::sync::mpsc::sync_channel(64);
    std::thread::spawn(move || {
        for line in std::io::BufRead::lines(stdout).map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let status = |line: &str| line.contains("waypoint");
    while !status(&lines.recv_timeout(PATIENCE).unwrap()) {}
    process::signal(gateway.endpoint_pid(roverline_protocol::Tier::Primary), process::Signal::KILL);
    // Some messages may have been in flight; the later ones come over the next connection.
    for _ in 0..10 {
        lines.recv_timeout(PATIENCE).unwrap();
    }
}

#[test]
fn the_custom_page_example_fails_over() {
    let node = require!(browser());
    let gateway = Gateway::up(&["--source", "sim"]);
    let ports: Vec<String> = gateway.endpoints.iter().map(|(_, port)| port.to_string()).collect();
    let mut script = Script::start(&node, "custom_page.mjs", &ports);
    let first = script.line();
    assert!(first["printed"].as_str().unwrap().contains("waypoint"), "{first}");
    process::signal(gateway.endpoint_pid(roverline_protocol::Tier::Primary), process::Signal::KILL);
    let output = script.finish(PATIENCE);
    assert_eq!(output["moved"], true, "{output}");
}
