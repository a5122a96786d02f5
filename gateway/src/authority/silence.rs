//! What the silence of an authority's holder means: a function of its last command and of the time alone, so that all
//! endpoints come to the same result without a word to each other.

use std::time::Duration;

use crate::authority::command_file::LastCommand;

/// How long the stop is published after the holder fell silent.
pub const STOP_DURATION: Duration = Duration::from_secs(2);

/// The phase of an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing moves because of it: there was no command, the last one was a stop, or the rover was stopped.
    Idle,
    /// Its holder commands.
    Commanded,
    /// Its holder has fallen silent, and the stop is being published.
    Stopping,
}

impl Phase {
    /// The word used in documents.
    pub const fn word(self) -> &'static str {
        match self {
            Phase::Idle => "idle",
            Phase::Commanded => "commanded",
            Phase::Stopping => "stopping",
        }
    }
}

/// The phase at `now` (time since boot).
pub fn phase(last: Option<LastCommand>, now: Duration, timeout: Duration) -> Phase {
    match last {
        // A time in the future cannot be: another kernel's record, which is ruled out, or a damaged one.
        Some(last) if !last.is_stop && last.at <= now => match now - last.at {
            silence if silence < timeout => Phase::Commanded,
            silence if silence < timeout + STOP_DURATION => Phase::Stopping,
            _ => Phase::Idle,
        },
        _ => Phase::Idle,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(500);

    fn at(last_ms: u64, is_stop: bool, now_ms: u64) -> Phase {
        let last = LastCommand { token: 1, at: Duration::from_millis(last_ms), is_stop };
        phase(Some(last), Duration::from_millis(now_ms), TIMEOUT)
    }

    #[test]
    fn silence_stops_the_rover_for_two_seconds() {
        assert_eq!(phase(None, Duration::from_secs(9), TIMEOUT), Phase::Idle);
        assert_eq!(at(1_000, false, 1_499), Phase::Commanded);
        assert_eq!(at(1_000, false, 1_500), Phase::Stopping);
        assert_eq!(at(1_000, false, 3_499), Phase::Stopping);
        assert_eq!(at(1_000, false, 3_500), Phase::Idle);
        assert_eq!(at(1_000, true, 1_600), Phase::Idle, "a stop may stand");
        assert_eq!(at(1_000, false, 900), Phase::Idle, "from the future");
    }

    proptest! {
        /// Whenever endpoints look, none of them stops a holder that commands often enough, and each stops one that does
        /// not.
        #[test]
        fn endpoints_that_look_every_25_ms_agree(
            gaps_ms in prop::collection::vec(1..1_500_u64, 1..40),
            offset_ms in 0..25_u64,
        ) {
            let mut last_ms = 10_000;
            for gap_ms in gaps_ms {
                let looks = (last_ms + offset_ms..last_ms + gap_ms).step_by(25);
                let phases: Vec<Phase> = looks.map(|now| at(last_ms, false, now)).collect();
                let stopped = phases.contains(&Phase::Stopping);
                prop_assert!(!stopped || gap_ms > 500);
                prop_assert!(stopped || gap_ms <= 500 + 25);
                last_ms += gap_ms;
            }
        }
    }
}
