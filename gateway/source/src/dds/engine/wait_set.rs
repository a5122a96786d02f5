//! The wait set of one thread: everything that can wake it, each with a token.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token, event};
use parking_lot::Mutex;

/// Woken by a trigger; the tokens of the triggers are listed beside it.
const TRIGGERED: Token = Token(usize::MAX);
/// Events that one wait returns.
const EVENTS: usize = 256;

/// The events that one thread waits for.
pub(in crate::dds) struct WaitSet {
    poll: Poll,
    events: Events,
    triggers: Arc<Triggers>,
}

struct Triggers {
    waker: mio::Waker,
    pending: Mutex<Vec<usize>>,
}

/// Wakes a thread, from any other.
#[derive(Clone)]
pub(in crate::dds) struct Trigger {
    triggers: Arc<Triggers>,
    token: usize,
}

impl WaitSet {
    pub(in crate::dds) fn new() -> io::Result<WaitSet> {
        let poll = Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), TRIGGERED)?;
        let triggers = Arc::new(Triggers { waker, pending: Mutex::default() });
        Ok(WaitSet { poll, events: Events::with_capacity(EVENTS), triggers })
    }

    /// Adds a source of events.
    pub(in crate::dds) fn register(&self, source: &mut dyn event::Source, token: usize) -> io::Result<()> {
        source.register(self.poll.registry(), Token(token), Interest::READABLE)
    }

    /// A trigger of this token.
    pub(in crate::dds) fn trigger(&self, token: usize) -> Trigger {
        Trigger { triggers: self.triggers.clone(), token }
    }

    /// Waits until something happens, or for `timeout`; `ready` gets the tokens, each once.
    pub(in crate::dds) fn wait(&mut self, timeout: Duration, ready: &mut Vec<usize>) -> io::Result<()> {
        ready.clear();
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &self.events {
            match event.token() {
                TRIGGERED => ready.append(&mut self.triggers.pending.lock()),
                Token(token) => ready.push(token),
            }
        }
        ready.sort_unstable();
        ready.dedup();
        Ok(())
    }
}

impl Trigger {
    /// Wakes the thread. Triggered again before it wakes, the token is still reported once.
    pub(in crate::dds) fn fire(&self) {
        let mut pending = self.triggers.pending.lock();
        if pending.contains(&self.token) {
            return;
        }
        pending.push(self.token);
        drop(pending);
        if let Err(error) = self.triggers.waker.wake() {
            tracing::debug!("a DDS thread was not woken: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triggers_wake_with_their_tokens_once() {
        let mut waits = WaitSet::new().unwrap();
        let (first, second) = (waits.trigger(3), waits.trigger(9));
        let mut ready = vec![7];
        waits.wait(Duration::ZERO, &mut ready).unwrap();
        assert!(ready.is_empty(), "nothing has happened");
        for _ in 0..3 {
            second.fire();
            first.fire();
        }
        waits.wait(Duration::from_secs(10), &mut ready).unwrap();
        assert_eq!(ready, [3, 9]);
        waits.wait(Duration::ZERO, &mut ready).unwrap();
        assert!(ready.is_empty());
        let other = std::thread::spawn(move || first.fire());
        waits.wait(Duration::from_secs(10), &mut ready).unwrap();
        assert_eq!(ready, [3], "from another thread");
        other.join().unwrap();
    }
}
