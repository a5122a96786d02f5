//! The end of a process: its signals, and the time that its sessions get to close.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::signal::unix::{SignalKind, signal};

use crate::endpoint::Endpoint;
use crate::limits;

/// Resolves on SIGTERM or SIGINT.
pub async fn shutdown_signal() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Waits until all sessions have closed, up to the stop deadline.
pub async fn wait_for_sessions(endpoints: &[Arc<Endpoint>]) {
    let closed = join_all(endpoints.iter().map(|endpoint| endpoint.capacity().wait_empty()));
    let _ = tokio::time::timeout(Duration::from_millis(limits::STOP_MS / 2), closed).await;
}
