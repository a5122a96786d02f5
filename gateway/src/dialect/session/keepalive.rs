//! Looks after one session while it runs: is the client there, and what does its link carry.

use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::service_level::{Ladder, ServiceLevel, Step};
use roverline_protocol::status::EventKind;
use roverline_protocol::{limits, native};

use crate::connection::frame;
use crate::connection::outbox::Outbox;
use crate::dialect::session::{Context, Ending};
use crate::endpoint::Facts;

/// The watch over one session; its dialect asks it several times a second.
#[derive(Default)]
pub struct Care {
    ladder: Ladder,
    looked_at: Option<Duration>,
    pinged_at: Duration,
    lost: u64,
    told_at: Duration,
    told_shed: u64,
}

/// What the client is to be told of its service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// What it gets now.
    pub level: ServiceLevel,
    /// Why.
    pub reason: String,
    /// Samples not sent because of it, since the session began.
    pub shed: u64,
}

const PING: Duration = Duration::from_millis(limits::PING_MS);
const SILENT: Duration = Duration::from_millis(limits::CLIENT_SILENT_MS);
const STALLED: Duration = Duration::from_millis(limits::CLIENT_STALL_MS);
const TELL: Duration = Duration::from_millis(limits::SHED_TELL_MS);
/// If nobody looked for this long, it was this process that stood still.
const STOOD_STILL: Duration = Duration::from_millis(limits::CLIENT_SILENT_MS / 2);

impl Care {
    /// Looks at the session at `now` (monotonic): something to tell the client, nothing, or the end.
    pub fn look(&mut self, context: &Context, now: Duration) -> Result<Option<Service>, Ending> {
        let outbox = context.info.outbox();
        match self.attend(outbox, now) {
            Attention::Gone(silence) => {
                let reason = format!("no sign of life for {} s", silence.as_secs());
                let cause = format!("{}: {reason}", context.info.client());
                context.endpoint.events.note(EventKind::Stalled, &cause, Facts::default());
                return Err(Ending::new(native::CLOSE_SILENT, reason));
            }
            Attention::Away => return Ok(None),
            Attention::Here => {}
        }
        let step = self.measure(outbox, now);
        if let Some(step) = &step {
            note(context, step);
        }
        Ok(self.tell(outbox, step, now))
    }

    fn attend(&mut self, outbox: &Outbox, now: Duration) -> Attention {
        let looked_at = self.looked_at.replace(now);
        if looked_at.is_none_or(|at| now.saturating_sub(at) > STOOD_STILL) {
            // Nobody listened meanwhile: that is not the client's silence.
            outbox.heard(now);
            self.ladder.forget();
        }
        if now.saturating_sub(self.pinged_at) >= PING {
            self.pinged_at = now;
            outbox.ping(frame::ping());
        }
        let silence = outbox.silence(now);
        let away = silence >= SILENT;
        if outbox.pause(away, now) {
            self.ladder.forget();
            tracing::debug!(?silence, away, "a client's signs of life");
        }
        match away {
            _ if silence >= STALLED => Attention::Gone(silence),
            true => Attention::Away,
            false => Attention::Here,
        }
    }

    fn measure(&mut self, outbox: &Outbox, now: Duration) -> Option<Step> {
        let (waited, lost) = outbox.measure(now);
        let newly_lost = lost.saturating_sub(std::mem::replace(&mut self.lost, lost));
        let step = self.ladder.observe(now, waited, newly_lost)?;
        outbox.set_level(step.to);
        Some(step)
    }

    fn tell(&mut self, outbox: &Outbox, step: Option<Step>, now: Duration) -> Option<Service> {
        let due = now.saturating_sub(self.told_at) >= TELL;
        if step.is_none() && !due {
            return None;
        }
        let shed = outbox.stats().shed;
        if step.is_none() && shed == self.told_shed {
            return None;
        }
        (self.told_at, self.told_shed) = (now, shed);
        let level = self.ladder.level();
        let reason = step.map_or_else(|| "the link does not carry all".to_owned(), |step| step.reason);
        Some(Service { level, reason, shed })
    }
}

enum Attention {
    Here,
    Away,
    Gone(Duration),
}

fn note(context: &Context, step: &Step) {
    let kind = if step.to > step.from { EventKind::Degraded } else { EventKind::Recovered };
    let facts = Facts {
        from: Some(step.from.word().to_owned()),
        to: Some(step.to.word().to_owned()),
        ..Facts::default()
    };
    context.endpoint.events.note(kind, &format!("{}: {}", context.info.client(), step.reason), facts);
}

impl Service {
    /// As a frame for plain clients.
    pub fn plain(&self) -> Bytes {
        frame::json(&serde_json::json!({
            "type": "service", "level": self.level, "reason": self.reason, "shed": self.shed,
        }))
    }
}

#[cfg(test)]
mod tests {
    use roverline_protocol::Priority;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn attend(care: &mut Care, outbox: &Outbox, from: u64, to: u64) -> Option<u64> {
        (from..to).step_by(100).find(|now| matches!(care.attend(outbox, ms(*now)), Attention::Away))
    }

    #[test]
    fn who_falls_silent_gets_nothing_more_and_who_never_answered_is_left_alone() {
        let (mut care, outbox) = (Care::default(), Outbox::new());
        assert_eq!(attend(&mut care, &outbox, 0, 60_000), None);
        outbox.answers();
        outbox.heard(ms(60_000));
        assert_eq!(attend(&mut care, &outbox, 60_000, 70_000), Some(61_500));
        assert!(outbox.is_paused());
        outbox.heard(ms(61_600));
        assert_eq!(attend(&mut care, &outbox, 61_600, 62_000), None);
        assert!(!outbox.is_paused());
        let gone = (62_000..100_000)
            .step_by(100)
            .find(|now| matches!(care.attend(&outbox, ms(*now)), Attention::Gone(_)));
        assert_eq!(gone, Some(91_600));
    }

    #[test]
    fn a_gateway_that_stood_still_blames_nobody() {
        let (mut care, outbox) = (Care::default(), Outbox::new());
        outbox.answers();
        attend(&mut care, &outbox, 0, 1_000);
        assert!(matches!(care.attend(&outbox, ms(50_000)), Attention::Here));
    }

    #[test]
    fn a_standing_queue_takes_the_level_down_and_is_told() {
        let (mut care, outbox) = (Care::default(), Outbox::new());
        outbox.every(1, Priority::State, Bytes::from_static(b"x"), ms(0));
        let step = (100..3_000).step_by(100).find_map(|now| care.measure(&outbox, ms(now)));
        assert_eq!(outbox.level(), ServiceLevel::Reduced);
        let told = care.tell(&outbox, step, ms(1_300)).unwrap();
        assert_eq!((told.level, told.shed), (ServiceLevel::Reduced, 0));
        assert_eq!(care.tell(&outbox, None, ms(9_000)), None);
        outbox.count_shed();
        assert_eq!(care.tell(&outbox, None, ms(9_100)).unwrap().shed, 1);
    }
}
