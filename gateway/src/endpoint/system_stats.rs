//! The metrics of this process and of its computer, read from `/proc` and `/sys` when somebody asks: never on the
//! thread that serves clients, at most once a second, and once however many ask.

mod computer;
mod network;
mod process;
mod temperature;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use roverline_protocol::api::metrics::{ComputerDocument, ProcessDocument};
use roverline_source::clock::monotonic;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::timeout;

/// A younger reading is used again.
const FRESH_MS: u64 = 950;
/// Longest wait for a reading: a disk that hangs must not hang the metrics.
const READ_WAIT_MS: u64 = 250;
/// An older reading is not shown when a newer one does not come.
const STALE_MS: u64 = 10_000;

/// What was read at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct SystemSnapshot {
    /// This process.
    pub(crate) process: ProcessDocument,
    /// Its computer.
    pub(crate) computer: ComputerDocument,
}

/// The newest reading of process and computer.
pub(crate) struct SystemStats {
    shared: Arc<Shared>,
}

struct Shared {
    roots: Roots,
    /// When it was read (monotonic), and what.
    newest: Mutex<Option<(Duration, Arc<SystemSnapshot>)>>,
    /// Held by the thread that reads.
    reading: Arc<AsyncMutex<()>>,
    late: AtomicU64,
    /// The clock may be set later, and the process does not start anew by it.
    started_s: Mutex<Option<f64>>,
}

/// Where the kernel's files are, and the directory whose disk matters.
#[derive(Clone, Debug)]
struct Roots {
    proc: PathBuf,
    sys: PathBuf,
    state: PathBuf,
}

impl SystemStats {
    /// Reads this computer; `state_dir` is on the disk that is reported.
    pub(crate) fn new(state_dir: &Path) -> SystemStats {
        let roots = Roots { proc: "/proc".into(), sys: "/sys".into(), state: state_dir.to_owned() };
        SystemStats::with_roots(roots)
    }

    fn with_roots(roots: Roots) -> SystemStats {
        let shared = Shared {
            roots,
            newest: Mutex::default(),
            reading: Arc::default(),
            late: AtomicU64::new(0),
            started_s: Mutex::default(),
        };
        SystemStats { shared: Arc::new(shared) }
    }

    /// A reading that is at most a second old. If the system does not answer in time it is an older one, and in the end
    /// one without values.
    pub(crate) async fn read(&self) -> Arc<SystemSnapshot> {
        let wait = Duration::from_millis(READ_WAIT_MS);
        match self.shared.fresh() {
            Some(fresh) => fresh,
            None => timeout(wait, self.read_anew()).await.ok().flatten().unwrap_or_else(|| {
                self.shared.late.fetch_add(1, Ordering::Relaxed);
                self.shared.younger_than(STALE_MS).unwrap_or_default()
            }),
        }
    }

    async fn read_anew(&self) -> Option<Arc<SystemSnapshot>> {
        let reading = self.shared.reading.clone().lock_owned().await;
        if let Some(fresh) = self.shared.fresh() {
            return Some(fresh);
        }
        let shared = self.shared.clone();
        // The guard goes with the thread: while one hangs, no other is started.
        let read = tokio::task::spawn_blocking(move || {
            let _reading = reading;
            shared.read_now()
        });
        read.await.ok()
    }

    /// Readings that did not come in time.
    pub(crate) fn late(&self) -> u64 {
        self.shared.late.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn fresh(&self) -> Option<Arc<SystemSnapshot>> {
        self.younger_than(FRESH_MS)
    }

    fn younger_than(&self, ms: u64) -> Option<Arc<SystemSnapshot>> {
        let (at, snapshot) = self.newest.lock().clone()?;
        (monotonic().saturating_sub(at) < Duration::from_millis(ms)).then_some(snapshot)
    }

    /// Blocks on files.
    fn read_now(&self) -> Arc<SystemSnapshot> {
        let at = monotonic();
        let mut process = process::read(&self.roots.proc);
        let first = *self.started_s.lock().get_or_insert_with(|| process.start_time_s.unwrap_or_default());
        process.start_time_s = process.start_time_s.map(|_| first);
        let computer = computer::read(&self.roots);
        let snapshot = Arc::new(SystemSnapshot { process, computer });
        *self.newest.lock() = Some((at, snapshot.clone()));
        snapshot
    }
}

/// The first part of a file of the kernel; `None` if there is none, or it cannot be read now.
fn text(path: &Path, max_bytes: u64) -> Option<String> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(max_bytes).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn this_computer_is_read_once_for_all_readers() {
        let state = tempfile::tempdir().unwrap();
        let stats = SystemStats::new(state.path());
        let (first, second) = tokio::join!(stats.read(), stats.read());
        assert!(Arc::ptr_eq(&first, &second));
        let SystemSnapshot { process, computer } = &*first;
        assert!(process.resident_bytes.unwrap() > 1 << 20 && process.open_fds.unwrap() >= 3, "{process:?}");
        assert!(process.threads.unwrap() >= 1 && process.start_time_s.unwrap() > 1e9, "{process:?}");
        assert!(computer.cpus.unwrap() >= 1 && computer.cpu_s["user"] > 0.0, "{computer:?}");
        assert!(computer.memory_total_bytes > computer.memory_available_bytes, "{computer:?}");
        assert!(computer.load1.is_some() && computer.uptime_s.unwrap() > 0.0);
        let disk = computer.disk.as_ref().unwrap();
        assert!(disk.size_bytes >= disk.available_bytes && state.path().starts_with(&disk.mountpoint));
        assert_eq!(stats.late(), 0);
    }

    #[tokio::test]
    async fn what_is_not_there_is_absent() {
        let nothing = tempfile::tempdir().unwrap();
        let gone = nothing.path().join("gone");
        let stats = SystemStats::with_roots(Roots { proc: gone.clone(), sys: gone, state: "gone".into() });
        let snapshot = stats.read().await;
        let name = snapshot.computer.name.clone();
        assert_eq!(snapshot.computer, ComputerDocument { name, ..ComputerDocument::default() });
        let ProcessDocument { cpu_s, max_fds, .. } = snapshot.process.clone();
        assert_eq!(snapshot.process, ProcessDocument { cpu_s, max_fds, ..ProcessDocument::default() });
    }

    #[tokio::test]
    async fn a_reading_that_hangs_is_waited_for_briefly_and_by_one_thread() {
        let state = tempfile::tempdir().unwrap();
        let stats = SystemStats::new(state.path());
        let before = stats.read().await;
        let _hangs = stats.shared.reading.clone().lock_owned().await;
        let age = |s| {
            let read = stats.shared.newest.lock().take().map(|(_, snapshot)| snapshot).unwrap();
            *stats.shared.newest.lock() = Some((monotonic().saturating_sub(Duration::from_secs(s)), read));
        };
        age(2);
        assert!(Arc::ptr_eq(&stats.read().await, &before), "an older reading is better than none");
        age(60);
        assert_eq!(stats.read().await.computer.memory_total_bytes, None, "and a stale one is not");
        assert_eq!(stats.late(), 2);
    }
}
