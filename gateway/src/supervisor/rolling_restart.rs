//! Replacing all endpoints' processes one after another, and what can be told of them.

use std::time::Duration;

use roverline_protocol::{Tier, limits};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::{Instant, timeout};

/// The order to replace a tier's process.
pub(super) struct Order {
    steps: mpsc::Sender<Step>,
}

/// How far an order is.
pub(super) enum Step {
    Progress { step: &'static str, pid: Option<u32>, text: String },
    Finished(Result<String, String>),
}

impl Order {
    fn new() -> (Order, mpsc::Receiver<Step>) {
        let (steps, told) = mpsc::channel(16);
        (Order { steps }, told)
    }

    /// Whether nobody waits for it any more.
    pub(super) fn is_withdrawn(&self) -> bool {
        self.steps.is_closed()
    }

    /// Tells how far it is. Never waits: whoever listens slowly misses a step.
    pub(super) fn tell(&self, step: &'static str, pid: Option<u32>, text: &str) {
        let _ = self.steps.try_send(Step::Progress { step, pid, text: text.to_owned() });
    }

    /// The last word on it.
    pub(super) fn finish(self, result: Result<String, String>) {
        let _ = self.steps.try_send(Step::Finished(result));
    }
}

/// What a keeper shows of its process.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub(super) pid: Option<u32>,
    /// Since when it serves.
    pub(super) serving: Option<Instant>,
    /// Processes before this one.
    pub(super) earlier: Option<u64>,
}

impl View {
    pub(super) fn started(&mut self, pid: u32) {
        if self.pid.replace(pid) != Some(pid) {
            self.serving = None;
            self.earlier = Some(self.earlier.map_or(0, |earlier| earlier + 1));
        }
    }

    pub(super) fn ended(&mut self) {
        (self.pid, self.serving) = (None, None);
    }
}

/// A tier as the supervisor shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Post {
    /// Which endpoint.
    pub tier: Tier,
    /// Its port.
    pub port: u16,
    /// Its process; null while there is none.
    pub pid: Option<u32>,
    /// For how long that process has served, seconds; null when it does not yet.
    pub serving_s: Option<f64>,
    /// How many processes it had before this one.
    pub restarts: u64,
}

/// A step of a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Whose.
    pub tier: Tier,
    /// `started`, `ready`, `accepts`, `left`, `done` or `failed`.
    pub step: String,
    /// The new process.
    #[serde(default)]
    pub pid: Option<u32>,
    /// Milliseconds since the tier's turn began.
    pub after_ms: u64,
    /// For people.
    pub text: String,
}

/// A tier, and how to reach its keeper.
pub(super) struct Desk {
    pub(super) tier: Tier,
    pub(super) port: u16,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) view: watch::Receiver<View>,
}

/// The four tiers; restarts them, one restart at a time.
pub(super) struct Roller {
    desks: Vec<Desk>,
    one: Mutex<()>,
}

impl Roller {
    pub(super) fn new(desks: Vec<Desk>) -> Roller {
        Roller { desks, one: Mutex::new(()) }
    }

    /// All tiers, the best first.
    pub(super) fn posts(&self) -> Vec<Post> {
        let post = |desk: &Desk| {
            let view = desk.view.borrow();
            Post {
                tier: desk.tier,
                port: desk.port,
                pid: view.pid,
                serving_s: view.serving.map(|since| since.elapsed().as_secs_f64()),
                restarts: view.earlier.unwrap_or(0),
            }
        };
        self.desks.iter().map(post).collect()
    }

    /// Replaces the process of `only`, or of every tier: the least first, so that a version that is
    /// of no use costs the least. Ends at the first that fails. Tells every step. An error is a
    /// sentence.
    pub(super) async fn roll(
        &self,
        only: Option<Tier>,
        tell: mpsc::Sender<Progress>,
    ) -> Result<String, String> {
        let Ok(_one) = self.one.try_lock() else {
            return Err("another restart is going on; wait for its end".to_owned());
        };
        let start = Instant::now();
        let mut replaced = 0;
        for desk in self.desks.iter().rev() {
            if only.is_none_or(|only| only == desk.tier) {
                if let Err(why) = desk.replace(&tell).await {
                    let left = "the others were left alone";
                    return Err(format!("{}: {why}; {replaced} replaced, {left}", desk.tier));
                }
                replaced += 1;
            }
        }
        Ok(format!("{replaced} replaced in {:.1} s", start.elapsed().as_secs_f64()))
    }
}

