//! A child process that puts as much load on the store as it can, until its standard input ends or it is
//! killed.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::sync::watch;

use super::journal::{Journal, Operation, Outcome, now_ns};
use super::store_clients::{StoreClients, open};
use crate::wait::observe_for_async;

/// Shared registers.
pub(crate) const REGISTERS: u64 = 4;
/// Shared locks.
pub(crate) const RESOURCES: u64 = 3;
/// Shared queues.
pub(crate) const QUEUES: u64 = 2;
/// Shared event streams.
const STREAMS: u64 = 3;
/// Shared values.
const SHARED: u64 = 3;
/// Each id of a command is in use for about three of these, at all processes.
const COMMAND_PERIOD_NS: u64 = 20_000_000;
/// The lease of a lock.
pub(crate) const TTL: Duration = Duration::from_millis(1_500);
/// How long to wait for a lock.
const WAIT: Duration = Duration::from_secs(4);

/// Command line options.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The store
    #[arg(long)]
    pub(crate) store: String,
    /// The journal to write
    #[arg(long)]
    pub(crate) journal: PathBuf,
    /// Prefix of its clients' names
    #[arg(long)]
    pub(crate) name: String,
    /// Seed of its random choices
    #[arg(long)]
    pub(crate) seed: u64,
}

/// One client of a worker.
struct Client {
    name: String,
    clients: StoreClients,
    journal: Arc<Journal>,
    rng: fastrand::Rng,
    stop: watch::Receiver<bool>,
}

/// Runs until standard input ends.
pub(crate) fn run(options: &Options) -> ExitCode {
    super::workers::end_with_parent();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(work(options));
    ExitCode::SUCCESS
}

async fn work(options: &Options) {
    let clients = StoreClients::on(open(&options.store).unwrap());
    let journal = Arc::new(Journal::create(&options.journal).unwrap());
    let (end, stop) = watch::channel(false);
    let client = |n: u64| Client {
        name: format!("{}-{n}", options.name),
        clients: clients.clone(),
        journal: journal.clone(),
        rng: fastrand::Rng::with_seed(options.seed.wrapping_mul(31).wrapping_add(n)),
        stop: stop.clone(),
    };
    // A service that is to be tested gets a client of its own here.
    let tasks = [
        tokio::spawn(client(1).registers()),
        tokio::spawn(client(2).registers()),
        tokio::spawn(client(3).creates()),
        tokio::spawn(client(4).locks()),
        tokio::spawn(client(5).locks()),
        tokio::spawn(client(6).queues()),
        tokio::spawn(client(7).queues()),
        tokio::spawn(client(8).events()),
        tokio::spawn(client(9).cache()),
        tokio::spawn(client(10).cache()),
        tokio::spawn(client(11).commands()),
        tokio::spawn(client(12).commands()),
    ];
    let input = tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    let _ = input.await;
    let _ = end.send(true);
    for task in tasks {
        task.await.unwrap();
    }
}

impl Client {
    fn stopped(&self) -> bool {
        *self.stop.borrow()
    }

    async fn execute(&self, operation: Operation) -> Outcome {
        let n = self.journal.call(&self.name, operation.clone());
        let outcome = self.clients.execute(&self.name, &operation, TTL, WAIT).await;
        self.journal.answer(n, outcome.clone());
        if matches!(outcome, Outcome::Refused { .. } | Outcome::Unknown { .. }) {
            observe_for_async(Duration::from_millis(5), "a refused request is not retried immediately").await;
        }
        outcome
    }

    /// The rhythm of the load: a random pause.
    async fn pause(&mut self, max_us: u64) {
        let pause = Duration::from_micros(self.rng.u64(..max_us));
        observe_for_async(pause, "the rhythm of the load").await;
    }

    /// Reads, writes and swaps registers.
    async fn registers(mut self) {
        let mut last = vec![None; REGISTERS as usize];
        while !self.stopped() {
            let register = self.rng.u64(..REGISTERS);
            let key = format!("register/{register}");
            // All writes of all processes have different values.
            let value = self.rng.u64(..);
            let last_seen = &mut last[register as usize];
            let operation = match self.rng.u64(..10) {
                0..5 => Operation::Read { key },
                5..8 => Operation::Swap { key, from: *last_seen, to: value },
                _ => Operation::Write { key, value },
            };
            match self.execute(operation).await {
                Outcome::Value { value, .. } => last[register as usize] = value,
                Outcome::Done { .. } => last[register as usize] = Some(value),
                _ => {}
            }
            self.pause(3_000).await;
        }
    }

    /// Creates keys that must stay.
    async fn creates(mut self) {
        let mut n = 0;
        while !self.stopped() {
            n += 1;
            self.execute(Operation::Create { key: format!("kept/{}-{n:06}", self.name) }).await;
            self.pause(20_000).await;
        }
    }

    /// Acquires a lock, updates the guarded resource, and releases the lock.
    async fn locks(mut self) {
        while !self.stopped() {
            let resource = format!("arm-{}", self.rng.u64(..RESOURCES));
            let Outcome::Held { token } = self.execute(Operation::Lock { resource: resource.clone() }).await
            else {
                continue;
            };
            for _ in 0..=self.rng.u64(..2) {
                self.execute(Operation::Guarded { resource: resource.clone(), token }).await;
            }
            self.pause(10_000).await;
            self.execute(Operation::Unlock { resource, token }).await;
        }
    }

    /// Enqueues and dequeues messages, and acknowledges, returns or abandons them.
    async fn queues(mut self) {
        while !self.stopped() {
            let queue = format!("work-{}", self.rng.u64(..QUEUES));
            if self.rng.u64(..20) < 9 {
                let body = self.rng.u64(..);
                self.execute(Operation::Enqueue { queue, body }).await;
            } else if let Outcome::Delivered { id, delivery, .. } =
                self.execute(Operation::Dequeue { queue }).await
            {
                self.pause(10_000).await;
                match self.rng.u64(..20) {
                    0..17 => drop(self.execute(Operation::Ack { id, delivery }).await),
                    17 => drop(self.execute(Operation::Nak { id, delivery }).await),
                    _ => {}
                }
            }
            self.pause(6_000).await;
        }
    }

    /// Begins commands under ids that all processes use, and records their outcome.
    async fn commands(mut self) {
        let mut n = 0;
        while !self.stopped() {
            n += 1;
            // Everybody meets at the same ids for a while: they follow the time.
            let newest = now_ns() / COMMAND_PERIOD_NS;
            let id = format!("command-{}", newest - self.rng.u64(..3));
            let by = format!("{}-{n}", self.name);
            let begin = Operation::Begin { id: id.clone(), by: by.clone() };
            if self.execute(begin).await == Outcome::Begun {
                self.pause(5_000).await;
                self.execute(Operation::Finish { id, by }).await;
            }
            self.pause(6_000).await;
        }
    }

    async fn events(mut self) {
        let mut n = 0;
        while !self.stopped() {
            n += 1;
            let stream = format!("proof/{}", self.rng.u64(..STREAMS));
            self.execute(Operation::Append { stream, id: format!("{}-{n}", self.name) }).await;
            self.pause(12_000).await;
        }
    }

    /// Writes shared values, and reads them much more often.
    async fn cache(mut self) {
        while !self.stopped() {
            let key = format!("shared-{}", self.rng.u64(..SHARED));
            match self.rng.u64(..10) {
                0 => {
                    let value = self.rng.u64(..);
                    self.execute(Operation::Share { key, value }).await
                }
                _ => self.execute(Operation::CachedRead { key }).await,
            };
            self.pause(5_000).await;
        }
    }
}
