//! Disk faults: a full disk, a read-only disk, and a corrupted database file.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use roverline_coordination::store::{Store, StoreError};

use super::actor::Actor;
use super::journal::{Operation, Outcome};
use super::report::Report;
use super::store_clients::{open, prefix_range, put};
use crate::binary;
use crate::temp;
use crate::wait::poll_async;

/// Deadline for the store to become usable again.
const PATIENCE: Duration = Duration::from_secs(30);
const TTL: Duration = Duration::from_secs(10);
/// Keys written before the file is corrupted.
const KEYS: usize = 50;

/// Runs a scenario on a small disk of its own, in user and mount namespaces that end with it.
pub fn on_small_disk(scenario: &str) -> Report {
    let folder = temp::dir();
    let this = binary::bin("chaos");
    // Mounting in an own user namespace needs no privileges outside of it.
    let script = "mount -t tmpfs -o size=4m none \"$1\" && exec \"$2\" inside \"$3\" --folder \"$1\"";
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", script, "sh"]).arg(folder.path()).arg(this).arg(scenario);
    match command.output() {
        Err(error) => Report::skipped(scenario, &format!("unshare: {error}")),
        Ok(output) => match serde_json::from_slice::<Report>(&output.stdout) {
            Ok(report) => report,
            Err(_) => {
                let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                // A missing privilege means that the scenario did not start; anything else is a failure.
                let unprivileged = stderr.contains("unshare") || stderr.contains("mount:");
                if unprivileged {
                    Report::skipped(scenario, &stderr)
                } else {
                    Report::new(scenario).failed(&stderr)
                }
            }
        },
    }
}

/// The part of a scenario that runs on the small disk.
pub(crate) fn run_on_small_disk(scenario: &str, folder: &Path) -> Report {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut report = Report::new(scenario);
    let result = runtime.block_on(async {
        match scenario {
            "disk-full" => full_disk(folder, &mut report).await,
            "read-only" => read_only_disk(folder, &mut report).await,
            other => Err(format!("there is no {other}")),
        }
    });
    report.violations(result.err());
    report
}

async fn write(store: &dyn Store, n: u32, size: usize) -> Result<(), StoreError> {
    store.txn(put(&format!("k/{n:06}"), &"x".repeat(size))).await.map(drop)
}

async fn count(store: &dyn Store) -> Result<usize, String> {
    store.range(prefix_range("k/")).await.map(|page| page.entries.len()).map_err(|error| error.to_string())
}

