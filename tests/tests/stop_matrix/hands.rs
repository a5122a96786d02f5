//! The bad moments of the operator's own terminal or page.

use std::time::Duration;

use roverline_tests::wait::{always, eventually, observe_for};

use crate::Pace;
use crate::operators::{Operator, Way};
use crate::press::{PATIENCE, assert_heard, is_engaged, press};
use crate::stage::{Stage, screens};

/// Time in which text that acts would have acted.
const REACTION: Duration = Duration::from_millis(1_500);

/// The terminal is not read, as over an SSH connection that is stuck.
pub(crate) fn terminal_stalls(pace: Pace) {
    let stage = Stage::up(&[]);
    let begin = |operator: &mut Operator| {
        operator.set_stalled(true);
        observe_for(pace.stall, "the terminal's buffer is full");
    };
    // The terminal goes on only when the rover has stopped: a stop that waits for it is never heard.
    let end = |operator: &Operator| {
        eventually("the stop is heard while the terminal takes no output", PATIENCE, || {
            is_engaged(&stage.ports)
        });
        operator.set_stalled(false);
    };
    let consoles = [Way::Console, Way::SmallConsole];
    for row in stage.each("terminal stalls", pace, &consoles, begin, end) {
        assert_heard("terminal stalls", &row);
    }
}

/// Pasted words neither press nor release.
pub(crate) fn pasted_text(pace: Pace) {
    let stage = Stage::up(&[]);
    for way in screens() {
        let mut operator = stage.operator(way);
        operator.paste();
        let engaged = || is_engaged(&stage.ports);
        always("pasted text does not press", REACTION, || !engaged());
        assert!(operator.is_connected(), "{way:?}: {}", operator.sees());
        let row = press("pasted text", pace, &mut operator, &stage.ports, |_| {});
        assert_heard("pasted text", &row);
        operator.paste();
        always("pasted text does not release", REACTION, engaged);
        drop(operator);
        stage.clear();
    }
}
