//! The pipes between supervisor and endpoint. The endpoint's standard output carries its heartbeat:
//! a line when it serves, then a byte every 100 ms, written by the same runtime that serves clients.
//! Its standard input is the lifeline: it ends when the supervisor does.

use std::io::Write;
use std::os::fd::AsFd;
use std::time::Duration;

use roverline_protocol::limits;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

/// Set for a process that must not outlive its parent.
pub const EXIT_WITH_PARENT: &str = "ROVERLINE_EXIT_WITH_PARENT";
/// The resolved settings, from the supervisor to its children.
pub const SETTINGS: &str = "ROVERLINE_RESOLVED_SETTINGS";
/// The first byte of a child that serves.
pub(super) const READY: u8 = b'R';
const BEAT: u8 = b'.';

/// Asks the kernel to end this process with its parent, however the parent ends. To be called first
/// thing. Returns false when the parent is gone already.
pub fn tie_to_parent(signal: Signal, expected_parent: Option<u32>) -> bool {
    if let Err(error) = set_parent_process_death_signal(Some(signal)) {
        eprintln!("roverline-gateway: cannot follow the parent's death: {error}");
    }
    match (expected_parent, getppid()) {
        (Some(expected), Some(parent)) => parent.as_raw_nonzero().get().unsigned_abs() == expected,
        _ => true,
    }
}

/// Tells the supervisor that this endpoint serves.
pub fn announce() {
    // A supervisor that stops reading must not stop us.
    let stdout = std::io::stdout();
    if let Ok(flags) = rustix::fs::fcntl_getfl(stdout.as_fd()) {
        let _ = rustix::fs::fcntl_setfl(stdout.as_fd(), flags | rustix::fs::OFlags::NONBLOCK);
    }
    send(READY);
}

/// Beats for ever.
pub async fn beat() {
    let mut tick = tokio::time::interval(Duration::from_millis(limits::CHILD_HEARTBEAT_MS));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tick.tick().await;
        send(BEAT);
    }
}

fn send(byte: u8) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(&[byte]).and_then(|()| stdout.flush());
}

/// Returns when standard input ends: the supervisor is gone.
pub async fn lifeline() {
    let (gone, told) = tokio::sync::oneshot::channel();
    // A blocking read needs a thread; it holds nothing and ends with the process.
    let _ = std::thread::Builder::new().name("lifeline".to_owned()).spawn(move || {
        let mut byte = [0];
        while matches!(std::io::Read::read(&mut std::io::stdin(), &mut byte), Ok(n) if n > 0) {}
        let _ = gone.send(());
    });
    if told.await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Returns when the parent has changed, for a process that was told to exit with its parent; never
/// otherwise. The kernel's signal comes first; this is for kernels that do not send one.
pub async fn parent_gone() {
    if std::env::var_os(EXIT_WITH_PARENT).is_none() {
        std::future::pending::<()>().await;
    }
    let parent = getppid();
    while getppid() == parent {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
