//! The page: what no other way does.

use roverline_tests::clients::browser;
use roverline_tests::process::{self, Signal};
use roverline_tests::require;
use serde_json::json;

use crate::operators::Way;
use crate::stage::Stage;

/// A stop that no endpoint has received would be lost with the page.
pub(crate) fn asks_before_it_closes() {
    require!(browser());
    let stage = Stage::up(&[]);
    let mut operator = stage.operator(Way::Page);
    let Some(page) = operator.page() else { panic!("it is no page") };
    let all: Vec<u32> = [stage.gateway.pid()]
        .into_iter()
        .chain(roverline_protocol::Tier::ALL.map(|tier| stage.gateway.endpoint_pid(tier)))
        .collect();
    all.iter().for_each(|pid| process::signal(*pid, Signal::STOP));
    page.request("press");
    let closing = page.request("close");
    all.iter().rev().for_each(|pid| process::signal(*pid, Signal::CONT));
    assert_eq!(closing, json!({"asked": "beforeunload"}));
}
