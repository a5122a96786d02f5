//! A recording that the client steers: pause, speed and another place, for all who watch it.

use std::time::{Duration, Instant};

use roverline_protocol::limits;
use roverline_source::{Playback, PlaybackControl, PlaybackStatus};
use tokio::sync::watch;

use crate::access::Deed;
use crate::connection::outbox::Outbox;
use crate::dialect::foxglove::client_message::PlaybackRequest;
use crate::dialect::foxglove::server_message;
use crate::dialect::session::Context;

/// The right that it takes is that to call a service of this name.
const NAME: &str = "/playback";

const TELL: Duration = Duration::from_millis(limits::PLAYBACK_TELL_MS);

/// What one client knows of the recording.
pub(super) struct Screen {
    playback: watch::Receiver<Option<Playback>>,
    /// The pass that was told last: in another one, time has jumped.
    pass: Option<u64>,
    told_at: Option<Instant>,
    stale: bool,
}

impl Screen {
    pub(super) fn new(context: &Context) -> Screen {
        Screen { playback: context.endpoint.ingress.playback(), pass: None, told_at: None, stale: true }
    }

    /// First and last time that the client may go to; `None` where nothing can be steered.
    pub(super) fn range(&self) -> Option<(i64, i64)> {
        self.playback.borrow().as_ref().map(|playback| playback.range_ns)
    }

    /// Returns when the recording does something else; never, where there is none any more.
    pub(super) async fn changed(&mut self) {
        if self.playback.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.stale = true;
    }

    /// The time of the recording.
    pub(super) fn time(&self, now: Instant) -> Option<i64> {
        self.playback.borrow().as_ref().map(|playback| playback.position_at(now))
    }

    /// Tells the client where the recording is, if that has changed and was not told just now.
    pub(super) fn tell(&mut self, outbox: &Outbox, now: Instant) {
        let just_now = self.told_at.is_some_and(|at| now.saturating_duration_since(at) < TELL);
        if !self.stale || just_now {
            return;
        }
        let playback = self.playback.borrow();
        let Some(playback) = playback.as_ref() else { return };
        let did_seek = self.pass.replace(playback.pass).is_some_and(|pass| pass != playback.pass);
        outbox.control(server_message::playback_state(playback, playback.position_at(now), did_seek));
        (self.stale, self.told_at) = (false, Some(now));
    }
}

/// Steers the recording for this client, if it may.
pub(super) fn control(context: &Context, request: PlaybackRequest) -> Result<(), String> {
    context.may(Deed::Call(NAME)).map_err(|denied| denied.to_string())?;
    let control = PlaybackControl {
        play: request.play,
        speed: f64::from(request.speed),
        seek_ns: request.seek.map(|time| i64::try_from(time).unwrap_or(i64::MAX)),
        request: request.id,
    };
    context.endpoint.ros.control(control).map_err(|error| error.to_string())
}

/// The status as the protocol numbers it.
pub(super) fn number(status: PlaybackStatus) -> u8 {
    match status {
        PlaybackStatus::Playing => 0,
        PlaybackStatus::Paused => 1,
        PlaybackStatus::Buffering => 2,
        PlaybackStatus::Ended => 3,
    }
}
