//! Processes over one store are killed again and again, and what they wrote down is judged.

use std::time::{Duration, Instant};

use clap::Args;
use roverline_coordination::store::Range;

use super::clients::{Hands, open, under};
use super::crew::Crew;
use super::dice::Dice;
use super::ground::Where;
use super::history::{self, Left, Verdict};
use super::journal::{Act, Got, Record, now_ns};
use super::report::Report;
use super::worker::{QUEUES, REGISTERS, RESOURCES, TTL};
use crate::etcd::Cluster;
use crate::process::Signal;

/// What taking all messages may take.
const DRAIN: Duration = Duration::from_secs(120);

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
    /// What it stands on
    #[command(flatten)]
    pub over: Where,
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
    /// The node that leads a cluster of our own.
    Leader,
}

const HITS: [&str; 5] = ["kills of one", "kills of a holder", "kills of all", "sleeps", "kills of a leader"];

/// A new leader is there long before; the one that was killed comes back then.
const ELECTION: Duration = Duration::from_millis(900);

/// Kills, and judges.
pub fn run(options: &Options) -> Report {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut report = Report::new("kills");
    let (mut dice, start) = (Dice::new(options.seed), Instant::now());
    let mut ground = match options.over.ground() {
        Ok(ground) => ground,
        Err(why) => return Report::skipped("kills", &why),
    };
    let hands = match runtime.block_on(async { open(&ground.store).map(Hands::on) }) {
        Ok(hands) => hands,
        Err(why) => return report.failed(&why),
    };
    if let Err(why) = runtime.block_on(prepare(&hands)) {
        return report.failed(&why);
    }
    let mut crew = Crew::start(&ground.store, usize::from(options.processes), options.seed);
    let mut hits = [0_u32; HITS.len()];
    for kill in 0..options.kills {
        if start.elapsed() > Duration::from_secs(options.seconds) {
            report.note("kills not done for want of time", f64::from(options.kills - kill));
            break;
        }
        std::thread::sleep(Duration::from_millis(40 + dice.below(260)));
        let hit = choose(kill, ground.cluster.is_some(), &mut dice);
        hits[hit as usize] += 1;
        match &mut ground.cluster {
            Some(cluster) if hit == Hit::Leader => unseat(cluster),
            _ => strike(&mut crew, hit, &mut dice, || runtime.block_on(holder(&hands))),
        }
    }
    std::thread::sleep(Duration::from_millis(300));
    let (records, wrong) = crew.finish();
    report.violations(wrong);
    for (what, count) in HITS.iter().zip(hits) {
        report.note(what, f64::from(count));
    }
    runtime.block_on(judge_all(&hands, records, &mut report));
    report.seconds(start.elapsed());
    report
}

/// Judges what was recorded by what is left.
pub(crate) async fn judge_all(hands: &Hands, mut records: Vec<Record>, report: &mut Report) {
    match afterwards(hands, &mut records).await {
        Ok(left) => {
            let lost = history::lost(&records, &left.keys);
            report.note("acknowledged keys lost", lost.len() as f64);
            report.violations(lost.iter().take(5).map(|key| format!("{key} was acknowledged and is lost")));
            tell(report, history::judge(&records, &left));
        }
        Err(why) => report.violations([format!("the store cannot be read afterwards: {why}")]),
    }
}

/// Each kind comes up early, so that a short run has them all.
fn choose(kill: u32, cluster: bool, dice: &mut Dice) -> Hit {
    match kill {
        0 => Hit::Holder,
        1 => Hit::All,
        2 => Hit::Asleep,
        3 if cluster => Hit::Leader,
        _ => match dice.below(if cluster { 30 } else { 20 }) {
            0..10 => Hit::One,
            10..15 => Hit::Holder,
            15..18 => Hit::All,
            18..20 => Hit::Asleep,
            _ => Hit::Leader,
        },
    }
}

/// Kills the node that leads, and starts it again when another one does.
fn unseat(cluster: &mut Cluster) {
    let leader = cluster.leader();
    cluster.kill(leader);
    std::thread::sleep(ELECTION);
    cluster.run(leader);
}

fn strike(crew: &mut Crew, hit: Hit, dice: &mut Dice, holder: impl FnOnce() -> Option<usize>) {
    let anyone = dice.below(crew.size() as u64) as usize;
    let places: Vec<usize> = match hit {
        Hit::One => vec![anyone],
        Hit::Holder | Hit::Asleep => vec![holder().filter(|place| *place < crew.size()).unwrap_or(anyone)],
        Hit::All => (0..crew.size()).collect(),
        Hit::Leader => return,
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

/// Makes the queues that all share.
pub(crate) async fn prepare(hands: &Hands) -> Result<(), String> {
    for queue in 0..QUEUES {
        hands.configure(&format!("work-{queue}")).await?;
    }
    Ok(())
}

/// Does it on the record.
async fn recorded(hands: &Hands, records: &mut Vec<Record>, act: Act) -> Got {
    let (client, called) = ("afterwards-0".to_owned(), now_ns());
    let got = hands.act(&client, &act, TTL, TTL * 20).await;
    records.push(Record { client, act, called, returned: now_ns(), got: Some(got.clone()) });
    got
}

/// Reads all that is there now, on the record as well, and takes all messages.
async fn afterwards(hands: &Hands, records: &mut Vec<Record>) -> Result<Left, String> {
    for register in 0..REGISTERS {
        recorded(hands, records, Act::Read { key: format!("register/{register}") }).await;
    }
    // A lock can be had again, from whoever died with it.
    for resource in 0..RESOURCES {
        recorded(hands, records, Act::Lock { resource: format!("arm-{resource}") }).await;
    }
    let mut left = Left::default();
    for queue in (0..QUEUES).map(|queue| format!("work-{queue}")) {
        drain(hands, records, &queue).await?;
        left.dead.extend(hands.dead(&queue).await?);
    }
    (left.log, left.findings) = hands.log().await?;
    let mut range = under("kept/");
    loop {
        let page = hands.store.range(range.clone()).await.map_err(|error| error.to_string())?;
        range = Range { after: page.entries.last().map(|entry| entry.key.clone()), ..range };
        left.keys.extend(page.entries.into_iter().map(|entry| entry.key));
        if !page.more {
            return Ok(left);
        }
    }
}

/// Takes messages until there are none, also those that others died with.
async fn drain(hands: &Hands, records: &mut Vec<Record>, queue: &str) -> Result<(), String> {
    let start = Instant::now();
    loop {
        match recorded(hands, records, Act::Dequeue { queue: queue.to_owned() }).await {
            Got::Delivered { id, delivery, .. } => {
                recorded(hands, records, Act::Ack { id, delivery }).await;
            }
            _ if !hands.pending(queue).await? => return Ok(()),
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        if start.elapsed() > DRAIN {
            return Err(format!("{queue} is not empty after {DRAIN:?}"));
        }
    }
}

fn tell(report: &mut Report, verdict: Verdict) {
    // A run in which nothing was done proves nothing.
    let needed =
        ["reads", "writes", "swaps", "locks", "guarded writes", "enqueued", "acknowledged", "events"];
    for kind in needed.into_iter().chain(["shared values", "looks into a cache"]) {
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
