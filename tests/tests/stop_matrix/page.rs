//! The prompt before the page closes, which only this way has.

use roverline_tests::clients::browser;
use roverline_tests::process::{self, Signal};
use roverline_tests::require;
use serde_json::json;

use crate::fixture::StopFixture;
use crate::operators::Way;

/// A stop that no endpoint has received would be lost with the page.
pub(crate) fn prompts_before_closing() {
    require!(browser());
    let fixture = StopFixture::start(&[]);
    let mut operator = fixture.operator(Way::Page);
    let Some(page) = operator.page() else { panic!("it is no page") };
    let all: Vec<u32> = [fixture.gateway.pid()]
        .into_iter()
        .chain(roverline_protocol::Tier::ALL.map(|tier| fixture.gateway.endpoint_pid(tier)))
        .collect();
    all.iter().for_each(|pid| process::signal(*pid, Signal::STOP));
    page.request("press");
    let closing = page.request("close");
    all.iter().rev().for_each(|pid| process::signal(*pid, Signal::CONT));
    assert_eq!(closing, json!({"dialog": "beforeunload"}));
}
