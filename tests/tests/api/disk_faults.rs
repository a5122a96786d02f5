//! Disk faults: a full disk, a read-only disk, and a corrupted file. Shared state is refused with the reason,
//! telemetry continues, and everything recovers with the disk.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use roverline_tests::binary;
use roverline_tests::gateway::{self, Gateway};
use roverline_tests::http;
use roverline_tests::plain::PlainClient;
use roverline_tests::require;
use roverline_tests::skip::Missing;
use roverline_tests::temp;
use roverline_tests::wait::eventually;
use serde_json::{Value, json};

use super::{json as body, post, problem};

const SERVE: [&str; 7] = ["serve", "--port", "0", "--source", "sim", "--base-port", "0"];
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether this user may mount in own namespaces.
fn private_mounts() -> Result<(), Missing> {
    let mount = Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    match mount.is_ok_and(|output| output.status.success()) {
        true => Ok(()),
        false => Err(Missing::capability("this user may not mount in own namespaces")),
    }
}

/// An endpoint in namespaces of its own, after these mounts; `$last` is its state directory.
fn serve_after_mounts(mounts: &str, state: &Path) -> Gateway {
    let mut command = Command::new("unshare");
    gateway::clean_environment(&mut command);
    let script = format!("for last; do :; done; {mounts} && exec \"$@\"");
    command.args(["-rm", "sh", "-c", &script, "sh"]).arg(binary::bin("roverline-gateway")).args(SERVE);
    Gateway::start_in(state, command, &[])
}

/// The state directory as the endpoint sees it.
fn state_seen_by(gateway: &Gateway) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{}/root", gateway.pid()));
    root.join(gateway.state().strip_prefix("/").unwrap())
}

fn put(port: u16, key: &str, size: usize) -> http::Response {
    let value = format!("\"{}\"", "x".repeat(size));
    http::request(port, "PUT", &format!("/api/v2/kv/{key}"), "Content-Type: application/json\r\n", &value)
}

/// Checks everything that must not depend on the disk: telemetry, health and the rest of the API.
fn check_telemetry(port: u16) {
    let health: Value = serde_json::from_str(&http::get(port, "/health").body).unwrap();
    assert_eq!(health["status"], "healthy", "{health}");
    for path in ["/status", "/metrics", "/api/v2/robots", "/api/v2/topics", "/api/v2/endpoints"] {
        assert_eq!(http::get(port, path).status, 200, "{path}");
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut plain = PlainClient::connect(port).await;
        for _ in 0..3 {
            assert!(plain.next_of("telemetry").await["data"]["timestamp"].is_number());
        }
    });
}

/// Every kind of write is refused with a reason.
fn check_refusals(port: u16, reason: &[&str]) {
    for (path, request) in [
        ("/locks/acquire", json!({"resource": "arm", "client_id": "a", "lock_type": "shared"})),
        ("/queue/enqueue", json!({"queue_name": "q", "message": "x".repeat(50_000)})),
        ("/cache", json!({"key": "k", "value": "x".repeat(50_000)})),
        ("/api/v2/events", json!({"stream": "s", "type": "t", "data": "x".repeat(50_000)})),
    ] {
        let answer = post(port, path, &request.to_string());
        let response = problem(&answer, 503);
        let why = response["detail"].as_str().unwrap();
        assert!(reason.iter().any(|reason| why.contains(reason)), "{path}: {why}");
        assert_eq!(answer.header("retry-after"), Some("1"), "{path}");
    }
}

fn check_recovery(port: u16, read: &[&str]) {
    eventually("it can be written again", PATIENCE, || put(port, "after", 10).status == 200);
    for key in read {
        assert_eq!(http::get(port, &format!("/api/v2/kv/{key}")).status, 200, "{key}");
    }
    let verdict = body(&http::get(port, "/api/v2/events/verify"));
    assert_eq!(verdict["sound"], true, "{verdict}");
}

