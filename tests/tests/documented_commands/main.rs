//! Checks of every command in the README and the tutorial. A command without a check fails the test.
//!
//! The commands run as they are written, in network namespaces of their own, so that default ports are free and nothing
//! leaves the computer. Consoles run in a pseudo-terminal, and `rover.local` is an address of the namespace.
//!
//! Exceptions, which do not run here:
//!
//! - Builds, which take minutes. The scripts run, and a substitute for cargo succeeds at once; the programs they then
//!   start or pack are the debug ones of this test, whatever profile and features the script asks for.
//! - `cargo install` and `cargo bench`. The test only asks cargo whether the package and its program or benchmark exist.
//! - The tests of `scripts/test`: its cargo reports one passed test whenever it runs tests. Nothing is installed either.
//! - All scenarios of `scripts/faults` but one, which the table names.
//! - Live topics, another computer, and the recording `drive.mcap`, which is empty and refused by name.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

mod workplace;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use roverline_tests::require;
use serde_json::Value;

use crate::workplace::Workplace;

const DOCUMENTS: &[&str] = &["README.md", "docs/tutorial.md"];

/// How a documented command is checked. The text is what it prints or shows.
enum Check {
    /// It ends by itself with 0, beside a gateway on the simulated rover.
    Prints(&'static str),
    /// It does the same, also beside the relay of the tutorial.
    PrintsBesideRelay(&'static str),
    /// It goes on until it is ended, beside a gateway.
    Follows(&'static str),
    /// It goes on until it is ended, alone in its namespace.
    Serves(&'static str),
    /// It ends by itself with 0, alone in its namespace, with these further arguments.
    Finishes(&'static str, &'static str),
    /// It fills a terminal until `q` is typed, beside the gateway of this command, or alone if that is empty.
    Shows(&'static str, &'static str),
    /// It ends every process of the gateway beside it.
    EndsGateway,
    /// It builds this target, which its package has.
    Builds(&'static str),
}
use Check::{Builds, EndsGateway, Finishes, Follows, Prints, PrintsBesideRelay, Serves, Shows};

/// The gateway of the tutorial that serves other computers.
const UP_FOR_OTHERS: &str = "roverline-gateway up --host 0.0.0.0 --tokens tokens \
    --tls-cert tls/rover.local.crt --tls-key tls/rover.local.key";
/// The relay of the tutorial.
const RELAY: &str = "roverline-gateway relay --base-port 9080 --upstream \
    ws://127.0.0.1:8080,ws://127.0.0.1:8081,ws://127.0.0.1:8082,ws://127.0.0.1:8083";

/// Each command as it is written, without its comment.
const CHECKS: &[(&str, Check)] = &[
    ("scripts/demo", Shows("", "▶◇◇◇ primary")),
    ("scripts/demo --headless --for 10s", Finishes("", "all four endpoints live")),
    ("scripts/test", Finishes("", "tests: 3 passed, 0 flaky, 0 failed")),
    ("scripts/faults", Finishes("--quick --wide kill", "kill -9")),
    ("scripts/package", Finishes("", ".tar.gz")),
    ("cargo install --locked --path gateway", Builds("roverline-gateway")),
    ("cargo install --locked --path tui", Builds("roverline")),
    ("cargo bench -p roverline-bench --bench fanout", Builds("fanout")),
    ("kill -9 \"$(curl -s http://127.0.0.1:8080/status | jq .pid)\"", Prints("")),
    ("websocat ws://127.0.0.1:8080", Follows("\"type\":\"initial\"")),
    ("roverline-gateway up", Serves("ready")),
    ("roverline-gateway up --help", Prints("ROVERLINE_BASE_PORT")),
    ("roverline-gateway up --source sim", Serves("ready")),
    ("roverline-gateway up --session-budget 250kbit", Serves("ready")),
    (UP_FOR_OTHERS, Serves("ready")),
    ("roverline-gateway token add --tokens tokens ada", Prints("")),
    ("roverline-gateway cert init", Prints("ca.key")),
    ("roverline-gateway cert node rover.local 192.168.1.10", Prints("SHA256:")),
    ("roverline-gateway serve --source bag --file drive.mcap", Serves("drive.mcap")),
    ("roverline-gateway restart --rolling", Prints("")),
    ("roverline-gateway log debug", Prints("level debug for another")),
    ("roverline-gateway down", EndsGateway),
    (
        "roverline-gateway relay --upstream ws://rover:8080,ws://rover:8081,ws://rover:8082,ws://rover:8083",
        Serves("ready"),
    ),
    (RELAY, Follows("ready")),
    ("curl -s http://127.0.0.1:9080/health", PrintsBesideRelay("\"kind\":\"upstream\"")),
    ("curl -s http://127.0.0.1:8080/api/v2/robots", Prints("\"robots\"")),
    ("roverline", Shows("roverline-gateway up", "▶◇◇◇ primary")),
    ("roverline rover.local", Shows("roverline-gateway up --host 0.0.0.0", "▶◇◇◇ primary")),
    ("roverline --host rover.local --ca tls/ca.crt --token-file token", Shows(UP_FOR_OTHERS, "▶◇◇◇ primary")),
    ("roverline status", Prints("primary")),
    ("roverline status --json", Prints("\"endpoints\"")),
    ("roverline publish /cmd_vel '{linear: {x: 0.2}}'", Prints("")),
    ("roverline alarms", Prints("")),
    ("roverline traces", Prints("")),
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
fn what_cargo_would_build_exists() {
    let output = Command::new("cargo")
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    for (command, check) in CHECKS {
        let Builds(target) = check else { continue };
        let after = |flag: &str| command.split(' ').skip_while(|word| *word != flag).nth(1);
        let manifest = after("--path").map(|path| root().join(path).join("Cargo.toml"));
        let package = packages.iter().find(|package| {
            manifest.as_ref().is_some_and(|path| package["manifest_path"].as_str() == path.to_str())
                || package["name"].as_str() == after("-p")
        });
        let package = package.unwrap_or_else(|| panic!("{command}: there is no such package"));
        let kind = if command.contains(" bench ") { "bench" } else { "bin" };
        let has_it = package["targets"].as_array().unwrap().iter().any(|built| {
            built["name"] == *target
                && built["kind"][0] == kind
                && after("--bench").is_none_or(|it| it == *target)
        });
        assert!(has_it, "{command}: the package has no {kind} {target}");
    }
}

/// The part of a driver that runs one command beside a gateway.
fn beside(at: usize, check: &Check) -> Option<String> {
    let (seconds, accepted) = match check {
        Prints(_) | PrintsBesideRelay(_) => (30, "0"),
        Follows(_) => (4, "124"),
        _ => return None,
    };
    // The input stays open for longer than the command may run: a client ends when its input does.
    let open = seconds + 5;
    let run = format!(
        "timeout {seconds} bash {at}.sh < <(exec sleep {open} 2>/dev/null) >{at}.out 2>{at}.err; code=$?\n\
         [ $code = {accepted} ] || {{ echo \"$(cat {at}.sh): ended with $code: $(tail -n 3 {at}.err)\"; failed=1; }}\n"
    );
    if let PrintsBesideRelay(_) = check {
        return Some(format!("{RELAY} >relay.log 2>&1 & relay=$!\nuntil_ready relay.log\n{run}end $relay\n"));
    }
    Some(run)
}

#[test]
fn commands_beside_a_gateway_do_what_the_documents_say() {
    let workplace = require!(Workplace::new());
    let mut driver = String::from("up roverline-gateway up\n");
    for (at, (command, check)) in CHECKS.iter().enumerate() {
        workplace.write(&format!("{at}.sh"), command);
        driver.extend(beside(at, check));
    }
    driver.push_str("exit ${failed:-0}\n");
    let (code, text) = workplace.run(&driver);
    assert_eq!(code, 0, "{text}");
    for (at, (command, check)) in CHECKS.iter().enumerate() {
        if let Prints(expected) | PrintsBesideRelay(expected) | Follows(expected) = check {
            let read = |name: &str| workplace.read(&format!("{at}.{name}"));
            let printed = read("out") + &read("err");
            assert!(printed.contains(expected), "{command}: no {expected:?} in {printed}");
        }
    }
}

#[test]
fn servers_start_as_the_documents_say() {
    let workplace = require!(Workplace::new());
    for (command, check) in CHECKS {
        let Serves(expected) = check else { continue };
        let driver = format!("prepare_tls; exec timeout 6 {command}");
        let (code, text) = workplace.run(&driver);
        // The recording of the example is empty, and refused by name.
        let accepted = if command.contains("drive.mcap") { code != 0 } else { code == 124 };
        assert!(accepted && text.contains(expected), "{command}: ended with {code}, printed {text}");
    }
}

#[test]
fn scripts_finish_as_the_documents_say() {
    let workplace = require!(Workplace::new());
    for (command, check) in CHECKS {
        let Finishes(arguments, expected) = check else { continue };
        let driver = format!("exec timeout 30 {command} {arguments}");
        let (code, text) = workplace.run(&driver);
        assert!(code == 0 && text.contains(expected), "{command}: ended with {code}, printed {text}");
    }
}

#[test]
fn consoles_show_what_the_documents_say() {
    let workplace = require!(Workplace::new());
    for (command, check) in CHECKS {
        let Shows(gateway, expected) = check else { continue };
        workplace.write("console.sh", &format!("stty cols 120 rows 40; exec {command}"));
        let up = if gateway.is_empty() { String::new() } else { format!("prepare_tls; up {gateway}\n") };
        let driver = format!("{up}timeout 30 script -qec 'bash console.sh' /dev/null");
        let (code, screen) = workplace.run_in_terminal(&driver, expected);
        assert!(code == 0 && screen.contains(expected), "{command}: ended with {code}, showed\n{screen}");
    }
}

#[test]
fn a_gateway_ends_as_the_documents_say() {
    let workplace = require!(Workplace::new());
    for (command, check) in CHECKS {
        let EndsGateway = check else { continue };
        let driver = format!(
            "up roverline-gateway up\n\
             endpoints=$(curl -s http://127.0.0.1:808[0-3]/status | jq .pid)\n\
             [ $(wc -w <<<$endpoints) = 4 ] || fail \"not four endpoints: $endpoints\"\n\
             timeout 30 {command} || fail \"ended with $?\"\n\
             for process in $gateway $endpoints; do\n\
                 timeout 10 tail --pid=$process -f /dev/null || fail \"process $process is still there\"\n\
             done\n"
        );
        let (code, text) = workplace.run(&driver);
        assert_eq!(code, 0, "{command}: {text}");
    }
}
