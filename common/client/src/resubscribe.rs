//! Progress and cost of subscribing at another endpoint.

use std::collections::HashSet;
use std::time::Duration;

use roverline_protocol::Guid;

/// After all answers, wait this long for live samples: there may be none.
const LIVE_WAIT: Duration = Duration::from_millis(100);
/// An endpoint that sends samples but no `resumed` within this time does not support `resume`.
const RESUME_GRACE: Duration = Duration::from_millis(300);
/// Give up waiting for answers after this time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Sample counts of one switch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SwitchStats {
    pub(crate) replayed: u64,
    pub(crate) duplicates: u64,
    pub(crate) missing: u64,
}

/// A subscription in progress at an endpoint that was not in use before. Times are monotonic.
#[derive(Debug, Default)]
pub(crate) struct SubscribeProgress {
    /// Ids of the `subscribe` messages that have not been answered.
    pub(crate) pending: HashSet<u64>,
    /// Number of `resumed` messages the session will have received when ours are complete.
    pub(crate) resumes: u64,
    /// Number it had received, or was owed, before.
    pub(crate) before: u64,
    /// When it began.
    pub(crate) since: Duration,
    pub(crate) stats: SwitchStats,
    /// Writers whose missing samples were announced and counted.
    pub(crate) gapped: HashSet<Guid>,
    matching: usize,
    first: Option<Duration>,
    answered_at: Option<Duration>,
    live: bool,
}

impl SubscribeProgress {
    /// Begins at `since`, with the given unanswered ids and `resumes` expected answers in total.
    pub(crate) fn new(
        pending: HashSet<u64>,
        before: u64,
        resumes: u64,
        since: Duration,
    ) -> SubscribeProgress {
        SubscribeProgress { pending, before, resumes, since, ..SubscribeProgress::default() }
    }

    /// Records the answer to a `subscribe`.
    pub(crate) fn on_subscribed(&mut self, id: Option<u64>, matching: usize) {
        match id {
            Some(id) if !self.pending.remove(&id) => {}
            Some(_) => self.matching += matching,
            // An endpoint that does not echo ids answers in order.
            None => {
                let any = self.pending.iter().min().copied();
                any.map(|id| self.pending.remove(&id));
                self.matching += matching;
            }
        }
    }

    /// Records a sample from the endpoint.
    pub(crate) fn on_sample(&mut self, replayed: bool, now: Duration) {
        self.first.get_or_insert(now);
        self.live |= !replayed;
    }

    /// Whether the missed samples have been replayed and the endpoint delivers; `resumed` is the
    /// number of such answers the session has received.
    pub(crate) fn is_done(&mut self, resumed: u64, now: Duration) -> bool {
        if self.pending.is_empty() && resumed >= self.resumes {
            let since = *self.answered_at.get_or_insert(now);
            return self.live || self.matching == 0 || now.saturating_sub(since) >= LIVE_WAIT;
        }
        let ignored = self.first.is_some_and(|first| now.saturating_sub(first) >= RESUME_GRACE);
        (self.pending.is_empty() && ignored) || now.saturating_sub(self.since) >= ANSWER_TIMEOUT
    }

    /// When data arrived again, which ends the blackout.
    pub(crate) fn first_data_at(&self) -> Option<Duration> {
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
    fn subscribing_is_done_when_it_is_answered_and_live() {
        let mut progress =
            SubscribeProgress { pending: HashSet::from([1, 2]), resumes: 2, ..SubscribeProgress::default() };
        progress.on_subscribed(Some(1), 3);
        progress.on_subscribed(Some(9), 3);
        assert!(!progress.is_done(2, at(10)));
        progress.on_subscribed(Some(2), 0);
        assert!(!progress.is_done(1, at(11)));
        assert!(!progress.is_done(2, at(12)));
        progress.on_sample(true, at(13));
        assert!(!progress.is_done(2, at(14)), "replayed is not live");
        progress.on_sample(false, at(15));
        assert!(progress.is_done(2, at(15)));
        assert_eq!(progress.first_data_at(), Some(at(13)));
    }

    #[test]
    fn missing_answers_time_out() {
        let mut no_live = SubscribeProgress { matching: 2, ..SubscribeProgress::default() };
        assert!(!no_live.is_done(0, at(10)));
        assert!(no_live.is_done(0, at(110)), "nothing is published at the moment");
        let mut no_resume = SubscribeProgress { resumes: 1, ..SubscribeProgress::default() };
        no_resume.on_sample(false, at(10));
        assert!(!no_resume.is_done(0, at(300)));
        assert!(no_resume.is_done(0, at(310)), "it does not know what to resume means");
        let mut no_answer = SubscribeProgress { pending: HashSet::from([1]), ..SubscribeProgress::default() };
        assert!(!no_answer.is_done(0, at(1_999)));
        assert!(no_answer.is_done(0, at(2_000)));
        assert!(SubscribeProgress::default().is_done(0, at(0)), "nothing matches");
    }
}
