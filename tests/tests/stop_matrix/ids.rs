//! Each order of ids over each way: the last engage always engages.

use roverline_tests::wait::eventually;
use serde_json::json;

use crate::fixture::{StopFixture, ways};
use crate::operators::Operator;
use crate::press::{PATIENCE, command, is_engaged, release};

/// Engage, release, and engage again, with each combination of two ids where the way has ids of its own, and
/// once where each press has a new one.
pub(crate) fn every_order() {
    let fixture = StopFixture::start(&[]);
    for way in ways() {
        let mut operator = fixture.operator(way);
        let two: &[&str] = if way.has_ids() { &["1", "2"] } else { &["1"] };
        for first in two {
            for second in ["1", "2"] {
                for third in two {
                    let ids = [*first, second, *third];
                    check_order(&fixture, &mut operator, ids);
                }
            }
        }
        drop(operator);
        fixture.reset();
    }
}

fn check_order(fixture: &StopFixture, operator: &mut Operator, [first, second, third]: [&str; 3]) {
    let way = operator.way;
    let what = format!("{way:?}-{first}{second}{third}");
    let id = |id: &str| format!("{what}-{id}");
    let is_stopped = || is_engaged(&fixture.ports);
    operator.press_as(&id(first));
    eventually(&format!("{what}: the first engage"), PATIENCE, is_stopped);
    operator.wait_for_answer();
    // The id of an engage releases nothing.
    let expected = if way.has_ids() && first == second { 409 } else { 200 };
    assert_eq!(command(fixture.ports[0], &json!({"engage": false, "id": id(second)})), expected, "{what}");
    // The other endpoints poll the latch 40 times a second. Clients that choose the ids themselves send an engage on
    // every connection, and a copy that arrives after the release engages again.
    eventually(&format!("{what}: the state after the release"), PATIENCE, || {
        let is_right = is_stopped() == (expected == 409);
        if !is_right && !way.has_ids() {
            command(fixture.ports[0], &json!({"engage": false}));
        }
        is_right
    });
    operator.press_as(&id(third));
    eventually(&format!("{what}: the last engage"), PATIENCE, is_stopped);
    operator.wait_for_answer();
    assert!(is_stopped(), "{what}: the last engage");
    release(&fixture.ports);
}
