//! Checks of every command in the README and the tutorial. A command without a check fails the test.
//!
//! Most commands run as they are written, in network namespaces of their own, so that default ports are free and
//! nothing leaves the computer.
//!
//! Commands with [`Exists`] do not run here. The test only checks that the files named beside them exist, and that
//! scripts parse (`bash -n`). They are:
//!
//! - programs that build or run for minutes: `scripts/demo`, `scripts/test`, `scripts/faults`, `scripts/package`,
//!   `cargo install` and `cargo bench`;
//! - the console, which needs a terminal or another computer: `roverline`, `roverline rover.local` and
//!   `roverline --host …`;
//! - `roverline-gateway down`, which would end the gateway that the other commands need;
//! - `curl` to port 9080, which needs the relay of the command before it.
//!
//! For the console and `down`, the file is where another test covers the command, or where it is implemented.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use roverline_tests::binary;

const DOCUMENTS: &[&str] = &["README.md", "docs/tutorial.md"];

/// How a documented command is checked.
enum Check {
    /// It ends by itself with 0, beside a gateway on the simulated rover, and prints this.
    Prints(&'static str),
    /// It goes on until it is ended, alone in its namespace, and prints this before.
    Serves(&'static str),
    /// It goes on until it is ended, beside a gateway, and prints this before.
    Follows(&'static str),
    /// It does not run here. These files exist: the program itself, or the place that tests or implements it.
    Exists(&'static [&'static str]),
}
use Check::{Exists, Follows, Prints, Serves};

/// Each command as it is written, without its comment.
const CHECKS: &[(&str, Check)] = &[
    ("scripts/demo", Exists(&["scripts/demo"])),
    ("scripts/demo --headless --for 10s", Exists(&["scripts/demo"])),
    ("scripts/test", Exists(&["scripts/test"])),
    ("scripts/faults", Exists(&["scripts/faults"])),
    ("scripts/package", Exists(&["scripts/package"])),
    ("cargo install --locked --path gateway", Exists(&["gateway/src/main.rs"])),
    ("cargo install --locked --path tui", Exists(&["tui/src/main.rs"])),
    ("cargo bench -p roverline-bench --bench fanout", Exists(&["tests/bench/benches/fanout/main.rs"])),
    ("kill -9 \"$(curl -s http://127.0.0.1:8080/status | jq .pid)\"", Prints("")),
    ("websocat ws://127.0.0.1:8080", Follows("\"type\":\"initial\"")),
    ("roverline-gateway up", Serves("ready")),
    ("roverline-gateway up --help", Prints("ROVERLINE_BASE_PORT")),
    ("roverline-gateway up --source sim", Serves("ready")),
    ("roverline-gateway up --session-budget 250kbit", Serves("ready")),
    (
        "roverline-gateway up --host 0.0.0.0 --tokens tokens \
         --tls-cert tls/rover.local.crt --tls-key tls/rover.local.key",
        Serves("ready"),
    ),
    ("roverline-gateway token add --tokens tokens ada", Prints("")),
    ("roverline-gateway cert init", Prints("ca.key")),
    ("roverline-gateway cert node rover.local 192.168.1.10", Prints("SHA256:")),
    ("roverline-gateway serve --source bag --file drive.mcap", Serves("drive.mcap")),
    ("roverline-gateway restart --rolling", Prints("")),
    ("roverline-gateway down", Exists(&["tests/tests/adoption.rs"])),
    (
        "roverline-gateway relay --upstream ws://rover:8080,ws://rover:8081,ws://rover:8082,ws://rover:8083",
        Serves("ready"),
    ),
    (
        "roverline-gateway relay --base-port 9080 --upstream \
         ws://127.0.0.1:8080,ws://127.0.0.1:8081,ws://127.0.0.1:8082,ws://127.0.0.1:8083",
        Follows("ready"),
    ),
    ("curl -s http://127.0.0.1:9080/health", Exists(&["docs/relay.md"])),
    ("curl -s http://127.0.0.1:8080/api/v2/robots", Prints("\"robots\"")),
    ("roverline", Exists(&["tests/tests/console.rs"])),
    ("roverline rover.local", Exists(&["tui/src/cli/reach.rs"])),
    (
        "roverline --host rover.local --ca tls/ca.crt --token-file token",
        Exists(&["tests/tests/tls_clients.rs"]),
    ),
    ("roverline status", Prints("primary")),
    ("roverline status --json", Prints("\"endpoints\"")),
    ("roverline topics", Prints("/odom")),
    ("roverline echo /imu/data", Follows("linear_acceleration")),
    ("roverline echo /odom --count 1", Prints("pose")),
    ("roverline locks run arm --wait 30s -- ./pick_up_sample", Prints("picked up")),
    ("roverline queues enqueue waypoints '{\"x\": 3, \"y\": 4}'", Prints("")),
    ("roverline kv put mission/goal '\"north gate\"'", Prints("")),
    ("roverline events tail --follow", Follows("")),
];

/// The end of a line whose command goes on in the next one.
const LINE_CONTINUES: &str = " \\\n    ";

/// The lines of every `sh` block, and the commands in the text that name a program of ours.
fn documented() -> BTreeSet<String> {
    let mut commands = BTreeSet::new();
    for document in DOCUMENTS {
        let text = std::fs::read_to_string(root().join(document)).unwrap();
        for (at, part) in text.split("```").enumerate() {
            if at % 2 == 1 {
                let block = part.strip_prefix("sh\n").unwrap_or_default().replace(LINE_CONTINUES, " ");
                let lines = block.lines();
                commands.extend(lines.map(without_comment).filter(|line| !line.is_empty()));
            } else {
                let spans = part.split('`').skip(1).step_by(2).map(|span| span.replace('\n', " "));
                let ours = |span: &String| {
                    let program = span.split(' ').next().unwrap_or_default();
                    span.contains(' ')
                        && ["roverline", "roverline-gateway", "cargo", "scripts/demo"].contains(&program)
                        || span.starts_with("scripts/") && !span.contains('.')
                };
                commands.extend(spans.filter(ours));
            }
        }
    }
    commands
}

fn without_comment(line: &str) -> String {
    line.split("  #").next().unwrap_or_default().trim().to_owned()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[test]
fn every_documented_command_has_a_check() {
    let checked: BTreeSet<String> = CHECKS.iter().map(|(command, _)| (*command).to_owned()).collect();
    let documented = documented();
    let missing: Vec<_> = documented.difference(&checked).collect();
    assert!(missing.is_empty(), "documented and not checked: {missing:#?}");
    let stale: Vec<_> = checked.difference(&documented).collect();
    assert!(stale.is_empty(), "checked and not documented: {stale:#?}");
}

#[test]
fn commands_that_do_not_run_here_name_existing_files() {
    for (command, check) in CHECKS {
        if let Exists(paths) = check {
            for path in *paths {
                assert!(root().join(path).exists(), "{command}: there is no {path}");
            }
        }
    }
    for script in ["scripts/demo", "scripts/test", "scripts/faults", "scripts/package"] {
        let status = Command::new("bash").arg("-n").arg(root().join(script)).status().unwrap();
        assert!(status.success(), "{script} is no script");
    }
}

/// Runs `driver` in a network namespace; `None` where namespaces are not allowed.
fn in_namespace(directory: &Path, driver: &str) -> Option<(i32, String)> {
    let clients = root().join(".clients/cargo/bin");
    let programs = binary::bin("roverline").parent().unwrap().to_owned();
    let path =
        format!("{}:{}:{}", programs.display(), clients.display(), std::env::var("PATH").unwrap_or_default());
    let script = format!("ip link set lo up || exit 99\n{driver}");
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "bash", "-c", &script])
        .current_dir(directory)
        .env("PATH", path)
        .env("HOME", directory)
        .env_remove("XDG_STATE_HOME")
        .output()
        .ok()?;
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let text = text.concat();
    if output.status.code() == Some(99) || text.contains("unshare failed") {
        return None;
    }
    Some((output.status.code().unwrap_or(-1), text))
}

/// A directory with what the commands expect to find.
fn directory(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("roverline-documented-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let script = directory.join("pick_up_sample");
    std::fs::write(&script, "#!/bin/sh\necho picked up\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(directory.join("drive.mcap"), b"").unwrap();
    directory
}

#[test]
fn commands_beside_a_gateway_do_what_the_documents_say() {
    let directory = directory("beside");
    let mut driver = String::from(
        "roverline-gateway up --source sim >up.log 2>&1 & gateway=$!\n\
         trap 'kill $gateway; wait $gateway' EXIT\n\
         for n in $(seq 200); do curl -fs http://127.0.0.1:8080/health >/dev/null && break; sleep 0.1; done\n",
    );
    for (at, (command, check)) in CHECKS.iter().enumerate() {
        let follows = match check {
            Prints(_) => false,
            Follows(_) => true,
            _ => continue,
        };
        std::fs::write(directory.join(format!("{at}.sh")), command).unwrap();
        let (seconds, accepted) = if follows { (4, "124") } else { (30, "0") };
        // The input stays open for longer than the command may run: a client ends when its input does.
        let open = seconds + 5;
        driver.push_str(&format!(
            "timeout {seconds} bash {at}.sh < <(exec sleep {open} 2>/dev/null) >{at}.out 2>{at}.err; code=$?\n\
             [ $code = {accepted} ] || {{ echo \"$(cat {at}.sh): ended with $code: $(tail -n 3 {at}.err)\"; failed=1; }}\n"
        ));
    }
    driver.push_str("exit ${failed:-0}\n");
    let Some((code, text)) = in_namespace(&directory, &driver) else {
        return println!("SKIPPED: no network namespaces here");
    };
    assert_eq!(code, 0, "{text}");
    for (at, (command, check)) in CHECKS.iter().enumerate() {
        if let Prints(expected) | Follows(expected) = check {
            let read = |name: &str| {
                std::fs::read_to_string(directory.join(format!("{at}.{name}"))).unwrap_or_default()
            };
            let printed = read("out") + &read("err");
            assert!(printed.contains(expected), "{command}: no {expected:?} in {printed}");
        }
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn servers_start_as_the_documents_say() {
    let directory = directory("servers");
    for (command, check) in CHECKS {
        let Serves(expected) = check else { continue };
        let token = "roverline-gateway token add --tokens tokens bob >/dev/null";
        let certs = "[ -e tls ] || { roverline-gateway cert init && roverline-gateway cert node rover.local; } >/dev/null";
        let driver = format!("{token}\n{certs}\nexec timeout 6 {command}");
        let Some((code, text)) = in_namespace(&directory, &driver) else {
            return println!("SKIPPED: no network namespaces here");
        };
        // The recording of the example is empty, and refused by name.
        let accepted = if command.contains("drive.mcap") { code != 0 } else { code == 124 };
        assert!(accepted && text.contains(expected), "{command}: ended with {code}, printed {text}");
    }
    std::fs::remove_dir_all(&directory).unwrap();
}
