//! Recordings as a source: plays MCAP files and rosbag2's SQLite files at their recorded pace.
//!
//! All processes that play the same file give a sample the same identity: the writer GUID is derived
//! from topic, type and the recorder's channel id; the sequence number is the message's ordinal in its
//! channel, counted from the beginning of the file, wherever playback starts, and continued through
//! loops and seeks. Playback commands (pause, speed, seek) go through a file that all processes read,
//! and take effect at an agreed time.

mod clock;
mod compressed_message;
mod control;
mod control_log;
mod db3;
mod directory;
mod locate;
#[cfg(feature = "mcap")]
mod mcap;
mod metadata;
mod player;
mod progress;
mod qos;
mod recording;
mod split_recording;
#[cfg(test)]
mod tests;
mod timeline;
mod unpacked_file;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::bag::control::PlaybackController;
use crate::bag::control_log::{ControlLog, ControlLogReader};
pub use crate::bag::control_log::{control_log_file, remove_control_log};
use crate::bag::locate::Opened;
use crate::bag::player::Player;
use crate::bag::recording::Recording;
use crate::bag::unpacked_file::UnpackedFile;
use crate::shared_clock::SharedClock;
pub use crate::shared_clock::wall_and_monotonic_ns;
use crate::{Sink, Source, SourceControl, SourceError, StopFlag};

/// The recording to play, and the playback options.
#[derive(Clone, Debug, PartialEq)]
pub struct BagOptions {
    /// An `.mcap` or `.db3` file, or the directory of a rosbag2 recording.
    pub file: PathBuf,
    /// Where a compressed file is unpacked; processes that share it unpack once.
    pub scratch: PathBuf,
    /// Recorded seconds per second; greater than 0.
    pub rate: f64,
    /// Start again at the end.
    pub looped: bool,
    /// Skip this much of the beginning; the last sample of each latched topic before it is played
    /// anyway.
    pub start: Duration,
    /// When playback started, nanoseconds since the Unix epoch. Processes with the same value play in
    /// step, and one that starts later joins in the middle.
    pub epoch_unix_ns: Option<i64>,
    /// The same moment on this computer's monotonic clock, so processes agree on the time even after the
    /// wall clock was set.
    pub epoch_monotonic_ns: Option<i64>,
    /// Start when the first client subscribes. Ignored if there is an epoch.
    pub wait: bool,
    /// Show the position on stderr if it is a terminal.
    pub progress: bool,
    /// How clients can control playback, if they can. A controllable recording does not finish: it waits
    /// at its end for a seek.
    pub control: Option<ControlScope>,
}

/// Which processes follow a playback command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlScope {
    /// This process only.
    ThisProcess,
    /// All processes that read this file.
    Shared(PathBuf),
}

/// An opened recording, ready to play.
pub struct BagSource {
    options: BagOptions,
    recording: Box<dyn Recording>,
    /// The files that had to be unpacked, which stay as long as this.
    unpacked: Vec<UnpackedFile>,
    clock: SharedClock,
    /// Only a recording with known start and end times can be controlled.
    control_log: Option<Arc<ControlLog>>,
}

impl BagSource {
    /// Opens the recording.
    ///
    /// # Errors
    ///
    /// If the file or an option is invalid; the message says what to do about it.
    pub fn open(options: BagOptions) -> Result<BagSource, SourceError> {
        if !(options.rate.is_finite() && options.rate > 0.0) {
            return Err(SourceError(format!(
                "the rate is {}; give a number greater than 0, 1 for the recorded pace",
                options.rate
            )));
        }
        let Opened { recording, unpacked } = locate::open(&options.file, &options.scratch)?;
        if let Some(span) = recording.span() {
            let length = Duration::from_nanos(span.last.abs_diff(span.first));
            if options.start > length {
                return Err(SourceError(format!(
                    "the start, {:.1} s, is past the end of {}, which lasts {:.1} s",
                    options.start.as_secs_f64(),
                    options.file.display(),
                    length.as_secs_f64()
                )));
            }
        }
        let clock = SharedClock::new(options.epoch_unix_ns.zip(options.epoch_monotonic_ns));
        let control_log = options.control.as_ref().filter(|_| recording.span().is_some());
        let control_log = control_log.map(|scope| {
            Arc::new(match scope {
                ControlScope::ThisProcess => ControlLog::new(None),
                ControlScope::Shared(file) => ControlLog::new(Some(file.clone())),
            })
        });
        Ok(BagSource { options, recording, unpacked, clock, control_log })
    }
}

impl Source for BagSource {
    fn name(&self) -> &'static str {
        "bag"
    }

    fn control(&self) -> Arc<dyn SourceControl> {
        Arc::new(PlaybackController {
            control_log: self.control_log.clone(),
            clock: self.clock,
            rate: Mutex::default(),
        })
    }

    fn run(self: Box<Self>, sink: Arc<dyn Sink>, stop: StopFlag) -> Result<(), SourceError> {
        let control_log = self.control_log.map(ControlLogReader::new);
        let _unpacked = self.unpacked;
        Player::new(&self.options, self.recording, Box::new(self.clock), sink, stop)
            .with_control_log(control_log)
            .run()
    }
}
