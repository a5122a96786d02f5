//! Disks that are full, cannot be written, or hold something else than was written.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use roverline_coordination::store::{Store, StoreError};

use super::actor::Actor;
use super::clients::{open, put, under};
use super::journal::{Act, Got};
use super::report::Report;
use crate::binary;
use crate::scratch::Scratch;

/// Until the store is found to be usable again.
const PATIENCE: Duration = Duration::from_secs(30);
const TTL: Duration = Duration::from_secs(10);
/// Keys that are written before the file is broken.
const KEYS: usize = 50;

/// Plays a scenario on a small disk of its own, in namespaces that end with it.
pub fn on_small_disk(scenario: &str) -> Report {
    let folder = Scratch::new();
    let this = binary::bin("coordination");
    // Whoever mounts in a namespace of its own needs no rights outside of it.
    let script = "mount -t tmpfs -o size=4m none \"$1\" && exec \"$2\" inside \"$3\" --folder \"$1\"";
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", script, "sh"]).arg(folder.path()).arg(this).arg(scenario);
    match command.output() {
        Err(error) => Report::skipped(scenario, &format!("unshare: {error}")),
        Ok(output) => match serde_json::from_slice::<Report>(&output.stdout) {
            Ok(report) => report,
            Err(_) => {
                let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                // Without its rights nothing was begun; else it was, and failed.
                let unable = said.contains("unshare") || said.contains("mount:");
                if unable { Report::skipped(scenario, &said) } else { Report::new(scenario).failed(&said) }
            }
        },
    }
}

/// What runs on the small disk.
pub(crate) fn inside(scenario: &str, folder: &Path) -> Report {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut report = Report::new(scenario);
    let done = runtime.block_on(async {
        match scenario {
            "disk-full" => full(folder, &mut report).await,
            "read-only" => read_only(folder, &mut report).await,
            other => Err(format!("there is no {other}")),
        }
    });
    report.violations(done.err());
    report
}

async fn write(store: &dyn Store, n: u32, size: usize) -> Result<(), StoreError> {
    store.txn(put(&format!("k/{n:06}"), &"x".repeat(size))).await.map(drop)
}

async fn count(store: &dyn Store) -> Result<usize, String> {
    store.range(under("k/")).await.map(|page| page.entries.len()).map_err(|error| error.to_string())
}

