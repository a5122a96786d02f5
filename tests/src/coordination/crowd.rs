//! Many who want one lock, and clients that wait for each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use roverline_coordination::locks::{FencingToken, LockError, LockMode, Locks, Standing};
use tokio::task::JoinSet;

use super::clients::open;
use super::report::Report;
use crate::scratch::Scratch;

const TTL: Duration = Duration::from_secs(120);

/// How large the crowd is.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Clients that wait
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub waiters: u32,
    /// Gives up after this long
    #[arg(long, value_name = "N", default_value_t = 300)]
    pub seconds: u64,
}

/// A number of clients wait for one lock: all get it, in the order in which they asked.
pub fn waiters(options: &Options) -> Report {
    let mut report = Report::new("waiters");
    let folder = Scratch::new();
    let store = folder.path().join("store").display().to_string();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let patience = Duration::from_secs(options.seconds);
    let drained = runtime.block_on(async {
        // Two views of one store, as two processes have it.
        let teams = [Locks::new(open(&store)?), Locks::new(open(&store)?)];
        tokio::time::timeout(patience, drain(&teams, options.waiters, patience, &mut report))
            .await
            .unwrap_or_else(|_| Err(format!("not done within {patience:?}")))
    });
    report.violations(drained.err());
    report
}

async fn drain(teams: &[Locks], size: u32, patience: Duration, report: &mut Report) -> Result<(), String> {
    let words = |error: LockError| error.to_string();
    teams[0].acquire("arm", "first", LockMode::Exclusive, TTL).await.map_err(words)?;
    let start = Instant::now();
    let (served, mut all) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    for n in 0..size {
        let (locks, served) = (teams[n as usize % teams.len()].clone(), served.clone());
        all.spawn(async move {
            let client = format!("client-{n}");
            let standing = locks.acquire_within("arm", &client, LockMode::Exclusive, TTL, patience).await;
            let place = served.fetch_add(1, Ordering::SeqCst);
            match standing {
                Ok(Standing::Held(FencingToken(token))) => {
                    locks.release("arm", &client).await.map(|_| (place, token))
                }
                Ok(Standing::Waiting(_)) => Err(LockError::Crowded("not within its time".to_owned())),
                Err(error) => Err(error),
            }
        });
    }
    while teams[1]
        .list()
        .await
        .map_err(words)?
        .0
        .first()
        .is_none_or(|lock| lock.waiting.len() < size as usize)
    {
        if let Some(ended) = all.try_join_next() {
            return Err(format!("one did not wait: {ended:?}"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let queued = start.elapsed();
    report.note("waiters", f64::from(size));
    report.say("s until all wait", &format!("{:.2}", queued.as_secs_f64()));
    teams[0].release("arm", "first").await.map_err(words)?;
    let mut order = Vec::new();
    while let Some(one) = all.join_next().await {
        order.push(one.map_err(|error| error.to_string())?.map_err(words)?);
    }
    let drained = start.elapsed() - queued;
    report.say("s until all had it", &format!("{:.2}", drained.as_secs_f64()));
    report.note("ms from one to the next", drained.as_secs_f64() * 1e3 / f64::from(size));
    order.sort_unstable();
    report.must(order.len() == size as usize, "everybody had it once");
    report.must(order.windows(2).all(|pair| pair[0].1 < pair[1].1), "they had it in the order of asking");
    Ok(())
}

/// Circles of 2, 3 and 10 are found when they would close, and the one who closes them is refused.
pub fn deadlock() -> Report {
    let mut report = Report::new("deadlock");
    let folder = Scratch::new();
    let store = folder.path().join("store").display().to_string();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let done = runtime.block_on(async {
        let teams = [Locks::new(open(&store)?), Locks::new(open(&store)?)];
        for size in [2, 3, 10] {
            circle(&teams, size, &mut report).await.map_err(|error| error.to_string())?;
        }
        Ok::<(), String>(())
    });
    report.violations(done.err());
    report
}

async fn circle(teams: &[Locks], size: usize, report: &mut Report) -> Result<(), LockError> {
    let (team, client) = (|n: usize| &teams[n % teams.len()], |n: usize| format!("c{size}-{n}"));
    let resource = |n: usize| format!("r{size}-{}", n % size);
    for n in 0..size {
        team(n).acquire(&resource(n), &client(n), LockMode::Exclusive, TTL).await?;
    }
    for n in 0..size - 1 {
        let waits = team(n).acquire(&resource(n + 1), &client(n), LockMode::Exclusive, TTL).await?;
        report.must(waits == Standing::Waiting(1), "those before the last wait");
    }
    let last = size - 1;
    let start = Instant::now();
    let answer = team(last).acquire(&resource(size), &client(last), LockMode::Exclusive, TTL).await;
    report.note(&format!("ms until a circle of {size} is found"), start.elapsed().as_secs_f64() * 1e3);
    // It names all, and the youngest is the one that is refused.
    let expected: Vec<String> = std::iter::once(last).chain(0..size).map(client).collect();
    report.must(
        answer == Err(LockError::Deadlock(expected)),
        &format!("a circle of {size} is named: {answer:?}"),
    );
    // The others go on: the refused one gives back what it holds.
    team(last).release(&resource(last), &client(last)).await?;
    for n in (0..last).rev() {
        let standing = team(n).standing(&resource(n + 1), &client(n)).await?;
        report.must(matches!(standing, Standing::Held(_)), "the others get what they wait for");
        team(n).release(&resource(n + 1), &client(n)).await?;
        team(n).release(&resource(n), &client(n)).await?;
    }
    report.must(team(0).deadlocks().await? == Vec::<Vec<String>>::new(), "no circle is left");
    Ok(())
}
