//! Holders that sleep, and wall clocks that are stepped.

use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;

use super::actor::Actor;
use super::journal::{Act, Got};
use super::report::Report;
use crate::process::{Signal, signal};
use crate::scratch::Scratch;

const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
/// How much later than said a lease may end, on a machine that stands still at times; an hour is more.
const LATE: Duration = Duration::from_secs(20);

/// How often it is tried.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Trials
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub trials: u32,
}

fn lock() -> Act {
    Act::Lock { resource: "arm".to_owned() }
}

fn guarded(token: u64) -> Act {
    Act::Guarded { resource: "arm".to_owned(), token }
}

fn held(actor: &mut Actor, client: &str, ttl: Duration) -> Result<u64, String> {
    match actor.act(client, lock(), ttl) {
        Some(reply) => match reply.got {
            Got::Held { token } => Ok(token),
            other => Err(format!("{client} asked for the lock and got {other:?}")),
        },
        None => Err(format!("the process of {client} ended")),
    }
}

/// A holder is stopped for longer than its lock lives: the next one has a higher token, and what the
/// sleeper writes when it wakes is refused.
pub fn sleep(options: &Options) -> Report {
    let mut report = Report::new("sleep");
    let folder = Scratch::new();
    let store = folder.path().join("store").display().to_string();
    let (mut sleeper, mut next) = (Actor::start(&store, &[]), Actor::start(&store, &[]));
    let ttl = Duration::from_millis(700);
    let mut longest = Duration::ZERO;
    for trial in 0..options.trials {
        let tried = doze(&mut report, &mut sleeper, &mut next, trial, ttl);
        match tried {
            Ok(took) => longest = longest.max(took),
            Err(why) => return report.failed(&why),
        }
    }
    report.note("trials", f64::from(options.trials));
    report.note("ms until the next one held it, at most", longest.as_secs_f64() * 1e3);
    report
}

fn doze(
    report: &mut Report,
    sleeper: &mut Actor,
    next: &mut Actor,
    trial: u32,
    ttl: Duration,
) -> Result<Duration, String> {
    let (one, other) = (format!("sleeper-{trial}"), format!("next-{trial}"));
    let old = held(sleeper, &one, ttl)?;
    let wrote = sleeper.act(&one, guarded(old), ttl).map(|reply| reply.got);
    report.must(matches!(wrote, Some(Got::Counted { .. })), "a holder may write");
    signal(sleeper.pid(), Signal::STOP);
    let start = Instant::now();
    // The next one waits no less long than the lock lives, and then has it.
    let new = held(next, &other, Duration::from_secs(60));
    let took = start.elapsed();
    if new.is_err() {
        signal(sleeper.pid(), Signal::CONT);
    }
    let new = new?;
    report.must(new > old, "the next holder has a higher token");
    let wrote = next.act(&other, guarded(new), ttl).map(|reply| reply.got);
    report.must(matches!(wrote, Some(Got::Counted { .. })), "the next holder may write");
    signal(sleeper.pid(), Signal::CONT);
    let late = sleeper.act(&one, guarded(old), ttl).map(|reply| reply.got);
    report.must(late == Some(Got::Stale { seen: new }), &format!("the late write is refused: {late:?}"));
    let back = Act::Unlock { resource: "arm".to_owned(), token: old };
    let gave = sleeper.act(&one, back, ttl).map(|reply| reply.got);
    report.must(matches!(gave, Some(Got::Refused { .. })), "the sleeper learns that it lost the lock");
    let back = Act::Unlock { resource: "arm".to_owned(), token: new };
    let gave = next.act(&other, back, ttl).map(|reply| reply.got);
    report.must(gave == Some(Got::Released), "the next holder gives it back");
    Ok(took)
}

/// The wall clock of a process is stepped by an hour, forward and back, while it holds a lock: the lock
/// ends neither sooner nor later.
pub fn clock() -> Report {
    if !Path::new(FAKETIME).exists() {
        return Report::skipped("clock", "libfaketime is needed: apt-get install faketime");
    }
    let mut report = Report::new("clock");
    let folder = Scratch::new();
    let store = folder.path().join("store").display().to_string();
    folder.write("offset", "+0h\n");
    let file = folder.path().join("offset").display().to_string();
    let environment = [
        ("LD_PRELOAD", FAKETIME),
        ("FAKETIME_TIMESTAMP_FILE", &file),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let environment: Vec<(String, String)> =
        environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    // Both have the stepped clock: nobody else ends a lease for them.
    let (mut one, mut other) = (Actor::start(&store, &environment), Actor::start(&store, &environment));
    for step in ["+1h", "-1h"] {
        folder.write("offset", "+0h\n");
        if let Err(why) = stepped(&mut report, &folder, &mut one, &mut other, step) {
            return report.failed(&why);
        }
    }
    report
}

fn stepped(
    report: &mut Report,
    folder: &Scratch,
    one: &mut Actor,
    other: &mut Actor,
    step: &str,
) -> Result<(), String> {
    let ttl = Duration::from_secs(3);
    let (client, next) = (format!("a{step}"), format!("b{step}"));
    let read = |actor: &mut Actor| {
        let reply = actor.act("r", Act::Read { key: "none".to_owned() }, ttl);
        reply.map(|reply| reply.wall_s).ok_or_else(|| "the process ended".to_owned())
    };
    let before = read(one)?;
    let start = Instant::now();
    let old = held(one, &client, ttl)?;
    folder.write("offset", &format!("{step}\n"));
    let moved = read(one)?.abs_diff(before);
    report.must((3_500..3_700).contains(&moved), &format!("the wall clock is stepped: by {moved} s"));
    // It asks after the step, and waits for the lease's end.
    let new = held(other, &next, Duration::from_secs(60))?;
    let took = start.elapsed();
    report.note(&format!("ms that a lock of 3000 ms lived, step {step}"), took.as_secs_f64() * 1e3);
    report.must(took >= ttl, "a lock does not end before its time");
    report.must(took < ttl + LATE, "a lock does not end late");
    report.must(new > old, "the next holder has a higher token");
    let back = Act::Unlock { resource: "arm".to_owned(), token: new };
    let gave = other.act(&next, back, ttl).map(|reply| reply.got);
    report.must(gave == Some(Got::Released), "the next holder gives it back");
    Ok(())
}
