//! A rover that is driven from the console, in a plain terminal and in one that reports key releases, and a service that is
//! called from the composer.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::time::{Duration, Instant};

use roverline_tests::console::Console;
use roverline_tests::gateway::Gateway;
use roverline_tests::wait::{observe_for, poll};

const PATIENCE: Duration = Duration::from_secs(15);
/// Releases as terminals with kitty's keyboard protocol report them: of `D`, and of the arrow up.
const RELEASE_OF_D: &str = "\u{1b}[100;2:3u";
const RELEASE_OF_UP: &str = "\u{1b}[1;1:3A";

/// Speeds of a line: `Measured  0.25 m/s  0 °/s`.
fn speed(screen: &str, label: &str) -> Option<f64> {
    let line = screen.lines().find(|line| line.contains(label))?;
    line.split_once(label)?.1.split_whitespace().next()?.parse().ok()
}

fn until_stands(console: &Console) {
    console.until("the rover stands", PATIENCE, |screen| {
        let is_let_go = screen.contains("the rover stands");
        // The simulated rover drives its own way, whatever is commanded.
        (is_let_go && speed(screen, "Commanded") == Some(0.0)).then_some(())
    });
}

#[test]
fn a_rover_is_driven_with_a_plain_keyboard_and_with_releases() {
    let gateway = Gateway::up(&["--source", "sim"]);
    let mut console = Console::open_as("ann@base", &gateway.urls(), 110, 34);
    console.until_shows("▶◇◇◇ primary");
    console.type_keys("D");
    console.until_shows("▶ YOU #");
    // Plain: the key repeats while it is held, and its silence stops the rover.
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end {
        console.type_keys("w");
        observe_for(Duration::from_millis(33), "the interval of a keyboard's repeats");
    }
    console.until("it was commanded", PATIENCE, |screen| (speed(screen, "Sent")? > 5.0).then_some(()));
    until_stands(&console);
    assert!(console.screen().contains("no releases seen"), "{}", console.screen());
    // With releases: one press lasts until its release.
    console.type_keys(RELEASE_OF_D);
    console.until_shows("reports key releases");
    console.type_keys("\u{1b}[A");
    console.until("it goes on", PATIENCE, |screen| (speed(screen, "Commanded")? > 0.15).then_some(()));
    console.type_keys(RELEASE_OF_UP);
    until_stands(&console);
    console.type_keys("\u{1b}");
    console.until("the mode is left", PATIENCE, |screen| (!screen.contains("DRIVING")).then_some(()));
}

/// Presses a key again as long as it has no effect: on a busy computer keys arrive together, and pasted text sends nothing.
fn press_until_shown(console: &mut Console, key: &str, shown: &str) {
    for _ in 0..5 {
        observe_for(Duration::from_millis(300), "a key of its own");
        console.type_keys(key);
        if poll(Duration::from_secs(4), || console.screen().contains(shown).then_some(())).is_some() {
            return;
        }
    }
    panic!("{key:?} does not lead to {shown:?}; the screen:\n{}", console.screen());
}

#[test]
fn a_service_is_called_from_the_composer() {
    let gateway = Gateway::up(&["--source", "sim"]);
    let mut console = Console::open_as("ann@base", &gateway.urls(), 110, 34);
    console.until_shows("▶◇◇◇ primary");
    console.type_keys("c");
    console.until_shows("/autonomy/enable");
    console.type_keys("autoen");
    console.until_shows("autoen▏");
    for (key, shown) in
        [("\r", "each field fits its type"), ("\u{1b}[C", "true▏"), ("\r", "service response")]
    {
        press_until_shown(&mut console, key, shown);
    }
    console.until_shows("service response");
}
