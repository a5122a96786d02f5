//! Crash test: processes that share a store are killed again and again, and their histories are checked.

use std::time::{Duration, Instant};

use clap::Args;
use roverline_coordination::store::Range;

use super::environment::StoreArgs;
use super::history::{self, CheckResult, FinalState};
use super::journal::{Operation, Outcome, Record, now_ns};
use super::report::Report;
use super::store_clients::{StoreClients, open, prefix_range};
use super::worker::{QUEUES, REGISTERS, RESOURCES, TTL};
use super::workers::Workers;
use crate::etcd::Cluster;
use crate::process::Signal;
use crate::wait::{observe_for, observe_for_async};

/// Deadline for draining all queues.
const DRAIN: Duration = Duration::from_secs(120);

/// Command line options.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// How often something is killed
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub kills: u32,
    /// Worker processes
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub processes: u8,
    /// Kills no more after this long
    #[arg(long, value_name = "N", default_value_t = 600)]
    pub seconds: u64,
    /// Repeats the choices
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// The store
    #[command(flatten)]
    pub store: StoreArgs,
}

/// The victim of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    /// Any worker.
    Any,
    /// A worker that holds a lock.
    Holder,
    /// All workers at the same moment.
    All,
    /// One worker is paused for longer than its lease, and resumes.
    Paused,
    /// The leader of our own etcd cluster.
    Leader,
}

const VICTIMS: [&str; 5] =
    ["kills of one", "kills of a holder", "kills of all", "sleeps", "kills of a leader"];

/// Runs the faults, and checks the history.
pub fn run(options: &Options) -> Report {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut report = Report::new("kills");
    let (mut rng, start) = (fastrand::Rng::with_seed(options.seed), Instant::now());
    let mut environment = match options.store.prepare() {
        Ok(environment) => environment,
        Err(why) => return Report::skipped("kills", &why),
    };
    let clients = match runtime.block_on(async { open(&environment.store).map(StoreClients::on) }) {
        Ok(clients) => clients,
        Err(why) => return report.failed(&why),
    };
    if let Err(why) = runtime.block_on(prepare(&clients)) {
        return report.failed(&why);
    }
    let mut workers = Workers::start(&environment.store, usize::from(options.processes), options.seed);
    let mut counts = [0_u32; VICTIMS.len()];
    for kill in 0..options.kills {
        if start.elapsed() > Duration::from_secs(options.seconds) {
            report.number("kills not done for want of time", f64::from(options.kills - kill));
            break;
        }
        observe_for(Duration::from_millis(40 + rng.u64(..260)), "the rhythm of the faults");
        let victim = choose(kill, environment.cluster.is_some(), &mut rng);
        counts[victim as usize] += 1;
        match &mut environment.cluster {
            Some(cluster) if victim == Victim::Leader => kill_leader(cluster),
            _ => apply(&mut workers, victim, &mut rng, || runtime.block_on(holder_index(&clients))),
        }
    }
    observe_for(Duration::from_millis(300), "operations after the last fault");
    let (records, problems) = workers.finish();
    report.violations(problems);
    for (what, count) in VICTIMS.iter().zip(counts) {
        report.number(what, f64::from(count));
    }
    runtime.block_on(check_history(&clients, records, &mut report));
    report.seconds(start.elapsed());
    report
}

/// Checks the records against the final contents of the store.
pub(crate) async fn check_history(clients: &StoreClients, mut records: Vec<Record>, report: &mut Report) {
    match read_final_state(clients, &mut records).await {
        Ok(state) => {
            let lost = history::lost(&records, &state.keys);
            report.number("acknowledged keys lost", lost.len() as f64);
            report.violations(lost.iter().take(5).map(|key| format!("{key} was acknowledged and is lost")));
            report_result(report, history::check(&records, &state));
        }
        Err(why) => report.violations([format!("the store cannot be read afterwards: {why}")]),
    }
}

/// Each kind of fault comes up early, so that a short run includes all of them.
fn choose(kill: u32, cluster: bool, rng: &mut fastrand::Rng) -> Victim {
    match kill {
        0 => Victim::Holder,
        1 => Victim::All,
        2 => Victim::Paused,
        3 if cluster => Victim::Leader,
        _ => match rng.u64(..if cluster { 30 } else { 20 }) {
            0..10 => Victim::Any,
            10..15 => Victim::Holder,
            15..18 => Victim::All,
            18..20 => Victim::Paused,
            _ => Victim::Leader,
        },
    }
}

/// Kills the leading node, and restarts it after another one has been elected.
fn kill_leader(cluster: &mut Cluster) {
    let leader = cluster.leader();
    cluster.kill(leader);
    cluster.leader();
    cluster.run(leader);
}

