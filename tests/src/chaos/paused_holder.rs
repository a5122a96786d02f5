//! Lock holders that are paused for longer than their lease, and wall clocks that are stepped.

use std::time::{Duration, Instant};

use clap::Args;

use super::actor::Actor;
use super::journal::{Operation, Outcome};
use super::report::Report;
use crate::process::{Signal, signal};
use crate::stepped_clock::SteppedClock;
use crate::temp;

/// Tolerance for a lease that expires late: the machine stalls at times; a clock step is an hour.
const TOLERANCE: Duration = Duration::from_secs(20);

/// How often a trial is repeated whose holder was stopped in the middle of a write of its own, which blocks the
/// store for all: that is `paused_writer`'s subject.
const REPETITIONS: u32 = 5;
/// The store's answer then.
const BLOCKED: &str = "another process stands still while it writes";

/// Command line options.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Trials
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub trials: u32,
}

fn lock() -> Operation {
    Operation::Lock { resource: "arm".to_owned() }
}

fn guarded(token: u64) -> Operation {
    Operation::Guarded { resource: "arm".to_owned(), token }
}

fn acquire(actor: &mut Actor, client: &str, ttl: Duration) -> Result<u64, String> {
    match actor.execute(client, lock(), ttl) {
        Some(reply) => match reply.outcome {
            Outcome::Held { token } => Ok(token),
            other => Err(format!("{client} requested the lock and got {other:?}")),
        },
        None => Err(format!("the process of {client} ended")),
    }
}

/// A holder is stopped for longer than its lease: the next holder gets a higher token, and the write of the
/// paused one is rejected when it resumes.
pub fn pause(options: &Options) -> Report {
    let mut report = Report::new("sleep");
    let folder = temp::dir();
    let store = folder.path().join("store").display().to_string();
    let (mut paused, mut next) = (Actor::start(&store, &[]), Actor::start(&store, &[]));
    let ttl = Duration::from_millis(700);
    let mut longest = Duration::ZERO;
    for trial in 0..options.trials {
        let mut run = |repetition| {
            run_trial(&mut report, &mut paused, &mut next, &format!("{trial}.{repetition}"), ttl)
        };
        let took = (1..REPETITIONS).fold(run(0), |took, repetition| match took {
            Err(why) if why.contains(BLOCKED) => run(repetition),
            took => took,
        });
        match took {
            Ok(took) => longest = longest.max(took),
            Err(why) => return report.failed(&why),
        }
    }
    report.number("trials", f64::from(options.trials));
    report.number("ms until the next one held it, at most", longest.as_secs_f64() * 1e3);
    report
}

fn run_trial(
    report: &mut Report,
    paused: &mut Actor,
    next: &mut Actor,
    trial: &str,
    ttl: Duration,
) -> Result<Duration, String> {
    let (one, other) = (format!("paused-{trial}"), format!("next-{trial}"));
    let old = acquire(paused, &one, ttl)?;
    let write = paused.execute(&one, guarded(old), ttl).map(|reply| reply.outcome);
    report.check(matches!(write, Some(Outcome::Counted { .. })), "a holder may write");
    signal(paused.pid(), Signal::STOP);
    let start = Instant::now();
    // The next client waits until the lease expires, and then holds the lock.
    let new = acquire(next, &other, Duration::from_secs(60));
    let took = start.elapsed();
    if new.is_err() {
        signal(paused.pid(), Signal::CONT);
    }
    let new = new?;
    report.check(new > old, "the next holder has a higher token");
    let write = next.execute(&other, guarded(new), ttl).map(|reply| reply.outcome);
    report.check(matches!(write, Some(Outcome::Counted { .. })), "the next holder may write");
    signal(paused.pid(), Signal::CONT);
    let late = paused.execute(&one, guarded(old), ttl).map(|reply| reply.outcome);
    report.check(late == Some(Outcome::Stale { seen: new }), &format!("the late write is refused: {late:?}"));
    let unlock = Operation::Unlock { resource: "arm".to_owned(), token: old };
    let release = paused.execute(&one, unlock, ttl).map(|reply| reply.outcome);
    report.check(
        matches!(release, Some(Outcome::Refused { .. })),
        "the paused client learns that it lost the lock",
    );
    let unlock = Operation::Unlock { resource: "arm".to_owned(), token: new };
    let release = next.execute(&other, unlock, ttl).map(|reply| reply.outcome);
    report.check(release == Some(Outcome::Released), "the next holder gives it back");
    Ok(took)
}

/// The wall clock of a process is stepped by an hour, forward and back, while it holds a lock: the lease
/// expires neither earlier nor later.
pub fn clock() -> Report {
    let clock = match SteppedClock::new() {
        Ok(clock) => clock,
        Err(why) => return Report::skipped("clock", &why),
    };
    let mut report = Report::new("clock");
    let folder = temp::dir();
    let store = folder.path().join("store").display().to_string();
    let environment = clock.environment();
    // Both processes have the stepped clock, so no third one expires the lease.
    let (mut one, mut other) = (Actor::start(&store, &environment), Actor::start(&store, &environment));
    for hours in [1, -1] {
        clock.step_to(0);
        if let Err(why) = step_clock(&mut report, &clock, &mut one, &mut other, hours) {
            return report.failed(&why);
        }
    }
    report
}

fn step_clock(
    report: &mut Report,
    clock: &SteppedClock,
    one: &mut Actor,
    other: &mut Actor,
    hours: i64,
) -> Result<(), String> {
    let ttl = Duration::from_secs(3);
    let (client, next) = (format!("a{hours:+}h"), format!("b{hours:+}h"));
    let read = |actor: &mut Actor| {
        let reply = actor.execute("r", Operation::Read { key: "none".to_owned() }, ttl);
        reply.map(|reply| reply.wall_s).ok_or_else(|| "the process ended".to_owned())
    };
    let before = read(one)?;
    let start = Instant::now();
    let old = acquire(one, &client, ttl)?;
    clock.step_to(hours);
    let moved = read(one)?.abs_diff(before);
    report.check((3_500..3_700).contains(&moved), &format!("the wall clock is stepped: by {moved} s"));
    // It requests the lock after the step, and waits until the lease expires.
    let new = acquire(other, &next, Duration::from_secs(60))?;
    let took = start.elapsed();
    report.number(&format!("ms that a lock of 3000 ms lived, step {hours:+}h"), took.as_secs_f64() * 1e3);
    report.check(took >= ttl, "a lock does not end before its time");
    report.check(took < ttl + TOLERANCE, "a lock does not end late");
    report.check(new > old, "the next holder has a higher token");
    let unlock = Operation::Unlock { resource: "arm".to_owned(), token: new };
    let release = other.execute(&next, unlock, ttl).map(|reply| reply.outcome);
    report.check(release == Some(Outcome::Released), "the next holder gives it back");
    Ok(())
}
