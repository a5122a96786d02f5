//! The program as a shell sees it.
#![allow(clippy::unwrap_used, reason = "only tests use this")]

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The console's command with its own directories, so that it neither reads nor changes the user's files.
fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roverline"));
    command.args(args).stdin(Stdio::null());
    command.env("XDG_STATE_HOME", env!("CARGO_TARGET_TMPDIR"));
    command.env("XDG_CONFIG_HOME", env!("CARGO_TARGET_TMPDIR"));
    for name in ["ROVERLINE_ENDPOINTS", "ROVERLINE_THEME", "ROVERLINE_LOG"] {
        command.env_remove(name);
    }
    command
}

fn run(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A program that stands in for the gateway.
fn fake_gateway(name: &str, script: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut file = std::fs::File::create(&path).unwrap();
    writeln!(file, "#!/bin/sh\n{script}").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn help_teaches() {
    let output = run(&["--help"]);
    assert!(output.status.success());
    for needed in ["Examples:", "roverline demo", "status", "echo", "ROVERLINE_ENDPOINTS", "Exit codes"] {
        assert!(stdout(&output).contains(needed), "{needed}");
    }
}

#[test]
fn a_screen_that_is_none_and_a_filter_of_one_that_has_none_are_named() {
    for (args, why) in [
        (&["--screen", "nonsense"][..], "there is no such screen; there are drive, map, links, team, topics"),
        (&["--screen", "MAP", "--filter", "x"], "the screen Map has no filter; topics and log have one"),
        (&["--filter", "x"], "--screen"),
        (&["--screen", "5", "--filter", "motor"], "the console needs a terminal"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(stderr(&output).contains(why), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn completions_for_bash() {
    let output = run(&["completions", "bash"]);
    assert!(output.status.success());
    assert!(stdout(&output).contains("_roverline()"));
}

#[test]
fn wrong_usage_exits_with_2() {
    for args in [
        &["--bogus"][..],
        &["status", "--timeout", "5"],
        &["stauts"],
        &["ftp://a:1"],
        &["--theme", "none"],
        &["demo", "--for", "1s"],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn without_a_terminal_it_says_what_to_use() {
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("roverline status"), "{}", stderr(&output));
    assert!(output.stdout.is_empty());
}

#[test]
fn themes_are_listed() {
    let output = run(&["themes"]);
    assert!(stdout(&output).contains("roverline-dark") && stdout(&output).contains("roverline-light"));
}

#[test]
fn nobody_there_exits_with_1_and_in_time() {
    let begin = Instant::now();
    for args in [
        &["status", "127.0.0.1:9", "--timeout", "300ms"][..],
        &["topics", "127.0.0.1:9", "--timeout", "300ms"],
        &["echo", "/x", "127.0.0.1:9", "--timeout", "300ms"],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("roverline"), "says what to try: {}", stderr(&output));
    }
    assert!(begin.elapsed() < Duration::from_secs(20));
    let json = run(&["status", "127.0.0.1:9", "--timeout", "300ms", "--json"]);
    assert_eq!(json.status.code(), Some(1));
    let document: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(document["rover"]["position"].is_null());
}

#[test]
fn without_a_gateway_every_command_says_what_was_tried_and_what_to_do() {
    for args in [
        &["status", "127.0.0.1:9", "--timeout", "300ms"][..],
        &["--host", "127.0.0.1", "--base-port", "9", "topics", "--timeout", "300ms"],
        &["echo", "/odom", "127.0.0.1:9", "--timeout", "300ms"],
        &["--host", "127.0.0.1", "--base-port", "9", "echo", "/odom", "--timeout", "300ms", "--json"],
        &["locks", "list", "--url", "127.0.0.1:9"],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let text = stderr(&output);
        for needed in ["ws://127.0.0.1:9", "roverline-gateway up", "--host", "roverline demo"] {
            assert!(text.contains(needed), "{args:?}: {needed} is not in {text}");
        }
    }
}

#[test]
fn what_is_no_command_gets_a_hint() {
    for (args, hint) in [
        (&["stauts"][..], "roverline status"),
        (&["restart"], "roverline-gateway restart"),
        (&["no-such-computer-anywhere"], "roverline --help"),
        (&["--base-port", "9000", "a:1"], "--base-port 9000"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(stderr(&output).contains(hint), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn a_log_that_cannot_be_written_is_no_reason_to_stop() {
    let output = command(&["themes"]).env("XDG_STATE_HOME", "/proc/none").output().unwrap();
    assert!(output.status.success());
    assert!(stderr(&output).contains("no log in /proc/none"), "{}", stderr(&output));
}

#[test]
fn the_gateways_own_words_are_shown_when_it_does_not_start() {
    let gateway = fake_gateway("taken", "echo 'port 8080 is taken' >&2; exit 1");
    let output = run(&["demo", "--headless", "--gateway", gateway.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("port 8080 is taken"), "{}", stderr(&output));
    let output = run(&["demo", "--headless", "--gateway", "/nowhere/gateway"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("cannot start /nowhere/gateway"), "{}", stderr(&output));
}

#[test]
fn endpoints_that_send_nothing_fail_the_check_and_the_gateway_is_ended() {
    let pid = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("silent.pid");
    let script = format!(
        "echo $$ > {}\ntest \"$ROVERLINE_EXIT_WITH_PARENT\" = 1 || exit 3\necho noise\n\
         echo 'ready {{\"endpoints\":[{{\"tier\":\"primary\",\"url\":\"ws://127.0.0.1:9\"}}]}}'\n\
         trap '' TERM\nwhile true; do sleep 0.1; done",
        pid.display()
    );
    let gateway = fake_gateway("silent", &script);
    let args = ["demo", "--headless", "--for", "300ms", "--json", "--gateway", gateway.to_str().unwrap()];
    let output = run(&args);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["endpoints"][0]["samples"], 0);
    let pid = std::fs::read_to_string(pid).unwrap();
    assert!(!std::path::Path::new(&format!("/proc/{}/stat", pid.trim())).exists(), "it was killed");
}
