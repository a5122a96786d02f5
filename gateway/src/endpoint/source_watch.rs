//! Watches the source's thread as the supervisor watches the runtime: a source that is stuck in its library
//! degrades the endpoint's health, and finally the process has to be restarted.

use std::time::Duration;

use roverline_source::SourceState;
use roverline_source::clock::monotonic;
use tokio::time::{MissedTickBehavior, interval};

use crate::endpoint::Endpoint;

/// Without a sign of life for this long, a source is reported as stuck.
const SOURCE_STUCK_MS: u64 = 2_000;
/// After this time the process ends, so that its supervisor starts another one.
const SOURCE_HUNG_MS: u64 = 10_000;
const CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// Checks in a row that must find it: after a suspension of the whole process, the first one does.
const HUNG_CHECKS: u32 = 3;

/// How a source that is running does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Alive,
    Stuck(Duration),
    Hung(Duration),
}

fn judge(state: &SourceState, silence: Option<Duration>) -> Verdict {
    match silence {
        // In all other states the source is known not to deliver.
        Some(silence) if *state == SourceState::Running => {
            if silence >= Duration::from_millis(SOURCE_HUNG_MS) {
                Verdict::Hung(silence)
            } else if silence >= Duration::from_millis(SOURCE_STUCK_MS) {
                Verdict::Stuck(silence)
            } else {
                Verdict::Alive
            }
        }
        _ => Verdict::Alive,
    }
}

impl Endpoint {
    fn source_verdict(&self) -> Verdict {
        judge(&self.hub.source().0, self.ingress.source_silence(monotonic()))
    }

    /// Why the source's thread degrades the endpoint's health, if it does.
    pub(crate) fn source_finding(&self) -> Option<String> {
        match self.source_verdict() {
            Verdict::Alive => None,
            Verdict::Stuck(silence) | Verdict::Hung(silence) => Some(format!(
                "the source's thread is stuck in its library for {:.0} s; the process is restarted after {} s",
                silence.as_secs_f64(),
                SOURCE_HUNG_MS / 1_000
            )),
        }
    }

    /// Returns when the source's thread hangs and a supervisor is there to start another process.
    pub(crate) async fn wait_source_hung(&self) -> Duration {
        let mut tick = interval(CHECK_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut hung = 0;
        loop {
            tick.tick().await;
            match self.source_verdict() {
                Verdict::Hung(silence) if self.supervision.reason().is_none() => {
                    hung += 1;
                    if hung >= HUNG_CHECKS {
                        return silence;
                    }
                }
                _ => hung = 0,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_running_source_that_gives_signs_of_life_is_watched() {
        let s = |seconds| Some(Duration::from_secs(seconds));
        let running = SourceState::Running;
        assert_eq!(judge(&running, None), Verdict::Alive);
        assert_eq!(judge(&running, s(1)), Verdict::Alive);
        assert_eq!(judge(&running, s(3)), Verdict::Stuck(Duration::from_secs(3)));
        assert_eq!(judge(&running, s(11)), Verdict::Hung(Duration::from_secs(11)));
        assert_eq!(judge(&SourceState::Failed("x".to_owned()), s(11)), Verdict::Alive);
        assert_eq!(judge(&SourceState::Starting, s(11)), Verdict::Alive);
    }
}
