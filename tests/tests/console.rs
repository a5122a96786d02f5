//! The real console on a real gateway: in a terminal, and as commands for scripts.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use roverline_protocol::Tier;
use roverline_tests::console::Console;
use roverline_tests::gateway::Gateway;
use roverline_tests::process::{self, Guard, Signal};
use roverline_tests::temp;
use roverline_tests::wait::{eventually, observe_for};
use roverline_tests::{binary, http};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(15);

/// The text after a label, in the first line that contains it.
fn after<'a>(screen: &'a str, label: &str) -> Option<&'a str> {
    screen.lines().find_map(|line| Some(line.split_once(label)?.1.trim_start()))
}

/// The number after a label.
fn number_after(screen: &str, label: &str) -> Option<f64> {
    let text = after(screen, label)?;
    text.split_whitespace().find_map(|word| word.parse().ok())
}

fn works_at(columns: u16, rows: u16) {
    let gateway = Gateway::up(&["--source", "sim"]);
    let mut console = Console::open(&gateway.urls(), columns, rows);
    console.until_shows("▶◇◇◇ primary");
    assert!(console.has_terminal());
    let speed = console.until("a speed", PATIENCE, |screen| number_after(screen, "Speed"));
    assert!((-3.0..3.0).contains(&speed), "{speed}");
    let battery = console.until("a charge", PATIENCE, |screen| number_after(screen, "Battery"));
    assert!((1.0..=100.0).contains(&battery), "{battery}");
    console.until("a mission", PATIENCE, |screen| {
        let mission = after(screen, "Mission ")?;
        ["Autonomous", "Science", "Equipment", "Delivery", "Return"]
            .iter()
            .any(|name| mission.starts_with(name))
            .then_some(())
    });

    console.type_keys("3");
    console.until_shows("ENDPOINTS");
    console.type_keys("5");
    console.until_shows("/battery_state");
    console.type_keys("1");
    console.until_shows("Speed");

    process::signal(gateway.endpoint_pid(Tier::Primary), Signal::KILL);
    console.until_shows("primary was left: closed");
    // The rover may stand still, but the position has noise.
    let position = |screen: &str| after(screen, "Longitude").map(str::to_owned);
    let before = position(&console.screen());
    console.until("values that go on", PATIENCE, |screen| (position(screen) != before).then_some(()));
    console.type_keys("3");
    console.until("the failover's cause in the list", PATIENCE, |screen| {
        let list = screen.split_once("FAILOVERS")?.1;
        list.contains("closed").then_some(())
    });
    console.until("the primary to be used again", Duration::from_secs(30), |screen| {
        screen.contains("▶◇◇◇ primary").then_some(())
    });

    console.type_keys("q");
    assert_eq!(console.exit_code(Duration::from_secs(5)), 0);
    eventually("the terminal to be given back", Duration::from_secs(2), || {
        !console.has_terminal() && !console.hides_cursor()
    });
}

#[test]
fn a_small_terminal() {
    works_at(80, 24);
}

#[test]
fn a_large_terminal() {
    works_at(160, 50);
}

#[test]
fn the_stop_works_while_the_terminal_takes_no_output() {
    let gateway = Gateway::up(&["--source", "sim"]);
    let mut console = Console::open(&gateway.urls(), 160, 50);
    console.until_shows("▶◇◇◇ primary");
    console.until("a speed", PATIENCE, |screen| number_after(screen, "Speed"));
    console.set_stalled(true);
    observe_for(Duration::from_secs(6), "the terminal's buffer fills: a frame comes ten times a second");
    let pressed = Instant::now();
    console.type_keys("!");
    eventually("the stop to be engaged", Duration::from_secs(2), || {
        let answer = http::get(gateway.port(Tier::Emergency), "/api/v2/emergency-stop");
        serde_json::from_str::<Value>(&answer.body).is_ok_and(|state| state["engaged"] == true)
    });
    println!("engaged {} ms after the key", pressed.elapsed().as_millis());
    // No question was seen: no key answers one.
    console.type_keys("R");
    observe_for(Duration::from_millis(300), "the time in which a person would have read the question");
    console.type_keys("release\r");
    observe_for(Duration::from_secs(1), "nothing is released");
    let answer = http::get(gateway.port(Tier::Emergency), "/api/v2/emergency-stop");
    assert!(answer.body.contains("true"), "{answer:?}");
    console.set_stalled(false);
    console.until_shows("EMERGENCY STOP ENGAGED");
    console.type_keys("\u{1b}");
    observe_for(
        Duration::from_millis(300),
        "Escape is told from the beginning of a sequence by what follows it",
    );
    console.type_keys("q");
    assert_eq!(console.exit_code(Duration::from_secs(5)), 0);
}

