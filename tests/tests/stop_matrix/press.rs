//! A press of the stop, the views after it, and the assertions about them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use roverline_tests::http;
use roverline_tests::wait::{eventually, observe_for, poll};
use serde_json::{Value, json};

use crate::Timing;
use crate::operators::{Operator, Way};

pub(crate) const PATH: &str = "/api/v2/emergency-stop";
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// One row of the matrix.
pub(crate) struct Row {
    pub(crate) way: Way,
    /// The operator's view at each observation before the condition ended.
    pub(crate) views: Vec<String>,
    pub(crate) last: String,
    pub(crate) engaged: Option<Duration>,
}

/// An endpoint's state of the stop, if it answers soon.
fn state(port: u16) -> Option<Value> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    let request = format!("GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

/// Whether the rover is stopped, according to the best endpoint that answers.
pub(crate) fn is_engaged(ports: &[u16]) -> bool {
    ports.iter().find_map(|port| state(*port)).is_some_and(|state| state["engaged"] == true)
}

/// Sends a command over HTTP; the status.
pub(crate) fn command(port: u16, body: &Value) -> u16 {
    http::request(port, "POST", PATH, "Content-Type: application/json\r\n", &body.to_string()).status
}

/// Releases the stop, again if an engage that was sent before arrives late: an engage always engages.
pub(crate) fn release(ports: &[u16]) {
    eventually("it is released", PATIENCE, || {
        command(ports[0], &json!({"engage": false, "reason": "matrix"}));
        !is_engaged(ports)
    });
}

/// Presses stop under a condition and reads the operator's views. `end` ends the condition after the last one.
pub(crate) fn press(
    name: &str,
    timing: Timing,
    operator: &mut Operator,
    ports: &[u16],
    end: impl FnOnce(&Operator),
) -> Row {
    let pressed = Instant::now();
    operator.press();
    let polled = ports.to_owned();
    let patience = PATIENCE + timing.observe_at[timing.observe_at.len() - 1];
    let rover = std::thread::spawn(move || poll(patience, || is_engaged(&polled).then(|| pressed.elapsed())));
    let mut views = Vec::new();
    for at in timing.observe_at {
        observe_for(at.saturating_sub(pressed.elapsed()), "the views are read at set times");
        views.push(operator.visible_text());
    }
    end(operator);
    let engaged = rover.join().unwrap();
    if engaged.is_some() || operator.way.waits_for_an_answer() {
        let _ = poll(PATIENCE, || is_answered(operator.way, &operator.visible_text()).then_some(()));
    }
    observe_for(Duration::from_millis(300), "the answer reaches the screen");
    let row = Row { way: operator.way, views, last: operator.visible_text(), engaged };
    print_row(name, timing, &row);
    row
}

fn print_row(name: &str, timing: Timing, row: &Row) {
    let mut text = format!("{name}, {:?}:\n", row.way);
    for (when, what) in timing.observe_at.iter().zip(&row.views) {
        text += &format!("    {:>6}  {what}\n", format!("{} s", when.as_secs_f64()));
    }
    text += &format!("    {:>6}  {}\n", "end", row.last);
    match row.engaged {
        Some(after) => println!("{text}    rover   engaged, known {} ms after the press", after.as_millis()),
        None => println!("{text}    rover   NOT engaged"),
    }
}

/// Whether the operator's view confirms that the rover has accepted the stop.
pub(crate) fn is_answered(way: Way, seen: &str) -> bool {
    let text = seen.to_lowercase();
    match way {
        Way::Console | Way::SmallConsole => text.contains("e-stop") || text.contains("stop accepted"),
        Way::Page => text.contains("accepted by") && text.contains("stopped"),
        Way::Command => text.starts_with("exit"),
        Way::Http => text.starts_with("200"),
        Way::Native | Way::Plain => text.contains("\"accepted\":true"),
        // ROS has no answer to a publication.
        Way::Rosbridge => true,
    }
}

/// Asserts that the stop took effect, for rows in which an endpoint is reachable.
pub(crate) fn assert_engaged(name: &str, row: &Row) {
    let Row { way, last, .. } = row;
    assert!(row.engaged.is_some(), "{name}, {way:?}: the rover was not stopped: {last}");
    let is_refused = *way == Way::Command && !last.starts_with("exit 0");
    assert!(is_answered(*way, last) && !is_refused, "{name}, {way:?} sees: {last}");
}

/// Asserts that the screen warns the operator, for rows in which no endpoint is reachable.
pub(crate) fn assert_warned(name: &str, row: &Row) {
    // A second after the press, and later.
    for screen in &row.views[1..] {
        let screen = screen.to_lowercase();
        let is_honest = match row.way {
            Way::Console | Way::SmallConsole | Way::Page => screen.contains("red button"),
            _ => !screen.contains("accepted\":true") && !screen.contains("exit 0"),
        };
        assert!(is_honest, "{name}, {:?} sees: {screen}", row.way);
    }
}
