//! Playback control of a recording: pause, speed and seek, for all clients of the endpoint.

use std::time::{Duration, Instant};

use roverline_source::{Playback, PlaybackControl};
use tokio::sync::watch;

use crate::access::Permission;
use crate::connection::outbox::Outbox;
use crate::dialect::foxglove::client_message::PlaybackRequest;
use crate::dialect::foxglove::error::RequestError;
use crate::dialect::foxglove::server_message;
use crate::dialect::session::SessionContext;

/// Shortest interval between playback positions sent to a client.
const PLAYBACK_REPORT_MS: u64 = 50;

/// The permission needed is that to call a service of this name.
const NAME: &str = "/playback";

const REPORT_INTERVAL: Duration = Duration::from_millis(PLAYBACK_REPORT_MS);

/// The playback state that one client has received.
pub(super) struct PlaybackView {
    playback: watch::Receiver<Option<Playback>>,
    /// The pass that was last reported; in another one, time has jumped.
    pass: Option<u64>,
    reported_at: Option<Instant>,
    stale: bool,
}

impl PlaybackView {
    pub(super) fn new(context: &SessionContext) -> PlaybackView {
        PlaybackView {
            playback: context.endpoint.ingress.playback(),
            pass: None,
            reported_at: None,
            stale: true,
        }
    }

    /// The first and last time that the client may seek to; `None` where playback cannot be controlled.
    pub(super) fn range(&self) -> Option<(i64, i64)> {
        self.playback.borrow().as_ref().map(|playback| playback.range_ns)
    }

    /// Returns when the playback state changes; never returns after the playback has ended.
    pub(super) async fn changed(&mut self) {
        if self.playback.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.stale = true;
    }

    /// The current time of the recording.
    pub(super) fn time(&self, now: Instant) -> Option<i64> {
        self.playback.borrow().as_ref().map(|playback| playback.position_at(now))
    }

    /// Sends the playback state, if it has changed and was not sent just now.
    pub(super) fn report(&mut self, outbox: &Outbox, now: Instant) {
        let just_now = self.reported_at.is_some_and(|at| now.saturating_duration_since(at) < REPORT_INTERVAL);
        if !self.stale || just_now {
            return;
        }
        let playback = self.playback.borrow();
        let Some(playback) = playback.as_ref() else { return };
        let did_seek = self.pass.replace(playback.pass).is_some_and(|pass| pass != playback.pass);
        outbox.control(server_message::playback_state(playback, playback.position_at(now), did_seek));
        (self.stale, self.reported_at) = (false, Some(now));
    }
}

/// Controls the playback for this client, if it may.
pub(super) fn apply_control(context: &SessionContext, request: PlaybackRequest) -> Result<(), RequestError> {
    context.authorize(Permission::Call(NAME))?;
    let control = PlaybackControl {
        play: request.play,
        speed: f64::from(request.speed),
        seek_ns: request.seek.map(|time| i64::try_from(time).unwrap_or(i64::MAX)),
        request: request.id,
    };
    Ok(context.endpoint.ros.control_playback(control)?)
}
