//! Recordings as a source: MCAP files and rosbag2's SQLite files, played at the pace at which they
//! were recorded.
//!
//! Every process that plays the same file names its samples alike: the source is made of topic,
//! type and the recorder's channel number, the sequence number is the message's ordinal in its
//! channel, counted from the file's beginning wherever the playing starts and on through loops and
//! jumps. What somebody orders (pause, speed, another place) goes through a file that all of them read,
//! and takes effect at an agreed moment.

mod clock;
mod control;
mod control_log;
mod db3;
mod locate;
mod mcap;
mod player;
mod progress;
mod qos;
mod recording;
mod split_recording;
#[cfg(test)]
mod tests;
mod timeline;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::bag::clock::SystemClock;
pub use crate::bag::clock::moment;
use crate::bag::control::Wheel;
use crate::bag::control_log::{OrderReader, Orders};
pub use crate::bag::control_log::{forget_orders, orders_file};
use crate::bag::player::Player;
use crate::bag::recording::Recording;
use crate::{Publisher, Sink, Source, SourceError, Stop};

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
    /// The same moment on this computer's monotonic clock, so that processes agree on the time even
    /// after the wall clock was set.
    pub epoch_monotonic_ns: Option<i64>,
    /// Begin when the first client listens. Without meaning where there is an epoch.
    pub wait: bool,
    /// Show the position on stderr if it is a terminal.
    pub progress: bool,
    /// Whether it can be steered; a recording that can does not end, and waits at its end.
    pub steering: Option<Steering>,
}

/// Who hears what somebody orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Steering {
    /// This process.
    Alone,
    /// All that read this file.
    Shared(PathBuf),
}

/// A recording that is ready to be played.
pub struct BagSource {
    options: BagOptions,
    recording: Box<dyn Recording>,
    clock: SystemClock,
    /// Only a recording whose times are known beforehand can be steered.
    orders: Option<Arc<Orders>>,
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
        let clock = SystemClock::new(options.epoch_unix_ns.zip(options.epoch_monotonic_ns));
        let orders = options.steering.as_ref().filter(|_| recording.span().is_some());
        let orders = orders.map(|steering| match steering {
            Steering::Alone => Orders::new(None),
            Steering::Shared(file) => Orders::new(Some(file.clone())),
        });
        Ok(BagSource { options, recording, clock, orders })
    }
}

impl Source for BagSource {
    fn name(&self) -> &'static str {
        "bag"
    }

    fn publisher(&self) -> Arc<dyn Publisher> {
        Arc::new(Wheel { orders: self.orders.clone(), clock: self.clock, recent: Mutex::default() })
    }

    fn run(self: Box<Self>, sink: Arc<dyn Sink>, stop: Stop) -> Result<(), SourceError> {
        let orders = self.orders.map(OrderReader::new);
        Player::new(&self.options, self.recording, Box::new(self.clock), sink, stop).steered(orders).run()
    }
}
