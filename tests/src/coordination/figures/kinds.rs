//! What is measured within a process.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use roverline_coordination::lifecycle::{Author, Description, Lifecycle, Name};
use roverline_coordination::store::{Range, Store};
use roverline_protocol::lifecycle::State;

use super::super::clients::{Hands, put};
use super::super::journal::{Act, Got};

const TTL: Duration = Duration::from_secs(60);

/// A part of the product that is to be measured gets a row here, and its act in [`Bench::act`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A lock is acquired; giving it back is not counted
    LockAcquire,
    /// A value is replaced, if it is as expected
    Swap,
    /// A value is written
    Write,
    /// A message is put into a queue, taken and acknowledged
    QueueCycle,
    /// An event is appended to the log that all share
    EventAppend,
    /// A robot goes to another state
    Transition,
    /// A value is read from the store
    Read,
    /// A value is read from the cache of the process
    CachedRead,
}

impl Kind {
    /// What 99 of 100 should take at most, in milliseconds.
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

/// What one process measures with.
pub(super) struct Bench {
    hands: Hands,
    lifecycle: Lifecycle,
    name: String,
    robot: Name,
    /// The newest value of its key.
    value: u64,
    active: bool,
}

fn author() -> Author<'static> {
    let now_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |wall| wall.as_nanos() as i64);
    Author { by: "figures", reason: "measured", manual: true, now_ns }
}

impl Bench {
    /// Opens everything that is used, and writes what is to be read.
    pub(super) async fn prepare(store: Arc<dyn Store>, name: &str) -> Result<Bench, String> {
        let (hands, lifecycle) = (Hands::on(store.clone()), Lifecycle::new(store.clone()));
        store.txn(put(&format!("figure/{name}"), "1")).await.map_err(|error| error.to_string())?;
        let range = Range { prefix: "figure/".to_owned(), limit: 1, ..Range::default() };
        store.range(range).await.map_err(|error| error.to_string())?;
        let robot = Name::robot(name);
        let description = Description { type_name: "figure".to_owned(), address: None, heartbeat_ms: None };
        lifecycle.register(&robot, &description, author()).await.map_err(|error| error.to_string())?;
        let life =
            lifecycle.advance(&robot, State::Ready, author()).await.map_err(|error| error.to_string())?;
        let active = life.record.state == State::Active;
        hands.share(&format!("figure-{name}"), 1, name).await.map_err(|error| error.to_string())?;
        hands
            .append("figure", &format!("{name}-{}", std::process::id()))
            .await
            .map_err(|error| error.to_string())?;
        let name = name.to_owned();
        Ok(Bench { hands, lifecycle, name, robot, value: 1, active })
    }

    /// Does it once; how long it took.
    pub(super) async fn act(&mut self, kind: Kind) -> Result<Duration, String> {
        let (key, resource) = (format!("figure/{}", self.name), format!("figure-{}", self.name));
        let next = self.value + 1;
        let act = match kind {
            Kind::LockAcquire => Act::Lock { resource: resource.clone() },
            Kind::Swap => Act::Swap { key, from: Some(self.value), to: next },
            Kind::Write => Act::Write { key, value: next },
            Kind::Read => Act::Read { key },
            Kind::EventAppend => {
                self.value = next;
                let id = format!("{}-{}-{next}", self.name, std::process::id());
                Act::Append { stream: "figure".to_owned(), id }
            }
            Kind::CachedRead => Act::Look { key: resource.clone() },
            Kind::QueueCycle => return self.queue(&resource).await,
            Kind::Transition => return self.transition().await,
        };
        let start = Instant::now();
        let got = self.hands.act(&self.name, &act, TTL, TTL).await;
        let took = start.elapsed();
        match got {
            Got::Held { token } => {
                let back = Act::Unlock { resource, token };
                let back = self.hands.act(&self.name, &back, TTL, TTL).await;
                if back != Got::Released {
                    return Err(format!("the lock is not given back: {back:?}"));
                }
            }
            Got::Done { .. } => self.value = next,
            Got::Value { value: Some(seen), .. } if seen == self.value => {}
            Got::Shared { value: Some(1), .. } | Got::Appended { .. } => {}
            other => return Err(format!("{act:?} got {other:?}")),
        }
        Ok(took)
    }

    async fn queue(&self, queue: &str) -> Result<Duration, String> {
        let start = Instant::now();
        let act = |act| async move { self.hands.act(&self.name, &act, TTL, TTL).await };
        let queued = act(Act::Enqueue { queue: queue.to_owned(), body: self.value }).await;
        let taken = act(Act::Dequeue { queue: queue.to_owned() }).await;
        let Got::Delivered { id, delivery, .. } = taken else {
            return Err(format!("after {queued:?} the queue gave {taken:?}"));
        };
        match act(Act::Ack { id, delivery }).await {
            Got::Acked => Ok(start.elapsed()),
            other => Err(format!("acknowledging got {other:?}")),
        }
    }

    async fn transition(&mut self) -> Result<Duration, String> {
        let to = if self.active { State::Ready } else { State::Active };
        let start = Instant::now();
        let done = self.lifecycle.transition(&self.robot, to, author()).await;
        let took = start.elapsed();
        done.map_err(|error| error.to_string())?;
        self.active = !self.active;
        Ok(took)
    }
}
