//! Playback control by clients. Nothing can be published into a recording.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::bag::control_log::{ControlLog, speeds};
use crate::bag::timeline::PlaybackCommand;
use crate::shared_clock::SharedClock;
use crate::{PlaybackControl, Publication, PublishError, SourceControl};

/// Lead time of a playback command before it takes effect, so that all processes have read it by
/// then.
const PLAYBACK_LEAD_MS: u64 = 150;
/// Commands accepted by one process.
const PLAYBACK_MESSAGES_PER_S: usize = 20;
/// Longest request id, which is echoed in the resulting state.
const PLAYBACK_REQUEST_BYTES: usize = 128;

/// Nanoseconds from accepting a command to its execution.
const LEAD_NS: i64 = PLAYBACK_LEAD_MS as i64 * 1_000_000;

/// Accepts playback commands of clients.
pub(super) struct PlaybackController {
    /// `None` if the recording cannot be controlled.
    pub(super) control_log: Option<Arc<ControlLog>>,
    pub(super) clock: SharedClock,
    pub(super) rate: Mutex<RateWindow>,
}

/// Counts the commands of the current second.
#[derive(Debug, Default)]
pub(super) struct RateWindow {
    since: Option<Instant>,
    count: usize,
}

impl RateWindow {
    /// Whether one more is allowed at `now`.
    fn admit(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= Duration::from_secs(1)) {
            *self = RateWindow { since: Some(now), count: 0 };
        }
        self.count += 1;
        self.count <= PLAYBACK_MESSAGES_PER_S
    }
}

impl SourceControl for PlaybackController {
    fn publish(&self, _: Publication) -> Result<(), PublishError> {
        Err(PublishError::ReadOnly("bag"))
    }

    fn control_playback(&self, control: PlaybackControl) -> Result<(), PublishError> {
        let reject = |why: &str| Err(PublishError::Failed(why.to_owned()));
        let Some(control_log) = &self.control_log else {
            return reject("this recording has no index of its times, and can only be played through");
        };
        if !control.speed.is_finite() || control.speed <= 0.0 {
            return reject("the speed of a recording is a number greater than 0");
        }
        if control.request.len() > PLAYBACK_REQUEST_BYTES {
            return reject("the name of a request to a recording is too long");
        }
        if !self.rate.lock().admit(Instant::now()) {
            let max = PLAYBACK_MESSAGES_PER_S;
            return reject(&format!("a recording accepts {max} commands a second; send the last one again"));
        }
        let (min, max) = speeds();
        let command = |at| PlaybackCommand {
            at,
            play: control.play,
            speed: control.speed.clamp(min, max),
            seek: control.seek_ns,
            request: control.request,
        };
        let stamp = || command(self.clock.now_unix_ns().saturating_add(LEAD_NS));
        control_log
            .append(stamp)
            .map_err(|error| PublishError::Failed(format!("the recording's control log {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(speed: f64, request: &str) -> PlaybackControl {
        PlaybackControl { play: true, speed, seek_ns: None, request: request.to_owned() }
    }

    fn controller(control_log: Option<Arc<ControlLog>>) -> PlaybackController {
        PlaybackController { control_log, clock: SharedClock::new(None), rate: Mutex::default() }
    }

    #[test]
    fn commands_are_bounded_in_speed_size_and_rate() {
        use crate::bag::control_log::ControlLogReader;

        let control_log = Arc::new(ControlLog::new(None));
        let controller = controller(Some(control_log.clone()));
        for (speed, accepted) in [(1.0, 1.0), (1e-9, 0.01), (1e9, 100.0)] {
            controller.control_playback(control(speed, "a")).unwrap();
            let command = ControlLogReader::new(control_log.clone()).read().remove(0);
            assert_eq!((command.speed, command.request.as_str()), (accepted, "a"));
        }
        for speed in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(controller.control_playback(control(speed, "")).is_err(), "{speed}");
        }
        assert!(
            controller
                .control_playback(control(1.0, &"x".repeat(super::PLAYBACK_REQUEST_BYTES + 1)))
                .is_err()
        );
        let accepted = (0..200).filter(|_| controller.control_playback(control(1.0, "")).is_ok()).count();
        assert!(accepted <= 2 * super::PLAYBACK_MESSAGES_PER_S, "{accepted}");
        assert!(controller.control_playback(control(1.0, "")).unwrap_err().to_string().contains("a second"));
    }

    #[test]
    fn the_rate_limit_counts_each_second() {
        let (mut rate, now) = (RateWindow::default(), Instant::now());
        assert!((0..super::PLAYBACK_MESSAGES_PER_S).all(|_| rate.admit(now)));
        assert!(!rate.admit(now));
        assert!(rate.admit(now + Duration::from_secs(1)));
    }

    #[test]
    fn a_recording_without_an_index_cannot_be_controlled() {
        assert!(
            controller(None).control_playback(control(1.0, "")).unwrap_err().to_string().contains("no index")
        );
    }
}
