//! Follows the files of tokens, keys and certificates while an endpoint serves: what changed is read again, and
//! sessions end with their tokens.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use roverline_source::clock::monotonic;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;

use crate::access::Access;
use crate::endpoint::Endpoint;
use crate::server::tls::Tls;

/// Interval at which the files are checked.
const TOKEN_POLL_MS: u64 = 500;

/// SIGHUP, which asks for all files to be read again, unless a terminal sends it, where it means the end.
struct Hangup(Option<Signal>);

impl Hangup {
    fn new() -> Hangup {
        match std::io::stdin().is_terminal() {
            true => Hangup(None),
            false => Hangup(signal(SignalKind::hangup()).ok()),
        }
    }

    async fn next(&mut self) {
        match &mut self.0 {
            Some(hangup) => drop(hangup.recv().await),
            None => std::future::pending().await,
        }
    }
}

/// Follows the files of certificates for as long as the process serves, for the endpoints that check identities here.
pub(super) async fn reload_certificates(tls: Arc<Tls>, accesses: Vec<Arc<Access>>) {
    let mut hangup = Hangup::new();
    let following = tls.clone().follow_files(move |revoked| {
        accesses.iter().for_each(|access| access.tokens().set_revoked_certificates(revoked.clone()));
    });
    let asked = async {
        loop {
            hangup.next().await;
            tls.reload();
        }
    };
    tokio::join!(following, asked);
}

/// Follows the files of tokens and their keys for as long as the endpoint serves.
pub(super) async fn reload_tokens(endpoint: Arc<Endpoint>) {
    let mut hangup = Hangup::new();
    let mut tick = tokio::time::interval(Duration::from_millis(TOKEN_POLL_MS));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let in_any_case = tokio::select! {
            _ = tick.tick() => false,
            () = hangup.next() => true,
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
