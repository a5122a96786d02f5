//! A process is stopped within a write while it holds the store's write lock. The others are refused in time,
//! read as before, and continue once the process resumes or is gone.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use roverline_protocol::limits;

use super::crash;
use super::journal::{Operation, Outcome};
use super::report::Report;
use super::store_clients::{StoreClients, open};
use super::worker::TTL;
use super::workers::Workers;
use crate::process::Signal;
use crate::temp;
use crate::wait::observe_for;

const LOCK_TIMEOUT: Duration = Duration::from_millis(limits::STORE_WRITE_LOCK_MS);
/// Tolerance for a machine that stalls at times.
const SLACK: Duration = Duration::from_secs(5);
/// Limit for attempts that stop the process outside of a write.
const ATTEMPTS: u32 = 20_000;

/// Command line options.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Trials
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub trials: u32,
    /// Repeats the choices
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}

/// Stops a writer, checks the others, resumes it; every other trial kills it instead.
pub fn run(options: &Options) -> Report {
    let mut report = Report::new("stall");
    let folder = temp::dir();
    let store = folder.path().join("store");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let name = store.display().to_string();
    let clients = match runtime.block_on(async {
        let clients = StoreClients::on(open(&name)?);
        crash::prepare(&clients).await?;
        Ok::<StoreClients, String>(clients)
    }) {
        Ok(clients) => clients,
        Err(why) => return report.failed(&why),
    };
    let mut workers = Workers::start(&name, 3, options.seed);
    let mut rng = fastrand::Rng::with_seed(options.seed);
    let mut longest = Duration::ZERO;
    for trial in 0..options.trials {
        let index = rng.usize(..workers.size());
        if let Err(why) = pause_within_write(&workers, index, &store.join("roverline.turn"), &mut rng) {
            return report.failed(&why);
        }
        longest = longest.max(runtime.block_on(check_others(&clients, &mut report)));
        match trial % 2 {
            0 => workers.signal(index, Signal::CONT),
            _ => {
                workers.kill(&[index]);
                workers.spawn(index);
            }
        }
        let start = Instant::now();
        let write = runtime.block_on(clients.execute("observer-1", &probe(2), TTL, TTL));
        report
            .check(matches!(write, Outcome::Done { .. }), &format!("writes continue afterwards: {write:?}"));
        report.check(start.elapsed() < SLACK, "writes continue immediately");
        observe_for(Duration::from_millis(200), "writes between two trials");
    }
    report.number("trials", f64::from(options.trials));
    report.text("s until a write was refused, at most", &format!("{:.2}", longest.as_secs_f64()));
    let (records, problems) = workers.finish();
    report.violations(problems);
    // Refused writes did not take effect, and no other guarantee is broken.
    runtime.block_on(crash::check_history(&clients, records, &mut report));
    report
}

fn probe(value: u64) -> Operation {
    Operation::Write { key: "probe".to_owned(), value }
}

/// Checks what other processes observe; how long it took until a write was refused.
async fn check_others(clients: &StoreClients, report: &mut Report) -> Duration {
    let start = Instant::now();
    let write = clients.execute("observer-1", &probe(1), TTL, TTL).await;
    let took = start.elapsed();
    let why = match &write {
        Outcome::Refused { why } => why.as_str(),
        _ => "",
    };
    report.check(why.contains("stands still"), &format!("a write is refused, with the reason: {write:?}"));
    report.check(took < LOCK_TIMEOUT + SLACK, &format!("a write is refused in time: {took:?}"));
    let start = Instant::now();
    let read =
        clients.execute("observer-1", &Operation::Read { key: "register/0".to_owned() }, TTL, TTL).await;
    report.check(matches!(read, Outcome::Value { .. }), &format!("reads continue: {read:?}"));
    report.check(start.elapsed() < LOCK_TIMEOUT, "reads continue immediately");
    took
}

/// Stops this worker while it holds the write lock.
fn pause_within_write(
    workers: &Workers,
    index: usize,
    lock_file: &Path,
    rng: &mut fastrand::Rng,
) -> Result<(), String> {
    let Some(pid) = workers.pid(index) else { return Err("the process is gone".to_owned()) };
    for _ in 0..ATTEMPTS {
        workers.signal(index, Signal::STOP);
        let start = Instant::now();
        while crate::process::state(pid) != Some('T') {
            if start.elapsed() > SLACK {
                return Err("the process does not stop".to_owned());
            }
            std::thread::yield_now();
        }
        if holds_lock(pid, lock_file)? {
            return Ok(());
        }
        workers.signal(index, Signal::CONT);
        observe_for(Duration::from_micros(200 + rng.u64(..5_000)), "a random point of the next write");
    }
    Err("the process never held the write lock".to_owned())
}

/// Whether a process holds a lock on this file: <https://man7.org/linux/man-pages/man5/proc_locks.5.html>.
fn holds_lock(pid: u32, file: &Path) -> Result<bool, String> {
    let inode = file.metadata().map_err(|error| error.to_string())?.ino();
    let locks = std::fs::read_to_string("/proc/locks").map_err(|error| error.to_string())?;
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        // A waiter has an arrow in place of the kind.
        words.get(1) == Some(&"FLOCK")
            && words.get(4) == Some(&pid.to_string().as_str())
            && words.get(5).is_some_and(|index| index.ends_with(&format!(":{inode}")))
    };
    Ok(locks.lines().any(line))
}
