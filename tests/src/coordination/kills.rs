//! Processes over one store are killed again and again, and what they wrote down is judged.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use clap::Args;
use roverline_coordination::store::Range;

use super::clients::{Hands, open, under};
use super::crew::Crew;
use super::dice::Dice;
use super::history::{self, Verdict};
use super::journal::{Act, Record, now_ns};
use super::report::Report;
use super::worker::{REGISTERS, RESOURCES, TTL};
use crate::process::Signal;
use crate::scratch::Scratch;

/// How the killing is done.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// How often something is killed
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub kills: u32,
    /// Processes over the store
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub processes: u8,
    /// Kills no more after this long
    #[arg(long, value_name = "N", default_value_t = 600)]
    pub seconds: u64,
    /// Repeats the choices
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// The store; a fresh directory when none is given
    #[arg(long, value_name = "STORE")]
    pub store: Option<String>,
}

/// Whom it hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hit {
    /// Anyone.
    One,
    /// One that holds a lock.
    Holder,
    /// All at one moment.
    All,
    /// One is stopped for longer than its lock lives, and goes on.
    Asleep,
}

/// Kills, and judges.
pub fn run(options: &Options) -> Report {
    let folder = Scratch::new();
    let store = options.store.clone().unwrap_or_else(|| folder.path().join("store").display().to_string());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut report = Report::new("kills");
    let (mut dice, start) = (Dice::new(options.seed), Instant::now());
    let hands = match runtime.block_on(async { open(&store).map(Hands::on) }) {
        Ok(hands) => hands,
        Err(why) => return report.failed(&why),
    };
    let mut crew = Crew::start(&store, usize::from(options.processes), options.seed);
    let mut hits = [0_u32; 4];
    for kill in 0..options.kills {
        if start.elapsed() > Duration::from_secs(options.seconds) {
            report.note("kills not done for want of time", f64::from(options.kills - kill));
            break;
        }
        std::thread::sleep(Duration::from_millis(40 + dice.below(260)));
        // Each kind comes up early, so that a short run has them all.
        let hit = match kill {
            0 => Hit::Holder,
            1 => Hit::All,
            2 => Hit::Asleep,
            _ => match dice.below(20) {
                0..10 => Hit::One,
                10..15 => Hit::Holder,
                15..18 => Hit::All,
                _ => Hit::Asleep,
            },
        };
        hits[hit as usize] += 1;
        strike(&mut crew, hit, &mut dice, || runtime.block_on(holder(&hands)));
    }
    std::thread::sleep(Duration::from_millis(300));
    let (mut records, wrong) = crew.finish();
    report.violations(wrong);
    for (what, count) in ["kills of one", "kills of a holder", "kills of all", "sleeps"].iter().zip(hits) {
        report.note(what, f64::from(count));
    }
    let present = runtime.block_on(afterwards(&hands, &mut records));
    match present {
        Ok(present) => {
            let lost = history::lost(&records, &present);
            report.note("acknowledged keys lost", lost.len() as f64);
            report.violations(lost.iter().take(5).map(|key| format!("{key} was acknowledged and is lost")));
        }
        Err(why) => report.violations([format!("the store cannot be read afterwards: {why}")]),
    }
    tell(&mut report, history::judge(&records));
    report.seconds(start.elapsed());
    report
}

fn strike(crew: &mut Crew, hit: Hit, dice: &mut Dice, holder: impl FnOnce() -> Option<usize>) {
    let anyone = dice.below(crew.size() as u64) as usize;
    let places: Vec<usize> = match hit {
        Hit::One => vec![anyone],
        Hit::Holder | Hit::Asleep => vec![holder().filter(|place| *place < crew.size()).unwrap_or(anyone)],
        Hit::All => (0..crew.size()).collect(),
    };
    if hit == Hit::Asleep {
        crew.signal(places[0], Signal::STOP);
        std::thread::sleep(TTL + TTL / 3);
        crew.signal(places[0], Signal::CONT);
        return;
    }
    crew.kill(&places);
    for place in places {
        crew.begin(place);
    }
}

/// The place of a process that holds a lock now.
async fn holder(hands: &Hands) -> Option<usize> {
    let locks = hands.locks.list().await.ok()?;
    let (client, _) = locks.0.first()?.holders.first()?;
    client.strip_prefix('w')?.split('-').next()?.parse().ok()
}

/// Reads all that is there now, on the record as well. The keys that were made to stay.
async fn afterwards(hands: &Hands, records: &mut Vec<Record>) -> Result<BTreeSet<String>, String> {
    for register in 0..REGISTERS {
        let act = Act::Read { key: format!("register/{register}") };
        let called = now_ns();
        let got = hands.act("afterwards", &act, TTL, TTL).await;
        records.push(Record {
            client: "afterwards".to_owned(),
            act,
            called,
            returned: now_ns(),
            got: Some(got),
        });
    }
    // A lock can be had again, from whoever died with it.
    for resource in 0..RESOURCES {
        let act = Act::Lock { resource: format!("arm-{resource}") };
        let called = now_ns();
        let got = hands.act("afterwards", &act, TTL, TTL * 20).await;
        records.push(Record {
            client: "afterwards".to_owned(),
            act,
            called,
            returned: now_ns(),
            got: Some(got),
        });
    }
    let (mut present, mut range) = (BTreeSet::new(), under("kept/"));
    loop {
        let page = hands.store.range(range.clone()).await.map_err(|error| error.to_string())?;
        range = Range { after: page.entries.last().map(|entry| entry.key.clone()), ..range };
        present.extend(page.entries.into_iter().map(|entry| entry.key));
        if !page.more {
            return Ok(present);
        }
    }
}

fn tell(report: &mut Report, verdict: Verdict) {
    // A run in which nothing was done proves nothing.
    for kind in ["reads", "writes", "swaps", "locks", "guarded writes"] {
        if verdict.counts.get(kind).copied().unwrap_or(0) == 0 {
            report.violations([format!("there were no {kind}: nothing is shown")]);
        }
    }
    for (kind, count) in verdict.counts {
        report.note(kind, count as f64);
    }
    for (why, count) in verdict.refusals {
        report.note(&format!("refused: {why}"), count as f64);
    }
    report.note("violations", verdict.violations.len() as f64);
    report.violations(verdict.violations.into_iter().take(10));
}
