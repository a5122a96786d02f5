//! Latency on three nodes, next to the SQLite store in the same run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use roverline_protocol::lifecycle::State;
use roverline_test_support::require;

use crate::Coordination;
use crate::events::{Expected, NewEvent, NodeIdentity};
use crate::kv::{Author, Expect};
use crate::lifecycle::{self, Description, EntityId};
use crate::locks::LockMode;
use crate::queues::{Actor, DequeueOptions, Message};
use crate::store::etcd::tests::rig::{Nodes, print};
use crate::store::{SqliteStore, Store};

/// Limits of each measurement: time and number of runs.
const TIME: Duration = Duration::from_millis(300);
const MOST: usize = 2_000;
const LONG: Duration = Duration::from_secs(60);

/// Sorted durations, and their sum.
struct Times(Vec<Duration>, Duration);

impl Times {
    fn at(&self, share: f64) -> f64 {
        let place = (self.0.len() as f64 * share) as usize;
        self.0[place.min(self.0.len() - 1)].as_secs_f64() * 1e3
    }

    fn print(&self, store: &str, what: &str) {
        let each = self.0.len() as f64 / self.1.as_secs_f64();
        let (p50, p99) = (self.at(0.5), self.at(0.99));
        print(&format!("{store:<8} {what:<44} {each:>9.0} {p50:>9.3} {p99:>9.3} {:>9.3}", self.at(1.0)));
    }
}

/// Runs an action repeatedly; the action measures itself.
async fn measure(mut act: impl AsyncFnMut(u64) -> Duration) -> Times {
    let (mut times, mut busy) = (Vec::new(), Duration::ZERO);
    // The first runs connect and prepare statements.
    for n in 0..3 {
        act(n).await;
    }
    while times.len() < MOST && busy < TIME {
        let took = act(times.len() as u64 + 3).await;
        busy += took;
        times.push(took);
    }
    times.sort_unstable();
    Times(times, busy)
}

/// The duration of an action.
async fn timed<T>(act: impl Future<Output = T>) -> Duration {
    let begun = Instant::now();
    act.await;
    begun.elapsed()
}

async fn figures(name: &str, store: Arc<dyn Store>) {
    let team = Coordination::with_store(store, NodeIdentity::ephemeral(name));
    locks_and_values(name, &team).await;
    queues_and_events(name, &team).await;
    lifecycle_figures(name, &team).await;
}

async fn locks_and_values(name: &str, team: &Coordination) {
    let (locks, author) = (&team.locks, Author { by: "ann".into(), client: None, at_ns: 1 });
    let lock = measure(async |_| {
        let took =
            timed(async { locks.acquire("arm", "ann", LockMode::Exclusive, LONG).await.unwrap() }).await;
        locks.release("arm", "ann").await.unwrap();
        took
    });
    lock.await.print(name, "lock acquired");
    let kv = &team.kv;
    kv.put("n", Bytes::from_static(b"0"), &Expect::Any, None, &author).await.unwrap();
    let swap = measure(async |n| {
        let value = Bytes::from(n.to_string());
        timed(async { kv.put("n", value, &Expect::Version(n + 1), None, &author).await.unwrap() }).await
    });
    swap.await.print(name, "value replaced if of a version");
    let read = measure(async |_| timed(async { kv.get_linearizable("n").await.unwrap() }).await);
    read.await.print(name, "read, linearizable");
    let read = measure(async |_| timed(async { kv.get("n").await.unwrap() }).await);
    read.await.print(name, "read from the cache");
}

async fn queues_and_events(name: &str, team: &Coordination) {
    let (queues, by) = (&team.queues, Actor { client: "ann".into(), now_ns: || 1 });
    let cycle = measure(async |_| {
        timed(async {
            let message = Message { body: Bytes::from_static(b"pick it up"), ..Message::default() };
            queues.enqueue("work", &[message], &by).await.unwrap();
            let taken =
                queues.dequeue("work", DequeueOptions { max: 1, visibility: Some(LONG) }, &by).await.unwrap();
            queues.ack(&taken[0].id, None, &by).await.unwrap();
        })
        .await
    });
    cycle.await.print(name, "message put in, taken and acknowledged");
    let event = |n: u64| NewEvent {
        stream: "s".to_owned(),
        kind: "measured".to_owned(),
        at_ns: 1,
        data: serde_json::json!({"n": n}),
        ..NewEvent::default()
    };
    let append =
        measure(async |n| timed(async { team.events.append(event(n), Expected::Any).await.unwrap() }).await);
    append.await.print(name, "event appended");
    let many = measure(async |n| {
        timed(async {
            let appends = (0..16).map(|k| team.events.append(event(16 * n + k), Expected::Any));
            for done in futures_util::future::join_all(appends).await {
                done.unwrap();
            }
        })
        .await
    });
    many.await.print(name, "16 events appended at once");
}

async fn lifecycle_figures(name: &str, team: &Coordination) {
    let robot = EntityId::robot("rover");
    let described = Description { type_name: "rover".to_owned(), address: None, heartbeat_ms: None };
    let author =
        || lifecycle::Author { by: "ann", client: None, reason: "measured", manual: true, now_ns: 1 };
    team.lifecycle.register(&robot, &described, author()).await.unwrap();
    for to in [State::Provisioning, State::Ready] {
        team.lifecycle.transition(&robot, to, author()).await.unwrap();
    }
    let transition = measure(async |n| {
        let to = if n % 2 == 0 { State::Maintenance } else { State::Ready };
        timed(async { team.lifecycle.transition(&robot, to, author()).await.unwrap() }).await
    });
    transition.await.print(name, "transition of a robot");
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_beside_the_store_of_one_computer() {
    let nodes = require!(Nodes::start_alone().await);
    print(&format!(
        "{:<8} {:<44} {:>9} {:>9} {:>9} {:>9}",
        "store", "what", "n/s", "p50 ms", "p99 ms", "max ms"
    ));
    figures("sqlite", Arc::new(SqliteStore::open(&nodes.folder().join("sqlite")))).await;
    figures("etcd x 3", Arc::new(nodes.client(&[0, 1, 2], "figures"))).await;
}
