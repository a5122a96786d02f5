//! A process that uses the store as hard as it can, until its standard input ends or it is killed.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::sync::watch;

use super::clients::{Hands, open};
use super::dice::Dice;
use super::journal::{Act, Got, Journal};

/// Registers that all share.
pub(crate) const REGISTERS: u64 = 4;
/// Locks that all share.
pub(crate) const RESOURCES: u64 = 3;
/// Queues that all share.
pub(crate) const QUEUES: u64 = 2;
/// Streams of events that all share.
const STREAMS: u64 = 3;
/// Values that all share.
const SHARED: u64 = 3;
/// How long a lock lives without a sign of life.
pub(crate) const TTL: Duration = Duration::from_millis(1_500);
/// How long one is waited for.
const WAIT: Duration = Duration::from_secs(4);

/// What a worker is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The store
    #[arg(long)]
    pub(crate) store: String,
    /// Where it writes down what it does
    #[arg(long)]
    pub(crate) journal: PathBuf,
    /// The beginning of its clients' names
    #[arg(long)]
    pub(crate) name: String,
    /// Of its choices
    #[arg(long)]
    pub(crate) seed: u64,
}

/// One client of a worker.
struct Client {
    name: String,
    hands: Hands,
    journal: Arc<Journal>,
    dice: Dice,
    stop: watch::Receiver<bool>,
}

/// Runs until standard input ends.
pub(crate) fn run(options: &Options) -> ExitCode {
    super::crew::end_with_parent();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(work(options));
    ExitCode::SUCCESS
}

async fn work(options: &Options) {
    let hands = Hands::on(open(&options.store).unwrap());
    let journal = Arc::new(Journal::create(&options.journal).unwrap());
    let (end, stop) = watch::channel(false);
    let client = |n: u64| Client {
        name: format!("{}-{n}", options.name),
        hands: hands.clone(),
        journal: journal.clone(),
        dice: Dice::new(options.seed.wrapping_mul(31).wrapping_add(n)),
        stop: stop.clone(),
    };
    // A part of the product that is to be proved gets a client of its own here.
    let clients = [
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
    ];
    let input = tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    let _ = input.await;
    let _ = end.send(true);
    for client in clients {
        client.await.unwrap();
    }
}

impl Client {
    fn stopped(&self) -> bool {
        *self.stop.borrow()
    }

    async fn act(&self, act: Act) -> Got {
        let n = self.journal.call(&self.name, act.clone());
        let got = self.hands.act(&self.name, &act, TTL, WAIT).await;
        self.journal.answer(n, got.clone());
        if matches!(got, Got::Refused { .. } | Got::Unknown { .. }) {
            // What is refused at once is not asked for at once.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        got
    }

    /// Reads, writes and swaps.
    async fn registers(mut self) {
        let mut last = vec![None; REGISTERS as usize];
        while !self.stopped() {
            let register = self.dice.below(REGISTERS);
            let key = format!("register/{register}");
            // No two writes of all processes have the same value.
            let value = self.dice.next();
            let known = &mut last[register as usize];
            let act = match self.dice.below(10) {
                0..5 => Act::Read { key },
                5..8 => Act::Swap { key, from: *known, to: value },
                _ => Act::Write { key, value },
            };
            match self.act(act).await {
                Got::Value { value, .. } => last[register as usize] = value,
                Got::Done { .. } => last[register as usize] = Some(value),
                _ => {}
            }
            tokio::time::sleep(Duration::from_micros(self.dice.below(3_000))).await;
        }
    }

    /// Makes keys that have to stay.
    async fn creates(mut self) {
        let mut n = 0;
        while !self.stopped() {
            n += 1;
            self.act(Act::Create { key: format!("kept/{}-{n:06}", self.name) }).await;
            tokio::time::sleep(Duration::from_micros(self.dice.below(20_000))).await;
        }
    }

    /// Takes a lock, changes what it protects, gives it back.
    async fn locks(mut self) {
        while !self.stopped() {
            let resource = format!("arm-{}", self.dice.below(RESOURCES));
            let Got::Held { token } = self.act(Act::Lock { resource: resource.clone() }).await else {
                continue;
            };
            for _ in 0..=self.dice.below(2) {
                self.act(Act::Guarded { resource: resource.clone(), token }).await;
            }
            tokio::time::sleep(Duration::from_micros(self.dice.below(10_000))).await;
            self.act(Act::Unlock { resource, token }).await;
        }
    }

    /// Puts messages into queues, takes some, and does with them what can be done: also nothing.
    async fn queues(mut self) {
        while !self.stopped() {
            let queue = format!("work-{}", self.dice.below(QUEUES));
            if self.dice.below(20) < 9 {
                let body = self.dice.next();
                self.act(Act::Enqueue { queue, body }).await;
            } else if let Got::Delivered { id, delivery, .. } = self.act(Act::Dequeue { queue }).await {
                tokio::time::sleep(Duration::from_micros(self.dice.below(10_000))).await;
                match self.dice.below(20) {
                    0..17 => drop(self.act(Act::Ack { id, delivery }).await),
                    17 => drop(self.act(Act::Nak { id, delivery }).await),
                    _ => {}
                }
            }
            tokio::time::sleep(Duration::from_micros(self.dice.below(6_000))).await;
        }
    }

    async fn events(mut self) {
        let mut n = 0;
        while !self.stopped() {
            n += 1;
            let stream = format!("proof/{}", self.dice.below(STREAMS));
            self.act(Act::Append { stream, id: format!("{}-{n}", self.name) }).await;
            tokio::time::sleep(Duration::from_micros(self.dice.below(12_000))).await;
        }
    }

    /// Shares values, and looks at them much more often.
    async fn cache(mut self) {
        while !self.stopped() {
            let key = format!("shared-{}", self.dice.below(SHARED));
            match self.dice.below(10) {
                0 => {
                    let value = self.dice.next();
                    self.act(Act::Share { key, value }).await
                }
                _ => self.act(Act::Look { key }).await,
            };
            tokio::time::sleep(Duration::from_micros(self.dice.below(5_000))).await;
        }
    }
}
