//! The stop when the holder of an authority falls silent. Every endpoint of the computer watches the newest command of
//! every authority, whichever endpoint dispatched it, and publishes the stop itself: it holds when the endpoint that
//! served the holder was killed or hangs.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use roverline_protocol::status::EventKind;
use roverline_source::Publication;
use roverline_source::clock::monotonic;
use roverline_source::ros::Advertised;
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use crate::authority::Guard;
use crate::authority::command_file::{CommandedTopic, LastCommand, since_boot};
use crate::authority::silence::{Phase, phase};
use crate::config::LinkLoss;
use crate::emergency_stop::StopRequest;
use crate::endpoint::Endpoint;
use crate::endpoint::events::EventDetails;

/// Interval at which the newest commands are read.
const TICK: Duration = Duration::from_millis(25);
/// Interval at which the stop is published.
const REPEAT: Duration = Duration::from_millis(100);
/// Interval at which the list of commanded topics is read while something is commanded.
const TOPICS_INTERVAL: Duration = Duration::from_millis(500);
/// How long the writers stay open after the last command.
const WRITERS_OPEN: Duration = Duration::from_secs(60);

/// One authority as this endpoint watches it.
#[derive(Default)]
struct Watched {
    /// The commanded topics, each with its writer: opened before it is needed, since subscribers take time to match.
    topics: Vec<(CommandedTopic, Option<Advertised>)>,
    topics_read: Option<Duration>,
    /// The command after which the stop is being published.
    stopped_after: Option<LastCommand>,
    published: Option<Duration>,
    commanded: Duration,
}

/// Watches all authorities, forever.
pub(crate) async fn watch_link_loss(endpoint: Arc<Endpoint>) {
    let mut watched: Vec<Watched> = endpoint.guards.all().iter().map(|_| Watched::default()).collect();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tick.tick().await;
        let now = monotonic();
        for (guard, watched) in endpoint.guards.all().iter().zip(&mut watched) {
            guard.tick(now);
            watched.step(&endpoint, guard, now);
        }
    }
}

impl Watched {
    fn step(&mut self, endpoint: &Arc<Endpoint>, guard: &Guard, now: Duration) {
        let last = guard.last_command();
        match phase(last, since_boot(), guard.timeout()) {
            Phase::Idle if now.saturating_sub(self.commanded) > WRITERS_OPEN => self.topics.clear(),
            Phase::Idle => {}
            Phase::Commanded => {
                self.commanded = now;
                self.open_writers(endpoint, guard, now);
            }
            Phase::Stopping => {
                let is_first = self.stopped_after != last;
                self.stopped_after = last;
                if let (true, Some(last)) = (is_first, last) {
                    self.open_writers(endpoint, guard, now);
                    begin(endpoint, guard, last);
                    self.published = None;
                }
                let is_due = self.published.is_none_or(|at| now.saturating_sub(at) >= REPEAT);
                if is_due && guard.settings().link_loss == LinkLoss::Zero {
                    self.published = Some(now);
                    self.publish_zero(endpoint);
                }
            }
        }
    }

    fn open_writers(&mut self, endpoint: &Endpoint, guard: &Guard, now: Duration) {
        let is_due = self.topics_read.is_none_or(|read| now.saturating_sub(read) >= TOPICS_INTERVAL);
        if !is_due || guard.settings().link_loss != LinkLoss::Zero {
            return;
        }
        self.topics_read = Some(now);
        for topic in guard.commanded_topics() {
            if self.topics.iter().any(|(known, _)| *known == topic) {
                continue;
            }
            let writer = endpoint.ros.advertise(&topic.topic, &topic.type_name, false);
            let writer =
                writer.inspect_err(|error| tracing::debug!("{} is not advertised: {error}", topic.topic));
            self.topics.push((topic, writer.ok()));
        }
    }

    fn publish_zero(&self, endpoint: &Endpoint) {
        for (topic, _) in &self.topics {
            let published = endpoint
                .ros
                .encode(&topic.type_name, &zero(endpoint, &topic.type_name))
                .and_then(|payload| {
                    endpoint.ros.publish(Publication {
                        topic: topic.topic.clone(),
                        type_name: topic.type_name.clone(),
                        payload,
                        latched: false,
                    })
                });
            if let Err(error) = published {
                tracing::warn!(topic = topic.topic, %error, "the stop was not published");
            }
        }
    }
}

/// The zero value of a type: all fields have their defaults, and a stamp is the present time.
fn zero(endpoint: &Endpoint, type_name: &str) -> Value {
    let plan = endpoint.hub.registry().plan(type_name);
    match plan.is_ok_and(|plan| plan.has_field("header.stamp.sec")) {
        true => json!({"header": {"stamp": "now"}}),
        false => json!({}),
    }
}

/// Reports that the holder has fallen silent, and engages the emergency stop if that is configured.
fn begin(endpoint: &Arc<Endpoint>, guard: &Guard, last: LastCommand) {
    guard.counts.link_losses.fetch_add(1, Ordering::Relaxed);
    let holder = guard.holder().filter(|holder| holder.token == last.token);
    let who = holder.as_ref().map_or_else(|| "its last holder".to_owned(), |holder| holder.claimant.label());
    let (name, timeout_ms) = (guard.name(), guard.settings().timeout_ms);
    let done = match guard.settings().link_loss {
        LinkLoss::None => "nothing is stopped, as configured",
        LinkLoss::Zero => "zero is published",
        LinkLoss::LatchStop => "the emergency stop is engaged",
    };
    let cause = format!("{name}: no command of {who} for {timeout_ms} ms; {done}");
    let id = format!("{name}@{}", last.at.as_nanos());
    let by = holder.map(|holder| holder.claimant.identity);
    let details = EventDetails { to: Some(id.clone()), by, ..EventDetails::default() };
    endpoint.events.record(EventKind::LinkLoss, &cause, details);
    if guard.settings().link_loss == LinkLoss::LatchStop {
        let id = format!("link-loss-{id}");
        let request = StopRequest { by: "link loss", id: &id, engage: true, reason: &cause };
        let pending = endpoint.begin_emergency_stop(request, None);
        let endpoint = endpoint.clone();
        tokio::spawn(async move {
            if let Err(error) = endpoint.finish_emergency_stop(pending).await {
                tracing::warn!(%error, "the emergency stop after a link loss was not stored");
            }
        });
    }
}
