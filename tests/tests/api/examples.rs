//! Runs the examples of `docs/http.md` literally.

use std::process::{Command, Stdio};
use std::time::Duration;

use roverline_tests::http;
use roverline_tests::skip::{Missing, skip};
use roverline_tests::wait::eventually;
use serde_json::Value;

use super::serve;

const PAGE: &str = include_str!("../../../docs/http.md");

/// The lines of the page's shell blocks.
fn lines() -> Vec<String> {
    let blocks = PAGE.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let text = blocks.collect::<String>().replace("\\\n", " ");
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn the_examples_of_the_page_work() {
    if Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_err() {
        return skip(&Missing::capability("there is no curl"));
    }
    let gateway = serve(&[]);
    let port = gateway.first_port();
    eventually("samples", Duration::from_secs(10), || {
        http::get(port, "/api/v2/topics/odom/latest").status == 200
    });
    let lines = lines();
    assert!(lines.len() >= 8, "{lines:?}");
    for line in lines {
        assert!(line.starts_with("curl "), "{line}");
        let here = line.replace("127.0.0.1:8080", &format!("127.0.0.1:{port}"));
        let output = Command::new("sh").args(["-c", &here]).stdin(Stdio::null()).output().unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        // No response is a problem document.
        let problem = serde_json::from_str::<Value>(&stdout).is_ok_and(|json| json.get("detail").is_some());
        assert!(!problem, "{line}: {stdout}");
        assert!(!stdout.is_empty() || line.contains("-X DELETE"), "{line}");
    }
}

#[test]
fn every_path_is_on_the_page() {
    let gateway = serve(&[]);
    let document: Value =
        serde_json::from_str(&http::get(gateway.first_port(), "/api/v2/openapi.json").body).unwrap();
    for path in document["paths"].as_object().unwrap().keys() {
        assert!(PAGE.contains(&format!("{path}`")) || path == "/", "docs/http.md does not name {path}");
    }
}
