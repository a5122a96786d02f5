//! `roverline topics`.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use roverline_client::Config;
use serde_json::json;

use crate::cli::OutputArgs;
use crate::command::print::{print_json, print_text};
use crate::command::{Failure, HeadlessSession, on_the_best, unreachable};
use crate::format;

/// A rate needs a full second to be measured.
const MEASURE: Duration = Duration::from_millis(2_300);

/// Waits for the list, then measures.
pub async fn run(config: Config, output: OutputArgs) -> Result<ExitCode, Failure> {
    let mut watch = HeadlessSession::open(config);
    watch.until(output.timeout, |model| on_the_best(model) && !model.topics.rows.is_empty()).await;
    if watch.model.topics.rows.is_empty() {
        return Err(match watch.model.network.active() {
            Some(endpoint) => Failure::Nothing(format!("{} lists no topic yet", endpoint.url)),
            None => unreachable(&watch),
        });
    }
    watch.until(MEASURE, |_| false).await;
    let now = watch.model.now;
    let rows = watch.model.topics.rows.values();
    if output.json {
        let list: Vec<_> = rows
            .map(|row| {
                json!({
                    "name": row.info.name, "type": row.info.type_name, "scopes": row.info.scopes,
                    "rate_hz": row.rate.0, "bytes_per_s": row.rate.1, "samples": row.samples(),
                    "age_s": row.age(now).map(|age| age.as_secs_f64()),
                    "quality": (!row.is_unasked()).then(|| row.quality(now).word()),
                    "subscribed": row.subscribed,
                })
            })
            .collect();
        print_json(&list)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = String::new();
    let width = rows.clone().map(|row| row.info.name.len()).max().unwrap_or(0).min(60);
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "{}  {:<28}  {:>7}  {:>11}  SCOPES",
        format::left("NAME", width),
        "TYPE",
        "HZ",
        "BYTES"
    );
    for row in rows {
        // Unsubscribed topics (images, point clouds) have no rate.
        let (hz, bytes) = match row.subscribed {
            true => (format::rate(row.rate.0), format::bandwidth(row.rate.1)),
            false => ("–".to_owned(), "–".to_owned()),
        };
        let name = format::left(&format::printable(&row.info.name), width);
        let type_name = format::left(&format::printable(&format::short_type(&row.info.type_name)), 28);
        let _ = writeln!(out, "{name}  {type_name}  {hz:>7}  {bytes:>11}  {}", row.info.scopes);
    }
    print_text(&out)?;
    Ok(ExitCode::SUCCESS)
}