#[test]
fn a_full_disk_refuses_writes_and_nothing_else() {
    require!(private_mounts());
    let state = temp::dir();
    let gateway = serve_after_mounts("mount -t tmpfs -o size=4m none \"$last\"", state.path());
    let port = gateway.first_port();
    assert_eq!(put(port, "before", 100).status, 200);
    let ballast = state_seen_by(&gateway).join("ballast");
    let file = std::fs::File::create(&ballast).unwrap();
    let mut at = 0;
    while file.write_all_at(&[0xaa; 4_096], at).is_ok() {
        at += 4_096;
    }
    assert!(at > 0 && at < 4 << 20, "{at}");
    // Free space inside of the store's files may be used up first.
    let mut refused = put(port, "more", 100_000);
    for n in 0..200 {
        if refused.status != 200 {
            break;
        }
        refused = put(port, &format!("more-{n}"), 100_000);
    }
    check_refusals(port, &["full", "No space left", "I/O", "locking", "unable to open"]);
    check_telemetry(port);
    assert_eq!(body(&http::get(port, "/api/v2/kv/before?linearizable=true"))["version"], 1);
    assert_eq!(http::get(port, "/locks").status, 200);
    assert_eq!(http::get(port, "/queue/all").status, 200);
    assert_eq!(http::get(port, "/api/v2/events").status, 200);
    std::fs::remove_file(&ballast).unwrap();
    drop(file);
    check_recovery(port, &["before"]);
    assert!(!gateway.stop_and_read_stderr().contains("panicked"));
}

#[test]
fn a_read_only_disk_can_still_be_read() {
    require!(private_mounts());
    let scratch = temp::dir();
    let gateway = serve_in(scratch.path());
    assert_eq!(put(gateway.first_port(), "before", 100).status, 200);
    drop(gateway);
    let bind = "mount --bind \"$last/store\" \"$last/store\" && mount -o remount,bind,ro \"$last/store\"";
    let gateway = serve_after_mounts(bind, scratch.path());
    let port = gateway.first_port();
    check_refusals(port, &["ead-only", "readonly"]);
    check_telemetry(port);
    assert_eq!(body(&http::get(port, "/api/v2/kv/before?linearizable=true"))["version"], 1);
    assert_eq!(http::get(port, "/locks").status, 200);
    let store = scratch.path().join("store");
    let (pid, store) = (gateway.pid().to_string(), store.to_str().unwrap());
    let enter = ["-t", &pid, "-U", "-m", "--preserve-credentials", "mount", "-o", "remount,bind,rw", store];
    let output = Command::new("nsenter").args(enter).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    check_recovery(port, &["before"]);
    assert!(!gateway.stop_and_read_stderr().contains("panicked"));
}

#[test]
fn a_corrupted_file_is_reported_and_can_be_removed() {
    let scratch = temp::dir();
    let file = scratch.path().join("store/roverline.db");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "this is something else. ".repeat(1_000)).unwrap();
    let gateway = serve_in(scratch.path());
    let port = gateway.first_port();
    check_refusals(port, &["not a database"]);
    check_telemetry(port);
    for path in ["/locks", "/queue/all", "/api/v2/kv/k", "/api/v2/events"] {
        let response = problem(&http::get(port, path), 503);
        assert!(response["detail"].as_str().unwrap().contains("not a database"), "{response}");
    }
    // The operator removes the file; no restart is needed.
    std::fs::remove_file(&file).unwrap();
    check_recovery(port, &[]);
    assert!(!gateway.stop_and_read_stderr().contains("panicked"));
    let log: String = std::fs::read_dir(scratch.path().join("log"))
        .unwrap()
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    let reports = log.lines().filter(|line| line.contains("the store does not open")).count();
    assert!((1..10).contains(&reports), "{reports} times in {log}");
}

/// An endpoint with this state directory.
fn serve_in(state: &Path) -> Gateway {
    Gateway::start_in(state, gateway::command(&SERVE), &[])
}