fn apply(
    workers: &mut Workers,
    victim: Victim,
    rng: &mut fastrand::Rng,
    holder: impl FnOnce() -> Option<usize>,
) {
    let any = rng.usize(..workers.size());
    let indices: Vec<usize> = match victim {
        Victim::Any => vec![any],
        Victim::Holder | Victim::Paused => {
            vec![holder().filter(|index| *index < workers.size()).unwrap_or(any)]
        }
        Victim::All => (0..workers.size()).collect(),
        Victim::Leader => return,
    };
    if victim == Victim::Paused {
        workers.signal(indices[0], Signal::STOP);
        observe_for(TTL + TTL / 3, "the worker is paused for longer than its lease");
        workers.signal(indices[0], Signal::CONT);
        return;
    }
    workers.kill(&indices);
    for index in indices {
        workers.spawn(index);
    }
}

/// The index of a worker that holds a lock now.
async fn holder_index(clients: &StoreClients) -> Option<usize> {
    let locks = clients.locks.list().await.ok()?;
    let holder = locks.0.first()?.holders.first()?;
    holder.client.strip_prefix('w')?.split('-').next()?.parse().ok()
}

/// Creates the shared queues.
pub(crate) async fn prepare(clients: &StoreClients) -> Result<(), String> {
    for queue in 0..QUEUES {
        clients.configure(&format!("work-{queue}")).await?;
    }
    Ok(())
}

/// Performs an operation and records it.
async fn record(clients: &StoreClients, records: &mut Vec<Record>, operation: Operation) -> Outcome {
    let (client, called) = ("afterwards-0".to_owned(), now_ns());
    let outcome = clients.execute(&client, &operation, TTL, TTL * 20).await;
    records.push(Record { client, operation, called, returned: now_ns(), outcome: Some(outcome.clone()) });
    outcome
}

/// Reads the final contents of the store, on the record as well, and drains all queues.
async fn read_final_state(clients: &StoreClients, records: &mut Vec<Record>) -> Result<FinalState, String> {
    for register in 0..REGISTERS {
        record(clients, records, Operation::Read { key: format!("register/{register}") }).await;
    }
    // Every lock can be acquired again, even if its holder died.
    for resource in 0..RESOURCES {
        record(clients, records, Operation::Lock { resource: format!("arm-{resource}") }).await;
    }
    let mut state = FinalState::default();
    for queue in (0..QUEUES).map(|queue| format!("work-{queue}")) {
        drain(clients, records, &queue).await?;
        state.dead_letters.extend(clients.dead_letters(&queue).await?);
    }
    (state.log, state.findings) = clients.log().await?;
    let mut range = prefix_range("kept/");
    loop {
        let page = clients.store.range(range.clone()).await.map_err(|error| error.to_string())?;
        range = Range { after: page.entries.last().map(|entry| entry.key.clone()), ..range };
        state.keys.extend(page.entries.into_iter().map(|entry| entry.key));
        if !page.more {
            return Ok(state);
        }
    }
}

/// Dequeues until a queue is empty, including messages whose consumers died.
async fn drain(clients: &StoreClients, records: &mut Vec<Record>, queue: &str) -> Result<(), String> {
    let start = Instant::now();
    loop {
        match record(clients, records, Operation::Dequeue { queue: queue.to_owned() }).await {
            Outcome::Delivered { id, delivery, .. } => {
                record(clients, records, Operation::Ack { id, delivery }).await;
            }
            _ if !clients.has_messages(queue).await? => return Ok(()),
            _ => observe_for_async(Duration::from_millis(50), "the interval of the polls").await,
        }
        if start.elapsed() > DRAIN {
            return Err(format!("{queue} is not empty after {DRAIN:?}"));
        }
    }
}

fn report_result(report: &mut Report, result: CheckResult) {
    // A run without operations proves nothing.
    let needed = [
        "reads",
        "writes",
        "swaps",
        "locks",
        "guarded writes",
        "enqueued",
        "acknowledged",
        "events",
        "commands begun",
    ];
    for kind in needed.into_iter().chain(["shared values", "cached reads"]) {
        if result.counts.get(kind).copied().unwrap_or(0) == 0 {
            report.violations([format!("there were no {kind}: nothing is shown")]);
        }
    }
    for (kind, count) in result.counts {
        report.number(kind, count as f64);
    }
    for (why, count) in result.refusals {
        report.number(&format!("refused: {why}"), count as f64);
    }
    report.number("violations", result.violations.len() as f64);
    report.violations(result.violations.into_iter().take(10));
}
