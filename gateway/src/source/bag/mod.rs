//! Recordings as a source: MCAP files and rosbag2's SQLite files, played at the pace at which they
//! were recorded.
//!
//! Every process that plays the same file names its samples alike: the source is made of topic,
//! type and the recorder's channel number, the sequence number is the message's ordinal in its
//! channel, counted from the file's beginning wherever the playing starts and on through loops.

mod chain;
mod clock;
mod db3;
mod locate;
mod mcap;
mod pace;
mod player;
mod progress;
mod qos;
mod recording;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::clock::SystemClock;
use self::player::Player;
use self::recording::Recording;
use super::{Publication, PublishError, Publisher, Sink, Source, SourceError, Stop};

/// What to play, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct BagOptions {
    /// An `.mcap` or `.db3` file, or the directory of a rosbag2 recording.
    pub file: PathBuf,
    /// Recorded seconds per second; more than 0.
    pub rate: f64,
    /// Begin again at the end.
    pub looped: bool,
    /// Leave out this much of the beginning; of latched topics the last sample is played anyway.
    pub start: Duration,
    /// When the playback began, nanoseconds since the Unix epoch: processes that are given the
    /// same value are in step, and one that is started later joins in the middle.
    pub epoch_unix_ns: Option<i64>,
    /// Begin when the first client listens. Without meaning where there is an epoch.
    pub wait: bool,
    /// Show the position on stderr if it is a terminal.
    pub progress: bool,
}

/// A recording that is ready to be played.
pub struct BagSource {
    options: BagOptions,
    recording: Box<dyn Recording>,
}

impl BagSource {
    /// Opens the recording. The error says what is wrong with the file or the options, and what
    /// to do about it.
    pub fn open(options: BagOptions) -> Result<BagSource, SourceError> {
        if !(options.rate.is_finite() && options.rate > 0.0) {
            return Err(SourceError(format!(
                "the rate is {}; give a number greater than 0, 1 for the recorded pace",
                options.rate
            )));
        }
        let recording = locate::open(&options.file)?;
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
        Ok(BagSource { options, recording })
    }
}

impl Source for BagSource {
    fn name(&self) -> &'static str {
        "bag"
    }

    fn publisher(&self) -> Arc<dyn Publisher> {
        Arc::new(ReadOnly)
    }

    fn run(self: Box<Self>, sink: Arc<dyn Sink>, stop: Stop) -> Result<(), SourceError> {
        let clock = Box::new(SystemClock(Instant::now()));
        Player::new(&self.options, self.recording, clock, sink, stop).run()
    }
}

/// The way back into a recording: there is none.
struct ReadOnly;

impl Publisher for ReadOnly {
    fn publish(&self, _: Publication) -> Result<(), PublishError> {
        Err(PublishError::ReadOnly("bag"))
    }
}
