//! The benchmarks within a process.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use roverline_coordination::lifecycle::{Author, Description, EntityId, Lifecycle};
use roverline_coordination::store::{Range, Store};
use roverline_protocol::lifecycle::State;

use crate::chaos::journal::{Operation, Outcome};
use crate::chaos::store_clients::{StoreClients, put};

const TTL: Duration = Duration::from_secs(60);

/// A benchmark. To add one, add a variant here and its operation in [`Bench::run`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Acquires a lock; the release is not counted
    LockAcquire,
    /// Replaces a value if it is as expected
    Swap,
    /// Writes a value
    Write,
    /// Enqueues a message, dequeues and acknowledges it
    QueueCycle,
    /// Appends an event to the shared log
    EventAppend,
    /// Changes the lifecycle state of a robot
    Transition,
    /// Reads a value from the store
    Read,
    /// Reads a value from the process's cache
    CachedRead,
}

impl Kind {
    /// Target for the 99th percentile, in milliseconds.
    pub(super) fn p99(self) -> Option<f64> {
        match self {
            Kind::EventAppend => Some(3.0),
            Kind::Transition => Some(5.0),
            Kind::Read => Some(0.1),
            Kind::CachedRead => Some(0.01),
            Kind::LockAcquire | Kind::Swap | Kind::Write | Kind::QueueCycle => None,
        }
    }

    pub(super) fn writes(self) -> bool {
        !matches!(self, Kind::Read | Kind::CachedRead)
    }
}

/// The clients of one benchmark process.
pub(super) struct Bench {
    clients: StoreClients,
    lifecycle: Lifecycle,
    name: String,
    robot: EntityId,
    /// The newest value of the process's own key.
    value: u64,
    active: bool,
}

fn author() -> Author<'static> {
    let now_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |wall| wall.as_nanos() as i64);
    Author { by: "figures", client: None, reason: "measured", manual: true, now_ns }
}

impl Bench {
    /// Opens all services, and writes the values to be read.
    pub(super) async fn prepare(store: Arc<dyn Store>, name: &str) -> Result<Bench, String> {
        let (clients, lifecycle) = (StoreClients::on(store.clone()), Lifecycle::new(store.clone()));
        store.txn(put(&format!("figure/{name}"), "1")).await.map_err(|error| error.to_string())?;
        let range = Range { prefix: "figure/".to_owned(), limit: 1, ..Range::default() };
        store.range(range).await.map_err(|error| error.to_string())?;
        let robot = EntityId::robot(name);
        let description = Description { type_name: "figure".to_owned(), address: None, heartbeat_ms: None };
        lifecycle.register(&robot, &description, author()).await.map_err(|error| error.to_string())?;
        let life =
            lifecycle.advance(&robot, State::Ready, author()).await.map_err(|error| error.to_string())?;
        let active = life.record.state == State::Active;
        clients.share(&format!("figure-{name}"), 1, name).await.map_err(|error| error.to_string())?;
        clients
            .append("figure", &format!("{name}-{}", std::process::id()))
            .await
            .map_err(|error| error.to_string())?;
        let name = name.to_owned();
        Ok(Bench { clients, lifecycle, name, robot, value: 1, active })
    }

    /// Performs the operation once; its latency.
    pub(super) async fn run(&mut self, kind: Kind) -> Result<Duration, String> {
        let (key, resource) = (format!("figure/{}", self.name), format!("figure-{}", self.name));
        let next = self.value + 1;
        let operation = match kind {
            Kind::LockAcquire => Operation::Lock { resource: resource.clone() },
            Kind::Swap => Operation::Swap { key, from: Some(self.value), to: next },
            Kind::Write => Operation::Write { key, value: next },
            Kind::Read => Operation::Read { key },
            Kind::EventAppend => {
                self.value = next;
                let id = format!("{}-{}-{next}", self.name, std::process::id());
                Operation::Append { stream: "figure".to_owned(), id }
            }
            Kind::CachedRead => Operation::CachedRead { key: resource.clone() },
            Kind::QueueCycle => return self.queue(&resource).await,
            Kind::Transition => return self.transition().await,
        };
        let start = Instant::now();
        let outcome = self.clients.execute(&self.name, &operation, TTL, TTL).await;
        let took = start.elapsed();
        match outcome {
            Outcome::Held { token } => {
                let unlock = Operation::Unlock { resource, token };
                let unlock = self.clients.execute(&self.name, &unlock, TTL, TTL).await;
                if unlock != Outcome::Released {
                    return Err(format!("the lock is not given back: {unlock:?}"));
                }
            }
            Outcome::Done { .. } => self.value = next,
            Outcome::Value { value: Some(seen), .. } if seen == self.value => {}
            Outcome::Shared { value: Some(1), .. } | Outcome::Appended { .. } => {}
            other => return Err(format!("{operation:?} got {other:?}")),
        }
        Ok(took)
    }

    async fn queue(&self, queue: &str) -> Result<Duration, String> {
        let start = Instant::now();
        let execute = |operation| async move { self.clients.execute(&self.name, &operation, TTL, TTL).await };
        let queued = execute(Operation::Enqueue { queue: queue.to_owned(), body: self.value }).await;
        let taken = execute(Operation::Dequeue { queue: queue.to_owned() }).await;
        let Outcome::Delivered { id, delivery, .. } = taken else {
            return Err(format!("after {queued:?} the queue gave {taken:?}"));
        };
        match execute(Operation::Ack { id, delivery }).await {
            Outcome::Acked => Ok(start.elapsed()),
            other => Err(format!("acknowledging got {other:?}")),
        }
    }

    async fn transition(&mut self) -> Result<Duration, String> {
        let to = if self.active { State::Ready } else { State::Active };
        let start = Instant::now();
        let result = self.lifecycle.transition(&self.robot, to, author()).await;
        let took = start.elapsed();
        result.map_err(|error| error.to_string())?;
        self.active = !self.active;
        Ok(took)
    }
}
