//! The level of the log in an endpoint process: changes it for the API's clients, in all processes of the gateway if a
//! supervisor is there, and records every change as an event.

use std::path::PathBuf;
use std::sync::Arc;

use roverline_protocol::status::EventKind;
use roverline_source::clock::monotonic;

use crate::endpoint::Endpoint;
use crate::endpoint::events::EventDetails;
use crate::log::levels::{LevelChange, LevelError, LevelState};
use crate::log::{LevelRequest, ProcessLog};
use crate::process::control_socket;

/// Runs forever. `supervisor`: the path of its control socket, if this process has one.
pub(crate) async fn run(log: Arc<ProcessLog>, endpoints: Vec<Arc<Endpoint>>, supervisor: Option<PathBuf>) {
    let Some(mut requests) = log.take_inbox() else { return std::future::pending().await };
    let mut states = log.levels.subscribe();
    let mut before = states.borrow_and_update().filter.clone();
    let upkeep = log.run();
    tokio::pin!(upkeep);
    loop {
        tokio::select! {
            () = &mut upkeep => {}
            Ok(()) = states.changed() => {
                let now = states.borrow_and_update().clone();
                endpoints.iter().for_each(|endpoint| record(endpoint, &before, &now));
                before = now.filter;
            }
            Some(LevelRequest { change, reply }) = requests.recv() => {
                // The client may be gone.
                let _ = reply.send(change_everywhere(&log, &endpoints, supervisor.as_ref(), &change).await);
            }
        }
    }
}

async fn change_everywhere(
    log: &ProcessLog,
    endpoints: &[Arc<Endpoint>],
    supervisor: Option<&PathBuf>,
    change: &LevelChange,
) -> Result<Vec<String>, LevelError> {
    // First here, where a wrong filter is explained; what the supervisor sends back changes nothing more.
    log.levels.change(change, monotonic())?;
    if let Some(path) = supervisor {
        match control_socket::change_level(path, change).await {
            Ok(processes) => return Ok(processes),
            Err(error) => {
                tracing::warn!(%error, "the supervisor does not change the level of the other processes")
            }
        }
    }
    Ok(match endpoints {
        [one] => vec![one.tier.name().to_owned()],
        _ => vec!["relay".to_owned()],
    })
}

fn record(endpoint: &Endpoint, before: &str, now: &LevelState) {
    let cause = match now.until {
        Some(until) => {
            format!("the level is changed for {} s", until.saturating_sub(monotonic()).as_secs_f64().ceil())
        }
        None => "the configured level is back".to_owned(),
    };
    let details = EventDetails {
        from: Some(before.to_owned()),
        to: Some(now.filter.clone()),
        by: now.by.clone(),
        ..EventDetails::default()
    };
    endpoint.events.record(EventKind::LogLevel, &cause, details);
}
