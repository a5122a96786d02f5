//! The pipes between supervisor and endpoint. The endpoint's standard output carries its heartbeat:
//! a byte when it serves, or could, then one every 100 ms, written by the same runtime that serves
//! clients; one more when it accepts no longer. Its standard input is the lifeline: words of the
//! supervisor, a line each, and it ends when the supervisor does.

use std::io::Write;
use std::os::fd::AsFd;
use std::time::Duration;

use roverline_protocol::limits;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use tokio::sync::mpsc;

/// Set for a process that must not outlive its parent.
pub const EXIT_WITH_PARENT: &str = "ROVERLINE_EXIT_WITH_PARENT";
/// The resolved settings, from the supervisor to its children.
pub const SETTINGS: &str = "ROVERLINE_RESOLVED_SETTINGS";
/// The first byte of a child that serves, or that could take over.
pub(super) const READY: u8 = b'R';
/// It was told to drain, and accepts no connection any more.
pub(super) const QUIET: u8 = b'Q';
/// What follows, to the end, is a sentence: why it cannot take over.
pub(super) const LAST_WORDS: u8 = b'!';
const BEAT: u8 = b'.';

/// What a supervisor says to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Accept connections from now on.
    Accept,
    /// Accept none any more, ask clients to leave within this time, then end.
    Drain(Duration),
}

impl Word {
    pub(super) fn line(self) -> String {
        match self {
            Word::Accept => "accept\n".to_owned(),
            Word::Drain(window) => format!("drain {}\n", window.as_millis()),
        }
    }

    /// A word that is not known is one of another version: it is passed over.
    fn parse(line: &str) -> Option<Word> {
        match line.split_once(' ') {
            None => (line == "accept").then_some(Word::Accept),
            Some(("drain", millis)) => {
                millis.parse().ok().map(|millis| Word::Drain(Duration::from_millis(millis)))
            }
            Some(_) => None,
        }
    }
}

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
    send(&[READY]);
}

/// Tells the supervisor that this endpoint accepts no connection any more.
pub fn quiet() {
    send(&[QUIET]);
}

/// Tells the supervisor why this endpoint cannot take over; it ends after that.
pub fn last_words(why: &str) {
    send(&[&[LAST_WORDS], why.as_bytes()].concat());
}

/// Beats for ever.
pub async fn beat() {
    let mut tick = tokio::time::interval(Duration::from_millis(limits::CHILD_HEARTBEAT_MS));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tick.tick().await;
        send(&[BEAT]);
    }
}

fn send(bytes: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
}

/// The supervisor's words, from standard input. The channel closes when the supervisor is gone.
pub fn lifeline() -> mpsc::Receiver<Word> {
    let (tell, told) = mpsc::channel(8);
    // A blocking read needs a thread; it holds nothing and ends with the process.
    let listening = std::thread::Builder::new().name("lifeline".to_owned()).spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if let Some(word) = Word::parse(&line) {
                let _ = tell.blocking_send(word);
            }
        }
    });
    if let Err(error) = listening {
        tracing::error!(%error, "no thread to listen to the supervisor");
    }
    told
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_understood_or_passed_over() {
        for word in [Word::Accept, Word::Drain(Duration::from_millis(2_000))] {
            assert_eq!(Word::parse(word.line().trim_end()), Some(word));
        }
        for other in ["", "drain", "drain soon", "accept 1", "sing"] {
            assert_eq!(Word::parse(other), None);
        }
    }
}