#[test]
fn a_terminal_that_answers_no_query_does_not_end_the_console() {
    let gateway = Gateway::up(&["--source", "sim"]);
    let mut console = Console::open(&gateway.urls(), 100, 30);
    console.until_shows("▶◇◇◇ primary");
    // ^Z: the console gives the terminal back and takes it again. This terminal is not a shell's, so nothing is
    // suspended in between.
    console.type_keys("\u{1a}");
    console.type_keys("3");
    console.until_shows("ENDPOINTS");
    console.type_keys("1");
    console.until("the whole screen", PATIENCE, |screen| number_after(screen, "Speed"));
    console.type_keys("q");
    assert_eq!(console.exit_code(Duration::from_secs(5)), 0);
}

/// Runs `roverline` until it exits; exit code and standard output.
fn roverline(args: &[&str], patience: Duration) -> (i32, String) {
    let home = temp::dir();
    let mut command = Command::new(binary::bin("roverline"));
    command.env_clear().env("HOME", home.path()).env("LANG", "C.UTF-8").args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut guard = Guard(command.spawn().unwrap());
    let mut pipe = guard.0.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut pipe, &mut text).unwrap();
        text
    });
    let status = process::wait(&mut guard.0, patience);
    drop(guard);
    let text = reader.join().unwrap();
    let status = status.unwrap_or_else(|| panic!("{args:?} still ran after {patience:?}: {text}"));
    (status.code().unwrap_or(-1), text)
}

#[test]
fn commands_for_scripts() {
    let gateway = Gateway::up(&["--source", "sim"]);
    let urls = gateway.urls();
    let run = |args: &[&str]| {
        let all: Vec<&str> = args.iter().copied().chain(urls.iter().map(String::as_str)).collect();
        let (code, text) = roverline(&all, Duration::from_secs(20));
        assert_eq!(code, 0, "{args:?}: {text}");
        text
    };
    let status: Value = serde_json::from_str(&run(&["status", "--json"])).unwrap();
    assert_eq!(status["link"]["state"], "active", "{status}");
    assert_eq!(status["endpoints"].as_array().unwrap().len(), 4);
    assert!(status["rover"]["odometry"]["speed_mps"].is_number(), "{status}");
    assert!(status["rover"]["battery"]["percent"].is_number(), "{status}");
    assert!(status["rover"]["mission"]["value"].is_string(), "{status}");

    let topics = run(&["topics"]);
    let known = http::status(gateway.port(Tier::Primary)).topics;
    for topic in known {
        assert!(topics.contains(&topic.name), "{} is not in:\n{topics}", topic.name);
    }
    let echo = run(&["echo", "/odom", "--count", "3", "--json"]);
    let messages: Vec<Value> =
        serde_json::Deserializer::from_str(&echo).into_iter().map(Result::unwrap).collect();
    assert_eq!(messages.len(), 3, "{echo}");
    assert!(!run(&["echo", "/odom", "--count", "1"]).is_empty());
}

#[test]
fn nothing_reachable_is_a_failure() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, _) =
        roverline(&["status", &unused.to_string(), "--timeout", "500ms"], Duration::from_secs(10));
    assert_eq!(code, 1);
}

#[test]
fn the_demo_runs_headless() {
    let (code, text) =
        roverline(&["demo", "--headless", "--for", "5s", "--base-port", "0"], Duration::from_secs(40));
    assert_eq!(code, 0, "{text}");
    for tier in Tier::ALL {
        assert!(text.contains(tier.name()), "{text}");
    }
}
