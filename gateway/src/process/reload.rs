//! Follows the files of tokens and keys while an endpoint serves: what changed is read again, and sessions end
//! with their tokens.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use roverline_source::clock::monotonic;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;

use crate::endpoint::Endpoint;

/// Interval between two looks at the files.
const TOKEN_POLL_MS: u64 = 500;

/// Runs as long as the endpoint does. SIGHUP makes it read the files in any case, unless a terminal sends it,
/// where it means the end.
pub(super) async fn reload_tokens(endpoint: Arc<Endpoint>) {
    let mut hangup = match std::io::stdin().is_terminal() {
        true => None,
        false => signal(SignalKind::hangup()).ok(),
    };
    let mut tick = tokio::time::interval(Duration::from_millis(TOKEN_POLL_MS));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let asked = async {
            match &mut hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        let in_any_case = tokio::select! {
            _ = tick.tick() => false,
            _ = asked => true,
        };
        let access = endpoint.access.clone();
        // A disk that hangs must not hold the clients.
        let reading = tokio::task::spawn_blocking(move || access.tokens().refresh(in_any_case, monotonic()));
        if let Err(error) = reading.await {
            tracing::error!(%error, "the token files were not read");
        }
        endpoint.end_sessions_without_token();
    }
}
