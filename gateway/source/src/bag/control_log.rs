//! The control log of a recording: the command log that distributes playback commands to every process
//! that plays it.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::bag::timeline::PlaybackCommand;
use crate::command_log::{Command, CommandLog, CommandLogReader};
use crate::limits;

/// Slowest and fastest playback speed, relative to the recording.
const PLAYBACK_SPEED_PERCENT: (u32, u32) = (1, 10_000);

const FOLDER: &str = "playback";
/// Files unchanged for this long belong to runs that are over.
const EXPIRY: Duration = Duration::from_secs(24 * 3_600);

/// The commands to a recording, from clients.
pub(super) type ControlLog = CommandLog<PlaybackCommand>;
/// The commands to a recording, for its player.
pub(super) type ControlLogReader = CommandLogReader<PlaybackCommand>;

impl Command for PlaybackCommand {
    /// A request id may grow sixfold in JSON.
    const MAX_LINE_BYTES: usize = 1_024;
    const MAX_FILE_BYTES: u64 = limits::PLAYBACK_FILE_BYTES;

    fn is_valid(&self) -> bool {
        let (min, max) = speeds();
        self.speed >= min && self.speed <= max
    }
}

/// The control log of the run that started at this time.
pub fn control_log_file(state: &Path, epoch_unix_ns: i64) -> PathBuf {
    state.join(FOLDER).join(format!("{epoch_unix_ns}.jsonl"))
}

/// Removes the control log of this run and those of runs that are long over.
pub fn remove_control_log(state: &Path, epoch_unix_ns: i64) {
    let _ = std::fs::remove_file(control_log_file(state, epoch_unix_ns));
    let Ok(files) = std::fs::read_dir(state.join(FOLDER)) else { return };
    for file in files.flatten() {
        let modified = file.metadata().and_then(|data| data.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        if modified.elapsed().is_ok_and(|age| age > EXPIRY) {
            let _ = std::fs::remove_file(file.path());
        }
    }
}

/// The minimum and maximum speed.
pub(super) fn speeds() -> (f64, f64) {
    let (min, max) = PLAYBACK_SPEED_PERCENT;
    (f64::from(min) / 1e2, f64::from(max) / 1e2)
}
