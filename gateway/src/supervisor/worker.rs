//! Keeps one tier served (or, as a relay, all of them): its process watched by its exit and its heartbeat, started again with
//! backoff, replaced on demand.

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use roverline_protocol::backoff::{Backoff, Jitter};
use roverline_protocol::{Tier, limits};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::config::Settings;
use crate::supervisor::ChildEvent;
use crate::supervisor::process::{Beat, Launch, Process};
use crate::supervisor::rolling_restart::{Order, View};

/// Keeps one endpoint process alive.
pub(super) struct Keeper {
    pub(super) launch: Launch,
    events: mpsc::Sender<ChildEvent>,
    orders: mpsc::Receiver<Order>,
    /// The order that is being carried out.
    pub(super) order: Option<Order>,
    /// Predecessors that drain; each says in the end how it went.
    pub(super) leaving: JoinSet<String>,
    view: watch::Sender<View>,
}

/// How a child's life ended.
enum End {
    Stopping,
    Ended { why: String, lived: Duration, served: bool },
}

impl End {
    fn of(process: &Process, why: String) -> End {
        End::Ended { why, lived: process.born.elapsed(), served: process.ready }
    }
}

impl Keeper {
    pub(super) fn new(
        charge: Vec<(Tier, TcpListener)>,
        settings: &Settings,
        path: PathBuf,
        events: mpsc::Sender<ChildEvent>,
        orders: mpsc::Receiver<Order>,
    ) -> Result<Keeper, String> {
        let settings = serde_json::to_string(settings).map_err(|error| error.to_string())?;
        let (tiers, sockets) = charge.into_iter().unzip();
        let launch = Launch { tiers, sockets, settings, path, fall_back: false };
        let view = watch::Sender::new(View::default());
        Ok(Keeper { launch, events, orders, order: None, leaving: JoinSet::new(), view })
    }

    /// What can be told of it.
    pub(super) fn view(&self) -> watch::Receiver<View> {
        self.view.subscribe()
    }

    /// Until `stopping` turns true.
    pub(super) async fn keep(mut self, mut stopping: watch::Receiver<bool>) {
        let millis = |(first, last)| (Duration::from_millis(first), Duration::from_millis(last));
        let (first, last) = millis(limits::RESTART_BACKOFF_MS);
        let mut backoff = Backoff::new(first, last);
        let name = self.launch.name();
        let mut jitter = Jitter::new(u64::from(std::process::id()) ^ (self.launch.tier() as u64));
        while !*stopping.borrow() {
            let (why, lived, served) = match self.launch.start(false) {
                Ok(process) => match self.live(process, &mut stopping).await {
                    End::Stopping => break,
                    End::Ended { why, lived, served } => (why, lived, served),
                },
                Err(error) => (format!("it could not be started: {error}"), Duration::ZERO, false),
            };
            self.failed(&why);
            // What is at our path may be a version that does not serve: the other one in turn.
            self.launch.fall_back = !served && !self.launch.fall_back;
            if lived > Duration::from_millis(limits::RESTART_HEALTHY_MS) {
                backoff.reset();
            }
            let pause = backoff.fail(jitter.unit());
            tracing::warn!(name, why, pause_ms = pause.as_millis() as u64, "it ended, starting it again");
            eprintln!("roverline-gateway: {name}: {why}; starting it again");
            self.view.send_modify(View::ended);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                Some(order) = self.orders.recv() => if !order.is_withdrawn() {
                    order.tell("started", None, "it was down: nothing to replace");
                    self.launch.fall_back = false;
                    self.order = Some(order);
                },
                _ = stopping.changed() => {}
            }
        }
        while self.leaving.join_next().await.is_some() {}
        let _ = self.events.send(ChildEvent::Stopped).await;
    }

    async fn live(&mut self, mut current: Process, stopping: &mut watch::Receiver<bool>) -> End {
        self.view.send_modify(|view| view.started(current.pid));
        loop {
            tokio::select! {
                beat = current.hear() => match beat {
                    Beat::Ready => self.serves(&current).await,
                    Beat::Alive | Beat::Quiet => {}
                    Beat::Silent => {
                        current.kill().await;
                        return End::of(&current, "it hung and was killed".to_owned());
                    }
                    Beat::Closed => {
                        let why = current.exited().await;
                        return End::of(&current, why);
                    }
                },
                Some(order) = self.orders.recv(), if current.ready && self.order.is_none() => {
                    if order.is_withdrawn() { continue }
                    self.order = Some(order);
                    match self.replace(current, stopping).await {
                        Some(next) => current = next,
                        None => return End::Stopping,
                    }
                }
                Some(how) = self.leaving.join_next(), if !self.leaving.is_empty() => self.left(how),
                _ = stopping.changed() => {
                    current.stop().await;
                    return End::Stopping;
                }
            }
        }
    }

    /// The process in use says that it serves.
    async fn serves(&mut self, process: &Process) {
        tracing::info!(name = self.launch.name(), pid = process.pid, "it serves");
        for tier in &self.launch.tiers {
            let _ = self.events.send(ChildEvent::Ready(*tier)).await;
        }
        self.in_use(process);
        if self.leaving.is_empty()
            && let Some(order) = self.order.take()
        {
            order.finish(Ok(format!("process {} serves", process.pid)));
        }
    }

    /// Tells that this process is the tier's.
    pub(super) fn in_use(&self, process: &Process) {
        let ready = process.ready;
        let since = Instant::now();
        self.view.send_modify(|view| {
            view.started(process.pid);
            view.serving = ready.then_some(since);
        });
    }

    /// A replaced process has ended.
    fn left(&mut self, how: Result<String, tokio::task::JoinError>) {
        let how = how.unwrap_or_else(|error| error.to_string());
        tracing::info!(tier = %self.launch.tier(), how, "replaced process left");
        if self.leaving.is_empty()
            && let Some(order) = self.order.take()
        {
            order.tell("left", None, &how);
            order.finish(Ok("replaced".to_owned()));
        }
    }

    /// The order in hand cannot be carried out.
    pub(super) fn failed(&mut self, why: &str) {
        if let Some(order) = self.order.take() {
            order.finish(Err(why.to_owned()));
        }
    }
}