/// The disk fills up, and is given space again.
async fn full(folder: &Path, report: &mut Report) -> Result<(), String> {
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
    report.note("writes before it was full", f64::from(written));
    report.say("refused with", &why.to_string());
    report.must(
        why.to_string().contains("full") || matches!(why, StoreError::Unavailable(_)),
        "the reason is named",
    );
    for (whose, store) in [("of the one who wrote", &store), ("of another process", &other)] {
        let seen = count(&**store).await;
        report.must(seen == Ok(written as usize), &format!("reads {whose} go on: {seen:?} of {written}"));
    }
    // A process that starts now as well.
    let late = open(&name)?;
    let seen = count(&*late).await;
    report.must(seen == Ok(written as usize), &format!("a new process reads: {seen:?} of {written}"));
    let again = write(&*other, 999_999, 1_000).await;
    report.must(again.is_err(), "another process is refused as well");
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

/// By itself, once the cause is gone; and all that was acknowledged is there.
async fn recovers(store: &dyn Store, written: usize, report: &mut Report) -> Result<(), String> {
    let start = Instant::now();
    while let Err(error) = write(store, 900_000, 10).await {
        if start.elapsed() > PATIENCE {
            return Err(format!("it does not recover: {error}"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    report.note("ms until it can be written again", start.elapsed().as_secs_f64() * 1e3);
    let seen = count(store).await?;
    report.must(seen == written + 1, &format!("what was acknowledged is there: {seen} of {}", written + 1));
    Ok(())
}

/// The disk cannot be written when a process starts, and then it can be.
async fn read_only(folder: &Path, report: &mut Report) -> Result<(), String> {
    let place = folder.join("store");
    let name = place.display().to_string();
    let before = open(&name)?;
    for n in 0..20 {
        write(&*before, n, 100).await.map_err(|error| error.to_string())?;
    }
    let mount = |arguments: &[&str]| {
        let done =
            Command::new("mount").args(arguments).arg(&name).output().map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        if done.status.success() { Ok(()) } else { Err(format!("mount: {said}")) }
    };
    mount(&["--bind", &name])?;
    mount(&["-o", "remount,bind,ro"])?;
    let store = open(&name)?;
    let refused = write(&*store, 20, 100).await;
    report.say("refused with", &format!("{refused:?}"));
    report.must(matches!(refused, Err(StoreError::Unavailable(_))), "a write is refused");
    let seen = count(&*store).await;
    report.must(seen == Ok(20), &format!("it is read, while others have it open: {seen:?}"));
    // All close it, which folds the log into the file; then one opens it alone.
    drop((before, store));
    let (log, start) = (place.join("roverline.db-wal"), Instant::now());
    mount(&["-o", "remount,bind,rw"])?;
    while log.exists() && start.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    mount(&["-o", "remount,bind,ro"])?;
    let store = open(&name)?;
    let seen = count(&*store).await;
    report.must(seen == Ok(20), &format!("it is read alone: {seen:?}"));
    report.must(write(&*store, 20, 100).await.is_err(), "a write is still refused");
    mount(&["-o", "remount,bind,rw"])?;
    recovers(&*store, 20, report).await
}

/// The file is overwritten, or its log is cut within a frame.
pub fn corrupt() -> Report {
    let mut report = Report::new("corrupt");
    let folder = Scratch::new();
    let store = folder.path().join("store");
    let name = store.display().to_string();
    let (file, log) = (store.join("roverline.db"), store.join("roverline.db-wal"));
    let mut writer = Actor::start(&name, &[]);
    for n in 0..KEYS {
        let made = writer.act("c", create(n), TTL).map(|reply| reply.got);
        report.must(matches!(made, Some(Got::Done { .. })), "a write is taken");
    }
    // Killed, so that the log is left as it is.
    drop(writer);
    let whole = [std::fs::read(&file).unwrap(), std::fs::read(&log).unwrap_or_default()];
    report.note("bytes of the log", whole[1].len() as f64);
    let kept = |report: &mut Report, what: &str, least: usize| {
        let there = there(&name);
        report.say(what, &format!("{there:?}"));
        report.must(there.as_ref().is_ok_and(|there| *there >= least), &format!("{what}: {there:?}"));
    };
    let lay = |file_bytes: &[u8], log_bytes: &[u8]| {
        for path in [&file, &log, &store.join("roverline.db-shm")] {
            let _ = std::fs::remove_file(path);
        }
        std::fs::write(&file, file_bytes).unwrap();
        std::fs::write(&log, log_bytes).unwrap();
    };
    lay(&whole[0], &[whole[1].as_slice(), &[0x55; 1_000]].concat());
    kept(&mut report, "keys, half a frame behind the log", KEYS);
    lay(&whole[0], &whole[1][..whole[1].len() - 100]);
    kept(&mut report, "keys, the last frame cut", KEYS - 1);
    let junk: Vec<u8> =
        b"this is something else. ".iter().copied().cycle().take(whole[0].len().max(8_192)).collect();
    lay(&junk, &[]);
    refuses(&name, &mut report);
    lay(&whole[0], &whole[1]);
    kept(&mut report, "keys, as it was again", KEYS);
    report
}

/// How many of the keys a process that starts now finds, if it can write as well. This process opens
/// nothing: closing it would take place while the files are exchanged.
fn there(name: &str) -> Result<usize, String> {
    let mut actor = Actor::start(name, &[]);
    let mut there = 0;
    for n in 0..KEYS {
        match actor.act("c", create(n), TTL).map(|reply| reply.got) {
            Some(Got::Refused { why }) if why.contains("as compared") => there += 1,
            Some(Got::Done { .. }) => {}
            other => return Err(format!("a write got {other:?}")),
        }
    }
    Ok(there)
}

fn create(n: usize) -> Act {
    Act::Create { key: format!("kept/{n:03}") }
}

fn refuses(name: &str, report: &mut Report) {
    let mut actor = Actor::start(name, &[]);
    for act in [Act::Write { key: "after".to_owned(), value: 1 }, Act::Read { key: "kept/001".to_owned() }] {
        let got = actor.act("c", act, TTL).map(|reply| reply.got);
        report.say("an overwritten file", &format!("{got:?}"));
        report.must(matches!(got, Some(Got::Refused { .. })), "an overwritten file is refused with a reason");
    }
}

/// Where the disk of a scenario is.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Inside {
    pub(crate) scenario: String,
    #[arg(long)]
    pub(crate) folder: PathBuf,
}
