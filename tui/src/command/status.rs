//! `roverline status`.

use std::process::ExitCode;

use roverline_client::Config;

use crate::cli::OutputArgs;
use crate::command::print::{print_json, print_text};
use crate::command::{Failure, HeadlessSession, on_the_best, report, unreachable};
use crate::model::Model;

/// Waits until every available value of the overview has arrived, or for the given time.
pub async fn run(config: Config, output: OutputArgs) -> Result<ExitCode, Failure> {
    let mut watch = HeadlessSession::open(config);
    watch.until(output.timeout, complete).await;
    let model = &watch.model;
    if model.network.active().is_none() && !output.json {
        return Err(unreachable(&watch));
    }
    if output.json { print_json(&report::json(model)) } else { print_text(&report::text(model)) }?;
    let any = model.topics.rows.values().any(|row| row.at.is_some());
    Ok(if any { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// The best endpoint that answers is in use, and everything it can contribute has arrived.
fn complete(model: &Model) -> bool {
    let mut ready = on_the_best(model);
    let mut mapped = model.topics.rows.values().filter(|row| row.listed && row.slot.is_some()).peekable();
    ready &= mapped.peek().is_some();
    ready && mapped.all(|row| row.at.is_some())
}
