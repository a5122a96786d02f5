//! What becomes of subscribing at another endpoint: until it is complete, and what it cost.

use std::collections::HashSet;
use std::time::Duration;

use roverline_protocol::Guid;

/// After everything was answered, live samples are waited for this long: there may be none.
const SETTLE: Duration = Duration::from_millis(100);
/// An endpoint that sends samples and never says `resumed` does not know the word.
const GRACE: Duration = Duration::from_millis(300);
/// No answer takes longer than this, or counts any more.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a switch cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) replayed: u64,
    pub(crate) duplicates: u64,
    pub(crate) missing: u64,
}

/// Subscribing at an endpoint that was not in use before. Times are monotonic.
#[derive(Debug, Default)]
pub(crate) struct Join {
    /// Ids of the `subscribe`s that have not been answered.
    pub(crate) asked: HashSet<u64>,
    /// How many `resumed` the session will have got when all of ours have come.
    pub(crate) resumes: u64,
    /// How many it had got, or was owed, before.
    pub(crate) before: u64,
    /// When it began.
    pub(crate) since: Duration,
    pub(crate) tally: Tally,
    /// Writers whose missing samples were announced, and counted.
    pub(crate) gapped: HashSet<Guid>,
    matching: usize,
    first: Option<Duration>,
    answered_at: Option<Duration>,
    live: bool,
}

impl Join {
    /// Begins at `since`: with these questions, and with answers owed up to `resumes`.
    pub(crate) fn new(asked: HashSet<u64>, before: u64, resumes: u64, since: Duration) -> Join {
        Join { asked, before, resumes, since, ..Join::default() }
    }

    /// A `subscribe` is answered.
    pub(crate) fn subscribed(&mut self, id: Option<u64>, matching: usize) {
        match id {
            Some(id) if !self.asked.remove(&id) => {}
            Some(_) => self.matching += matching,
            // An endpoint that does not echo ids answers in order.
            None => {
                let any = self.asked.iter().min().copied();
                any.map(|id| self.asked.remove(&id));
                self.matching += matching;
            }
        }
    }

    /// A sample came from there.
    pub(crate) fn sample(&mut self, replayed: bool, now: Duration) {
        self.first.get_or_insert(now);
        self.live |= !replayed;
    }

    /// Whether what was missed has been replayed and the endpoint delivers; `resumed` is how many
    /// such answers the session has got.
    pub(crate) fn done(&mut self, resumed: u64, now: Duration) -> bool {
        if self.asked.is_empty() && resumed >= self.resumes {
            let since = *self.answered_at.get_or_insert(now);
            return self.live || self.matching == 0 || now.saturating_sub(since) >= SETTLE;
        }
        let ignored = self.first.is_some_and(|first| now.saturating_sub(first) >= GRACE);
        (self.asked.is_empty() && ignored) || now.saturating_sub(self.since) >= PATIENCE
    }

    /// When the darkness ended.
    pub(crate) fn light(&self) -> Option<Duration> {
        self.first.or(self.answered_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_join_is_done_when_it_is_answered_and_live() {
        let mut join = Join { asked: HashSet::from([1, 2]), resumes: 2, ..Join::default() };
        join.subscribed(Some(1), 3);
        join.subscribed(Some(9), 3);
        assert!(!join.done(2, at(10)));
        join.subscribed(Some(2), 0);
        assert!(!join.done(1, at(11)));
        assert!(!join.done(2, at(12)));
        join.sample(true, at(13));
        assert!(!join.done(2, at(14)), "replayed is not live");
        join.sample(false, at(15));
        assert!(join.done(2, at(15)));
        assert_eq!(join.light(), Some(at(13)));
    }

    #[test]
    fn silence_and_ignorance_do_not_last_for_ever() {
        let mut quiet = Join { matching: 2, ..Join::default() };
        assert!(!quiet.done(0, at(10)));
        assert!(quiet.done(0, at(110)), "nothing is published at the moment");
        let mut ignorant = Join { resumes: 1, ..Join::default() };
        ignorant.sample(false, at(10));
        assert!(!ignorant.done(0, at(300)));
        assert!(ignorant.done(0, at(310)), "it does not know what to resume means");
        let mut mute = Join { asked: HashSet::from([1]), ..Join::default() };
        assert!(!mute.done(0, at(1_999)));
        assert!(mute.done(0, at(2_000)));
        assert!(Join::default().done(0, at(0)), "nothing matches");
    }
}
