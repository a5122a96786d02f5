//! The demo without a screen: connects to every endpoint and checks what it sends.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::future::join_all;
use roverline_client::{Config, LinkState};
use roverline_protocol::Tier;
use serde_json::{Value as Json, json};

use crate::command::gateway::Endpoint;
use crate::command::{Failure, HeadlessSession, print, report};
use crate::format;
use crate::model::Model;

/// Result for one endpoint.
#[derive(Clone, Debug, PartialEq)]
struct EndpointReport {
    tier: Tier,
    url: String,
    live: bool,
    state: &'static str,
    topics: usize,
    samples: u64,
    rate_hz: f64,
    out_of_scope: Vec<String>,
}

impl EndpointReport {
    /// From a connection that knew only this endpoint. A topic counts if it was listed or received.
    fn of(endpoint: &Endpoint, model: &Model, time: Duration) -> EndpointReport {
        let rows = model.topics.rows.values();
        let view = model.network.endpoints.first();
        let samples: u64 = rows.clone().map(|row| row.samples()).sum();
        let strangers = rows.clone().filter(|row| !row.info.scopes.intersects(endpoint.tier.scopes()));
        EndpointReport {
            tier: endpoint.tier,
            url: endpoint.url.clone(),
            live: view.is_some_and(|view| view.state == LinkState::Active),
            state: view.map_or("unknown", |view| view.state.word()),
            topics: rows.clone().filter(|row| row.listed).count(),
            samples,
            rate_hz: samples as f64 / time.as_secs_f64().max(1e-3),
            out_of_scope: strangers.map(|row| row.info.name.clone()).collect(),
        }
    }

    fn good(&self) -> bool {
        self.live && self.samples > 0 && self.out_of_scope.is_empty()
    }

    fn json(&self) -> Json {
        json!({
            "tier": self.tier, "url": self.url, "state": self.state, "topics": self.topics,
            "samples": self.samples, "rate_hz": self.rate_hz, "out_of_scope": self.out_of_scope,
            "ok": self.good(),
        })
    }
}

/// Runs four connections, one per endpoint, for this long; succeeds if all are as they should be.
pub(super) async fn run(endpoints: &[Endpoint], time: Duration, json: bool) -> Result<ExitCode, Failure> {
    let mut watches = Vec::new();
    for endpoint in endpoints {
        let config =
            Config::with_urls(&[&endpoint.url]).map_err(|error| Failure::Nothing(error.to_string()))?;
        watches.push(HeadlessSession::open(Config { client_name: "roverline demo".to_owned(), ..config }));
    }
    let all = join_all(watches.iter_mut().map(|watch| watch.until(time, |_| false)));
    tokio::select! {
        _ = all => {}
        () = progress(time) => {}
    }
    let tallies: Vec<EndpointReport> =
        endpoints.iter().zip(&watches).map(|(e, w)| EndpointReport::of(e, &w.model, time)).collect();
    let good = tallies.len() == Tier::ALL.len() && tallies.iter().all(EndpointReport::good);
    let rover = watches.first().map(|watch| &watch.model);
    print::show_progress(None);
    match json {
        true => {
            let list: Vec<Json> = tallies.iter().map(EndpointReport::json).collect();
            print::print_json(&json!({"ok": good, "endpoints": list, "rover": rover.map(report::rover_json)}))
        }
        false => print::print_text(&summary(&tallies, rover, good)),
    }?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// A progress line on a terminal; never returns.
async fn progress(time: Duration) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let mut passed = 0;
    loop {
        second.tick().await;
        let text = format!("checking four endpoints: {passed} of {} s", time.as_secs());
        print::show_progress((passed < time.as_secs()).then_some(&text));
        passed += 1;
    }
}

fn summary(tallies: &[EndpointReport], rover: Option<&Model>, good: bool) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "{:<22} {:<10} {:<11} {:>6} {:>9} {:>9}  OUT OF SCOPE",
        "ENDPOINT", "TIER", "STATE", "TOPICS", "SAMPLES", "PER S"
    );
    for tally in tallies {
        let strangers = match tally.out_of_scope.as_slice() {
            [] => "none".to_owned(),
            some => format!("✗ {}", format::printable(&some.join(" "))),
        };
        let mark = if tally.good() { "" } else { "  ✗" };
        let _ = writeln!(
            out,
            "{:<22} {:<10} {:<11} {:>6} {:>9} {:>9.1}  {strangers}{mark}",
            format::address(&tally.url),
            tally.tier,
            tally.state,
            tally.topics,
            tally.samples,
            tally.rate_hz
        );
    }
    if let Some(model) = rover {
        report::rover_text(model, &mut out);
    }
    let verdict = if good { "✓ all four endpoints live, in scope" } else { "✗ not as it should be" };
    let _ = writeln!(out, "\n{verdict}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally() -> EndpointReport {
        EndpointReport {
            tier: Tier::Emergency,
            url: "ws://127.0.0.1:8083".to_owned(),
            live: true,
            state: "active",
            topics: 3,
            samples: 120,
            rate_hz: 12.0,
            out_of_scope: Vec::new(),
        }
    }

    #[test]
    fn an_endpoint_is_good_when_it_lives_sends_and_keeps_to_its_scope() {
        assert!(tally().good());
        assert!(!EndpointReport { live: false, ..tally() }.good());
        assert!(!EndpointReport { samples: 0, ..tally() }.good());
        let strange = EndpointReport { out_of_scope: vec!["/camera".to_owned()], ..tally() };
        assert!(!strange.good());
        assert!(summary(&[strange], None, false).contains("✗ /camera"));
    }
}
