//! Conditions of the operator's own terminal or page under which the stop is pressed.

use std::time::Duration;

use roverline_tests::wait::{always, eventually, observe_for};

use crate::Timing;
use crate::fixture::{StopFixture, screens};
use crate::operators::{Operator, Way};
use crate::press::{PATIENCE, assert_engaged, is_engaged, press};

/// Time within which pasted text would have taken effect.
const REACTION: Duration = Duration::from_millis(1_500);

/// The terminal is not read, as over an SSH connection that is stuck.
pub(crate) fn terminal_stalls(timing: Timing) {
    let fixture = StopFixture::start(&[]);
    let begin = |operator: &mut Operator| {
        operator.set_stalled(true);
        observe_for(timing.stall, "the terminal's buffer is full");
    };
    // The terminal goes on only when the rover has stopped: a stop that waits for it is never received.
    let end = |operator: &Operator| {
        eventually("the stop is received while the terminal takes no output", PATIENCE, || {
            is_engaged(&fixture.ports)
        });
        operator.set_stalled(false);
    };
    let consoles = [Way::Console, Way::SmallConsole];
    for row in fixture.press_in_each_way("terminal stalls", timing, &consoles, begin, end) {
        assert_engaged("terminal stalls", &row);
    }
}

/// Pasted text neither presses nor releases the stop.
pub(crate) fn pasted_text(timing: Timing) {
    let fixture = StopFixture::start(&[]);
    for way in screens() {
        let mut operator = fixture.operator(way);
        operator.paste();
        let engaged = || is_engaged(&fixture.ports);
        always("pasted text does not press", REACTION, || !engaged());
        assert!(operator.is_connected(), "{way:?}: {}", operator.visible_text());
        let row = press("pasted text", timing, &mut operator, &fixture.ports, |_| {});
        assert_engaged("pasted text", &row);
        operator.paste();
        always("pasted text does not release", REACTION, engaged);
        drop(operator);
        fixture.reset();
    }
}