impl Desk {
    /// Has the tier's process replaced, in bounded time.
    async fn replace(&self, tell: &mpsc::Sender<Progress>) -> Result<(), String> {
        let start = Instant::now();
        let patience = Duration::from_millis(limits::REPLACE_MS);
        let outcome = timeout(patience, self.see_through(tell, start))
            .await
            .unwrap_or_else(|_| Err(format!("it was not done within {} s", patience.as_secs())));
        let (step, text) = match &outcome {
            Ok(text) => ("done", text),
            Err(why) => ("failed", why),
        };
        tracing::info!(tier = %self.tier, step, text, "rolling restart");
        let _ = tell.send(self.progress(start, step, None, text.clone())).await;
        outcome.map(drop)
    }

    async fn see_through(&self, tell: &mpsc::Sender<Progress>, start: Instant) -> Result<String, String> {
        let (order, mut steps) = Order::new();
        if self.orders.send(order).await.is_ok() {
            while let Some(step) = steps.recv().await {
                match step {
                    Step::Progress { step, pid, text } => {
                        // Who asked may be gone; the restart goes on.
                        let _ = tell.send(self.progress(start, step, pid, text)).await;
                    }
                    Step::Finished(result) => return result,
                }
            }
        }
        Err("the supervisor stops".to_owned())
    }

    fn progress(&self, start: Instant, step: &str, pid: Option<u32>, text: String) -> Progress {
        let after_ms = start.elapsed().as_millis() as u64;
        Progress { tier: self.tier, step: step.to_owned(), pid, after_ms, text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desk(tier: Tier) -> (Desk, mpsc::Receiver<Order>) {
        let (orders, inbox) = mpsc::channel(1);
        let view = watch::Sender::new(View::default()).subscribe();
        (Desk { tier, port: 1, orders, view }, inbox)
    }

    #[tokio::test]
    async fn tiers_are_replaced_from_the_least_until_one_fails() {
        let (desks, inboxes): (Vec<_>, Vec<_>) = Tier::ALL.map(desk).into_iter().unzip();
        for (tier, mut inbox) in Tier::ALL.into_iter().zip(inboxes) {
            tokio::spawn(async move {
                while let Some(order) = inbox.recv().await {
                    order.tell("started", Some(7), "");
                    let fails = tier == Tier::Secondary;
                    order.finish(if fails { Err("broken".to_owned()) } else { Ok(String::new()) });
                }
            });
        }
        let roller = Roller::new(desks);
        let (tell, mut told) = mpsc::channel(64);
        let why = roller.roll(None, tell).await.unwrap_err();
        assert!(why.starts_with("secondary: broken; 2 replaced"), "{why}");
        let mut ends = Vec::new();
        while let Some(Progress { tier, step, .. }) = told.recv().await {
            if step != "started" {
                ends.push((tier, step));
            }
        }
        let expected = [(Tier::Emergency, "done"), (Tier::Tertiary, "done"), (Tier::Secondary, "failed")];
        assert_eq!(ends, expected.map(|(tier, step)| (tier, step.to_owned())));
        let one = roller.roll(Some(Tier::Primary), mpsc::channel(64).0).await;
        assert!(one.unwrap().starts_with("1 replaced"));
    }

    #[tokio::test]
    async fn one_restart_at_a_time() {
        let (desk, _inbox) = desk(Tier::Primary);
        let roller = Roller::new(vec![desk]);
        let roll = || roller.roll(None, mpsc::channel(64).0);
        let second = tokio::select! {
            biased;
            // Nobody carries it out.
            _ = roll() => None,
            second = roll() => Some(second),
        };
        assert!(second.unwrap().unwrap_err().contains("another restart"));
    }
}
