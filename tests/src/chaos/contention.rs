//! Lock contention: many waiters for one lock, and clients that wait for each other in a cycle.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use roverline_coordination::locks::{FencingToken, LockError, LockMode, LockStatus, Locks};
use tokio::task::JoinSet;

use super::report::Report;
use super::store_clients::open;
use crate::temp;
use crate::wait::observe_for_async;

const TTL: Duration = Duration::from_secs(120);

/// Command line options.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Clients that wait
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub waiters: u32,
    /// Gives up after this long
    #[arg(long, value_name = "N", default_value_t = 300)]
    pub seconds: u64,
}

/// Many clients wait for one lock: all of them get it, first come, first served.
pub fn waiters(options: &Options) -> Report {
    let mut report = Report::new("waiters");
    let folder = temp::dir();
    let store = folder.path().join("store").display().to_string();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let patience = Duration::from_secs(options.seconds);
    let drained = runtime.block_on(async {
        // Two instances on one store, as two processes would have.
        let instances = [Locks::new(open(&store)?), Locks::new(open(&store)?)];
        tokio::time::timeout(patience, drain(&instances, options.waiters, patience, &mut report))
            .await
            .unwrap_or_else(|_| Err(format!("not done within {patience:?}")))
    });
    report.violations(drained.err());
    report
}

async fn drain(
    instances: &[Locks],
    size: u32,
    patience: Duration,
    report: &mut Report,
) -> Result<(), String> {
    let words = |error: LockError| error.to_string();
    instances[0].acquire("arm", "first", LockMode::Exclusive, TTL).await.map_err(words)?;
    let start = Instant::now();
    let (served, mut all) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    for n in 0..size {
        let (locks, served) = (instances[n as usize % instances.len()].clone(), served.clone());
        all.spawn(async move {
            let client = format!("client-{n}");
            let status = locks.acquire_within("arm", &client, LockMode::Exclusive, TTL, patience).await;
            let index = served.fetch_add(1, Ordering::SeqCst);
            match status {
                Ok(LockStatus::Held(FencingToken(token))) => {
                    locks.release("arm", &client).await.map(|_| (index, token))
                }
                Ok(LockStatus::Waiting(_)) => {
                    Err(LockError::TooManyWaiters("not within its time".to_owned()))
                }
                Err(error) => Err(error),
            }
        });
    }
    while instances[1]
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
        observe_for_async(Duration::from_millis(20), "the interval of the polls").await;
    }
    let queued = start.elapsed();
    report.number("waiters", f64::from(size));
    report.text("s until all wait", &format!("{:.2}", queued.as_secs_f64()));
    instances[0].release("arm", "first").await.map_err(words)?;
    let mut order = Vec::new();
    while let Some(one) = all.join_next().await {
        order.push(one.map_err(|error| error.to_string())?.map_err(words)?);
    }
    let drained = start.elapsed() - queued;
    report.text("s until all had it", &format!("{:.2}", drained.as_secs_f64()));
    report.number("ms from one to the next", drained.as_secs_f64() * 1e3 / f64::from(size));
    order.sort_unstable();
    report.check(order.len() == size as usize, "everybody had it once");
    report.check(order.windows(2).all(|pair| pair[0].1 < pair[1].1), "they had it in the order of asking");
    Ok(())
}

/// Cycles of 2, 3 and 10 clients are detected when they would close, and the request that closes one is
/// refused.
pub fn deadlock() -> Report {
    let mut report = Report::new("deadlock");
    let folder = temp::dir();
    let store = folder.path().join("store").display().to_string();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let done = runtime.block_on(async {
        let instances = [Locks::new(open(&store)?), Locks::new(open(&store)?)];
        for size in [2, 3, 10] {
            cycle(&instances, size, &mut report).await.map_err(|error| error.to_string())?;
        }
        Ok::<(), String>(())
    });
    report.violations(done.err());
    report
}

async fn cycle(instances: &[Locks], size: usize, report: &mut Report) -> Result<(), LockError> {
    let (instance, client) = (|n: usize| &instances[n % instances.len()], |n: usize| format!("c{size}-{n}"));
    let resource = |n: usize| format!("r{size}-{}", n % size);
    for n in 0..size {
        instance(n).acquire(&resource(n), &client(n), LockMode::Exclusive, TTL).await?;
    }
    for n in 0..size - 1 {
        let waits = instance(n).acquire(&resource(n + 1), &client(n), LockMode::Exclusive, TTL).await?;
        report.check(waits == LockStatus::Waiting(1), "those before the last wait");
    }
    let last = size - 1;
    let start = Instant::now();
    let result = instance(last).acquire(&resource(size), &client(last), LockMode::Exclusive, TTL).await;
    report.number(&format!("ms until a circle of {size} is found"), start.elapsed().as_secs_f64() * 1e3);
    // The error names all clients; the request of the youngest is refused.
    let expected: Vec<String> = std::iter::once(last).chain(0..size).map(client).collect();
    report.check(
        result == Err(LockError::Deadlock(expected)),
        &format!("a circle of {size} is named: {result:?}"),
    );
    // The others proceed: the refused client releases what it holds.
    instance(last).release(&resource(last), &client(last)).await?;
    for n in (0..last).rev() {
        let status = instance(n).status(&resource(n + 1), &client(n)).await?;
        report.check(matches!(status, LockStatus::Held(_)), "the others get what they wait for");
        instance(n).release(&resource(n + 1), &client(n)).await?;
        instance(n).release(&resource(n), &client(n)).await?;
    }
    report.check(instance(0).deadlocks().await? == Vec::<Vec<String>>::new(), "no circle is left");
    Ok(())
}
