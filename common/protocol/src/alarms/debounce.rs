//! Delays before a condition begins and ends (ISA 18.2: on-delay and off-delay).

use std::time::Duration;

use crate::api::alarms::AlarmSeverity;

/// The delays of a condition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// On-delay: the time for which a value has to be bad before the condition begins or becomes worse.
    pub on: Duration,
    /// Off-delay: the time for which it has to be good before the condition ends or becomes milder.
    pub off: Duration,
}

/// The pending changes of a condition: since when each severity is reached, or no longer reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Debounce {
    pending: [Option<Pending>; AlarmSeverity::ALL.len()],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pending {
    is_reached: bool,
    since: Duration,
}

impl Debounce {
    /// The severity of the condition after an observation: `current` until the observed one has lasted. An observation
    /// that means nothing (`None`) changes nothing, and does not restart a delay.
    pub fn observe(
        &mut self,
        current: Option<AlarmSeverity>,
        observed: Option<Option<AlarmSeverity>>,
        delays: Delays,
        now: Duration,
    ) -> Option<AlarmSeverity> {
        let Some(observed) = observed else { return current };
        let mut severity = None;
        for (level, pending) in AlarmSeverity::ALL.into_iter().zip(&mut self.pending) {
            let (is_on, is_reached) = (current >= Some(level), observed >= Some(level));
            let is_on = if is_on == is_reached {
                *pending = None;
                is_on
            } else {
                let delay = if is_reached { delays.on } else { delays.off };
                // A pending change in the other direction is void: another endpoint changed the condition meanwhile.
                let since = pending
                    .filter(|pending| pending.is_reached == is_reached)
                    .map_or(now, |pending| pending.since);
                *pending = Some(Pending { is_reached, since });
                if now.saturating_sub(since) >= delay {
                    *pending = None;
                    is_reached
                } else {
                    is_on
                }
            };
            if is_on {
                severity = Some(level);
            }
        }
        severity
    }
}
