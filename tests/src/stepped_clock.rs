//! A wall clock that can be stepped, for the processes that are started with its environment; monotonic clocks
//! are unchanged.
//!
//! It is a preloaded library, compiled from `stepped_clock.c`. libfaketime does more, and its locks delay a
//! gateway on CycloneDDS by 50 to 400 ms even if the clock is never stepped.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::temp::{self, TempDir};

const SOURCE: &str = include_str!("stepped_clock.c");
const LIBRARY: &str = "stepped_clock.so";

/// The clock; its processes keep its last offset when it is dropped.
#[derive(Debug)]
pub struct SteppedClock {
    folder: TempDir,
}

impl SteppedClock {
    /// A clock without an offset, or the reason why there is no C compiler that makes its library.
    pub fn new() -> Result<SteppedClock, String> {
        let clock = SteppedClock { folder: temp::dir() };
        let source = temp::write(&clock.folder, "stepped_clock.c", SOURCE);
        let output = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-o"])
            .args([&clock.library(), &source])
            .arg("-ldl")
            .output()
            .map_err(|error| format!("a C compiler (cc) is needed: {error}"))?;
        if !output.status.success() {
            return Err(format!("stepped_clock.c: {}", String::from_utf8_lossy(&output.stderr)));
        }
        std::fs::write(clock.offset(), 0_i64.to_ne_bytes()).map_err(|error| error.to_string())?;
        Ok(clock)
    }

    fn library(&self) -> PathBuf {
        self.folder.path().join(LIBRARY)
    }

    fn offset(&self) -> PathBuf {
        self.folder.path().join("offset")
    }

    /// The environment of a process that uses this clock.
    pub fn environment(&self) -> Vec<(String, String)> {
        let pairs = [("LD_PRELOAD", self.library()), ("ROVERLINE_STEPPED_CLOCK", self.offset())];
        pairs.map(|(name, path)| (name.to_owned(), path.display().to_string())).to_vec()
    }

    /// Steps the clock to this many hours ahead of the computer's, behind it if negative.
    pub fn step_to(&self, hours: i64) {
        // Not truncated: the processes have the file mapped.
        let file = std::fs::OpenOptions::new().write(true).open(self.offset()).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &(hours * 3_600).to_ne_bytes(), 0).unwrap();
    }
}

/// Whether a process was started with such a clock.
pub fn is_used_by(pid: u32) -> bool {
    let maps = Path::new("/proc").join(pid.to_string()).join("maps");
    std::fs::read_to_string(maps).is_ok_and(|maps| maps.contains(LIBRARY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_sees_the_steps() {
        let clock = SteppedClock::new().unwrap();
        let seconds = || -> i64 {
            let mut command = Command::new("date");
            let output = command.arg("+%s").envs(clock.environment()).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
        };
        let start = seconds();
        clock.step_to(-1);
        assert!((seconds() - start + 3_600).abs() < 60);
        clock.step_to(0);
        assert!((seconds() - start).abs() < 60);
    }
}
