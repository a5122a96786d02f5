//! Measures stalls of the disk: what is written before it is answered waits for them, and they are not the gateway's.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two writes.
const INTERVAL: Duration = Duration::from_millis(5);

/// Writes and syncs a small file until [`DiskWatch::finish`].
#[derive(Debug)]
pub struct DiskWatch {
    stop: Arc<AtomicBool>,
    longest_us: Arc<AtomicU64>,
    writer: JoinHandle<()>,
}

impl DiskWatch {
    /// Starts in this folder.
    pub fn start(folder: &Path) -> DiskWatch {
        let (stop, longest_us): (Arc<AtomicBool>, Arc<AtomicU64>) = Default::default();
        let mut file = File::create(folder.join("disk-watch")).unwrap();
        let writer = std::thread::spawn({
            let (stop, longest_us) = (stop.clone(), longest_us.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    file.seek(SeekFrom::Start(0)).unwrap();
                    file.write_all(b"x").unwrap();
                    file.sync_all().unwrap();
                    longest_us.fetch_max(start.elapsed().as_micros() as u64, Ordering::Relaxed);
                    std::thread::sleep(INTERVAL);
                }
            }
        });
        DiskWatch { stop, longest_us, writer }
    }

    /// The longest write, milliseconds.
    pub fn finish(self) -> f64 {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.writer.join();
        self.longest_us.load(Ordering::Relaxed) as f64 / 1e3
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::temp;
    use crate::wait::observe_for;

    #[test]
    fn a_write_takes_time() {
        let folder = temp::dir();
        let watch = DiskWatch::start(folder.path());
        observe_for(Duration::from_millis(50), "writes");
        assert!(watch.finish() > 0.0);
    }
}