/// The disk fills up, and space is freed again.
async fn full_disk(folder: &Path, report: &mut Report) -> Result<(), String> {
    let name = folder.join("store").display().to_string();
    let (store, other) = (open(&name)?, open(&name)?);
    for n in 0..20 {
        write(&*store, n, 1_000).await.map_err(|error| error.to_string())?;
    }
    let ballast = folder.join("ballast");
    fill(&ballast)?;
    let (mut written, mut refused) = (20, None);
    for n in 20..2_000 {
        match write(&*store, n, 1_000).await {
            Ok(()) => written += 1,
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    let why = refused.ok_or("the disk was not full")?;
    report.number("writes before it was full", f64::from(written));
    report.text("refused with", &why.to_string());
    report.check(
        why.to_string().contains("full") || matches!(why, StoreError::Unavailable(_)),
        "the reason is named",
    );
    for (whose, store) in [("of the one who wrote", &store), ("of another process", &other)] {
        let seen = count(&**store).await;
        report.check(seen == Ok(written as usize), &format!("reads {whose} go on: {seen:?} of {written}"));
    }
    // A process that starts now reads as well.
    let late = open(&name)?;
    let seen = count(&*late).await;
    report.check(seen == Ok(written as usize), &format!("a new process reads: {seen:?} of {written}"));
    let again = write(&*other, 999_999, 1_000).await;
    report.check(again.is_err(), "another process is refused as well");
    std::fs::remove_file(&ballast).map_err(|error| error.to_string())?;
    recovers(&*store, written as usize, report).await
}

fn fill(path: &Path) -> Result<(), String> {
    let file = std::fs::File::create(path).map_err(|error| error.to_string())?;
    let (block, mut at) = ([0xaa_u8; 4_096], 0);
    while file.write_all_at(&block, at).is_ok() {
        at += block.len() as u64;
    }
    Ok(())
}

/// Writes succeed again once the cause is gone, and every acknowledged write is present.
async fn recovers(store: &dyn Store, written: usize, report: &mut Report) -> Result<(), String> {
    let (start, mut error) = (Instant::now(), String::new());
    let recovered = poll_async(PATIENCE, async || match write(store, 900_000, 10).await {
        Ok(()) => Some(()),
        Err(why) => {
            error = why.to_string();
            None
        }
    });
    recovered.await.ok_or_else(|| format!("it does not recover: {error}"))?;
    report.number("ms until it can be written again", start.elapsed().as_secs_f64() * 1e3);
    let seen = count(store).await?;
    report.check(seen == written + 1, &format!("acknowledged keys: {seen} of {}", written + 1));
    Ok(())
}

/// The disk is read-only when a process opens the store, and becomes writable later.
async fn read_only_disk(folder: &Path, report: &mut Report) -> Result<(), String> {
    let directory = folder.join("store");
    let name = directory.display().to_string();
    let before = open(&name)?;
    for n in 0..20 {
        write(&*before, n, 100).await.map_err(|error| error.to_string())?;
    }
    let mount = |arguments: &[&str]| {
        let result =
            Command::new("mount").args(arguments).arg(&name).output().map_err(|error| error.to_string())?;
        let stderr = String::from_utf8_lossy(&result.stderr).into_owned();
        if result.status.success() { Ok(()) } else { Err(format!("mount: {stderr}")) }
    };
    mount(&["--bind", &name])?;
    mount(&["-o", "remount,bind,ro"])?;
    let store = open(&name)?;
    let refused = write(&*store, 20, 100).await;
    report.text("refused with", &format!("{refused:?}"));
    report.check(matches!(refused, Err(StoreError::Unavailable(_))), "a write is refused");
    let seen = count(&*store).await;
    report.check(seen == Ok(20), &format!("it is read, while others have it open: {seen:?}"));
    // Closing folds the WAL into the file; then one process opens it alone.
    drop((before, store));
    let log = directory.join("roverline.db-wal");
    mount(&["-o", "remount,bind,rw"])?;
    poll_async(PATIENCE, async || (!log.exists()).then_some(())).await;
    mount(&["-o", "remount,bind,ro"])?;
    let store = open(&name)?;
    let seen = count(&*store).await;
    report.check(seen == Ok(20), &format!("it is read alone: {seen:?}"));
    report.check(write(&*store, 20, 100).await.is_err(), "a write is still refused");
    mount(&["-o", "remount,bind,rw"])?;
    recovers(&*store, 20, report).await
}

/// The file is overwritten, or its WAL is truncated within a frame.
pub fn corrupt() -> Report {
    let mut report = Report::new("corrupt");
    let folder = temp::dir();
    let store = folder.path().join("store");
    let name = store.display().to_string();
    let (file, log) = (store.join("roverline.db"), store.join("roverline.db-wal"));
    let mut writer = Actor::start(&name, &[]);
    for n in 0..KEYS {
        let made = writer.execute("c", create(n), TTL).map(|reply| reply.outcome);
        report.check(matches!(made, Some(Outcome::Done { .. })), "a write is taken");
    }
    // Killed, so that the WAL stays as it is.
    drop(writer);
    let original = [std::fs::read(&file).unwrap(), std::fs::read(&log).unwrap_or_default()];
    report.number("bytes of the log", original[1].len() as f64);
    let expect_keys = |report: &mut Report, what: &str, least: usize| {
        let found = readable_keys(&name);
        report.text(what, &format!("{found:?}"));
        report.check(found.as_ref().is_ok_and(|found| *found >= least), &format!("{what}: {found:?}"));
    };
    let restore = |file_bytes: &[u8], log_bytes: &[u8]| {
        for path in [&file, &log, &store.join("roverline.db-shm")] {
            let _ = std::fs::remove_file(path);
        }
        std::fs::write(&file, file_bytes).unwrap();
        std::fs::write(&log, log_bytes).unwrap();
    };
    restore(&original[0], &[original[1].as_slice(), &[0x55; 1_000]].concat());
    expect_keys(&mut report, "keys, half a frame behind the log", KEYS);
    restore(&original[0], &original[1][..original[1].len() - 100]);
    expect_keys(&mut report, "keys, the last frame cut", KEYS - 1);
    let garbage: Vec<u8> =
        b"this is something else. ".iter().copied().cycle().take(original[0].len().max(8_192)).collect();
    restore(&garbage, &[]);
    expect_refusals(&name, &mut report);
    restore(&original[0], &original[1]);
    expect_keys(&mut report, "keys, as it was again", KEYS);
    report
}

/// How many of the keys a new process finds; it must be able to write, too. This process opens no store: it
/// would close it while the files are being exchanged.
fn readable_keys(name: &str) -> Result<usize, String> {
    let mut actor = Actor::start(name, &[]);
    let mut found = 0;
    for n in 0..KEYS {
        match actor.execute("c", create(n), TTL).map(|reply| reply.outcome) {
            Some(Outcome::Refused { why }) if why.contains("as compared") => found += 1,
            Some(Outcome::Done { .. }) => {}
            other => return Err(format!("a write got {other:?}")),
        }
    }
    Ok(found)
}

fn create(n: usize) -> Operation {
    Operation::Create { key: format!("kept/{n:03}") }
}

fn expect_refusals(name: &str, report: &mut Report) {
    let mut actor = Actor::start(name, &[]);
    for operation in [
        Operation::Write { key: "after".to_owned(), value: 1 },
        Operation::Read { key: "kept/001".to_owned() },
    ] {
        let outcome = actor.execute("c", operation, TTL).map(|reply| reply.outcome);
        report.text("an overwritten file", &format!("{outcome:?}"));
        report.check(
            matches!(outcome, Some(Outcome::Refused { .. })),
            "an overwritten file is refused with a reason",
        );
    }
}

/// Command line options of the part inside the small disk.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SmallDisk {
    pub(crate) scenario: String,
    #[arg(long)]
    pub(crate) folder: PathBuf,
}
