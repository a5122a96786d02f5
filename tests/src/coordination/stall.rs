//! A process is stopped within a write: it has the store's turn, and does not give it back. The others
//! are refused in time, read as before, and go on once it goes on or is gone.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use roverline_protocol::limits;

use super::clients::{Hands, open};
use super::crew::Crew;
use super::dice::Dice;
use super::journal::{Act, Got};
use super::kills;
use super::report::Report;
use super::worker::TTL;
use crate::process::Signal;
use crate::scratch::Scratch;

const TURN: Duration = Duration::from_millis(limits::STORE_TURN_MS);
/// What a machine that stands still at times adds.
const SLACK: Duration = Duration::from_secs(5);
/// For how often a process is not stopped where it should be.
const ATTEMPTS: u32 = 20_000;

/// How often it is tried.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Trials
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub trials: u32,
    /// Repeats the choices
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}

/// Stops, looks, lets go on; every other time it kills.
pub fn run(options: &Options) -> Report {
    let mut report = Report::new("stall");
    let folder = Scratch::new();
    let store = folder.path().join("store");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let name = store.display().to_string();
    let hands = match runtime.block_on(async {
        let hands = Hands::on(open(&name)?);
        kills::prepare(&hands).await?;
        Ok::<Hands, String>(hands)
    }) {
        Ok(hands) => hands,
        Err(why) => return report.failed(&why),
    };
    let mut crew = Crew::start(&name, 3, options.seed);
    let mut dice = Dice::new(options.seed);
    let mut longest = Duration::ZERO;
    for trial in 0..options.trials {
        let place = dice.below(crew.size() as u64) as usize;
        if let Err(why) = stop_within(&crew, place, &store.join("roverline.turn"), &mut dice) {
            return report.failed(&why);
        }
        longest = longest.max(runtime.block_on(others(&hands, &mut report)));
        match trial % 2 {
            0 => crew.signal(place, Signal::CONT),
            _ => {
                crew.kill(&[place]);
                crew.begin(place);
            }
        }
        let start = Instant::now();
        let wrote = runtime.block_on(hands.act("judge-1", &probe(2), TTL, TTL));
        report.must(matches!(wrote, Got::Done { .. }), &format!("writes go on afterwards: {wrote:?}"));
        report.must(start.elapsed() < SLACK, "writes go on at once");
        std::thread::sleep(Duration::from_millis(200));
    }
    report.note("trials", f64::from(options.trials));
    report.say("s until a write was refused, at most", &format!("{:.2}", longest.as_secs_f64()));
    let (records, wrong) = crew.finish();
    report.violations(wrong);
    // What was refused did not happen, and nothing else is amiss.
    runtime.block_on(kills::judge_all(&hands, records, &mut report));
    report
}

fn probe(value: u64) -> Act {
    Act::Write { key: "probe".to_owned(), value }
}

/// What the others see; how long a write took to be refused.
async fn others(hands: &Hands, report: &mut Report) -> Duration {
    let start = Instant::now();
    let wrote = hands.act("judge-1", &probe(1), TTL, TTL).await;
    let took = start.elapsed();
    let why = match &wrote {
        Got::Refused { why } => why.as_str(),
        _ => "",
    };
    report.must(why.contains("stands still"), &format!("a write is refused, and why is said: {wrote:?}"));
    report.must(took < TURN + SLACK, &format!("a write is refused in time: {took:?}"));
    let start = Instant::now();
    let read = hands.act("judge-1", &Act::Read { key: "register/0".to_owned() }, TTL, TTL).await;
    report.must(matches!(read, Got::Value { .. }), &format!("reads go on: {read:?}"));
    report.must(start.elapsed() < TURN, "reads go on at once");
    took
}

/// Stops the process at this place while it has the turn.
fn stop_within(crew: &Crew, place: usize, turn: &Path, dice: &mut Dice) -> Result<(), String> {
    let Some(pid) = crew.pid(place) else { return Err("the process is gone".to_owned()) };
    for _ in 0..ATTEMPTS {
        crew.signal(place, Signal::STOP);
        let start = Instant::now();
        while crate::process::state(pid) != Some('T') {
            if start.elapsed() > SLACK {
                return Err("the process does not stop".to_owned());
            }
            std::thread::yield_now();
        }
        if has(pid, turn)? {
            return Ok(());
        }
        crew.signal(place, Signal::CONT);
        std::thread::sleep(Duration::from_micros(200 + dice.below(5_000)));
    }
    Err("the process never had the turn".to_owned())
}

/// Whether a process has locked this file: <https://man7.org/linux/man-pages/man5/proc_locks.5.html>.
fn has(pid: u32, file: &Path) -> Result<bool, String> {
    let inode = file.metadata().map_err(|error| error.to_string())?.ino();
    let locks = std::fs::read_to_string("/proc/locks").map_err(|error| error.to_string())?;
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        // Who waits has an arrow in place of the kind.
        words.get(1) == Some(&"FLOCK")
            && words.get(4) == Some(&pid.to_string().as_str())
            && words.get(5).is_some_and(|place| place.ends_with(&format!(":{inode}")))
    };
    Ok(locks.lines().any(line))
}
