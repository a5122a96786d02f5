//! Events of commands that have no id: publications, calls and goals of clients. A topic that a client publishes, or a
//! service that it calls, again and again is a stream, with one event when it begins and one when it ends; anything else is
//! an event of its own, with its outcome.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use roverline_coordination::events::{Expected, NewEvent};
use roverline_protocol::api::commands::CommandKind;
use roverline_source::clock::{monotonic, unix_ns};
use serde_json::json;

use crate::endpoint::Endpoint;
use crate::endpoint::sessions::SessionInfo;
use crate::identity;

/// Messages that come within this time of each other are a stream (2 Hz).
const STREAM_PERIOD: Duration = Duration::from_millis(500);
/// A stream ends after this silence.
const STREAM_END: Duration = Duration::from_secs(2);
/// Interval at which streams are looked through.
const SWEEP_INTERVAL: Duration = Duration::from_millis(250);
/// Topics that are followed, of all clients together; what other topics get is not recorded until one ends.
const FOLLOWED: usize = 256;
/// Those of one session.
const FOLLOWED_PER_SESSION: usize = 32;
/// Characters of a type's name.
const TYPE_NAME_CHARS: usize = 256;
/// Characters of a reason.
const REASON_CHARS: usize = 200;
/// Events of single messages within a sweep; the others wait for the next one.
const SINGLES_PER_SWEEP: usize = 8;

/// Identifies a stream: a session, and the target that it commands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamKey {
    /// The number of the session.
    pub session: u64,
    /// The kind of command.
    pub kind: CommandKind,
    /// The topic, service, action or node.
    pub target: String,
}

/// The client that publishes, as events show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamClient {
    /// The label of its identity.
    pub by: String,
    /// The name that it declares.
    pub client: Option<String>,
    /// Its dialect.
    pub dialect: &'static str,
}

impl StreamClient {
    /// The client of a session.
    pub fn of(session: &SessionInfo) -> StreamClient {
        StreamClient { by: session.label(), client: session.client_name(), dialect: session.dialect() }
    }
}

#[derive(Clone, Debug)]
struct Followed {
    client: StreamClient,
    type_name: String,
    messages: u64,
    refused: u64,
    /// Why the last one that failed did.
    reason: Option<String>,
    first: Duration,
    last: Duration,
    is_stream: bool,
}

/// The change of a topic's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamChange {
    /// A stream began.
    Began,
    /// A stream ended.
    Ended,
    /// Single messages, calls or goals.
    Single,
}

/// A change, for the log.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamEvent {
    change: StreamChange,
    key: StreamKey,
    followed_ms: u64,
    messages: u64,
    refused: u64,
    reason: Option<String>,
    type_name: String,
    client: StreamClient,
}

/// The streams of all sessions, and the single commands that have no event yet.
#[derive(Debug, Default)]
pub struct CommandStreams {
    followed: Mutex<BTreeMap<StreamKey, Followed>>,
}

impl CommandStreams {
    /// Records a message of a client, or another command with its outcome; `failure`: why it was not done. `now` is
    /// monotonic.
    pub fn record(
        &self,
        key: StreamKey,
        type_name: &str,
        client: impl FnOnce() -> StreamClient,
        failure: Option<String>,
        now: Duration,
    ) {
        let mut followed = self.followed.lock();
        if !followed.contains_key(&key) {
            let of_session = followed.keys().filter(|other| other.session == key.session).count();
            if followed.len() >= FOLLOWED || of_session >= FOLLOWED_PER_SESSION {
                return;
            }
        }
        let entry = followed.entry(key).or_insert_with(|| Followed {
            client: client(),
            type_name: type_name.chars().take(TYPE_NAME_CHARS).collect(),
            messages: 0,
            refused: 0,
            reason: None,
            first: now,
            last: now,
            is_stream: false,
        });
        entry.messages += u64::from(failure.is_none());
        entry.refused += u64::from(failure.is_some());
        entry.reason = failure.map(|why| why.chars().take(REASON_CHARS).collect()).or(entry.reason.take());
        entry.last = now;
    }

    /// The changes until `now` (monotonic).
    pub fn sweep(&self, now: Duration) -> Vec<StreamEvent> {
        let mut followed = self.followed.lock();
        let (mut events, mut singles) = (Vec::new(), 0);
        followed.retain(|key, entry| {
            let silent = now.saturating_sub(entry.last);
            let messages = entry.messages + entry.refused;
            let is_fast = messages > 2
                && entry.last.saturating_sub(entry.first)
                    < STREAM_PERIOD * u32::try_from(messages).unwrap_or(u32::MAX);
            if !entry.is_stream && is_fast {
                entry.is_stream = true;
                events.push(entry.event(StreamChange::Began, key));
            }
            match entry.is_stream {
                true if silent < STREAM_END => true,
                true => {
                    events.push(entry.event(StreamChange::Ended, key));
                    false
                }
                false if silent < STREAM_PERIOD => true,
                false if singles < SINGLES_PER_SWEEP => {
                    singles += 1;
                    events.push(entry.event(StreamChange::Single, key));
                    false
                }
                false => true,
            }
        });
        events
    }
}

impl Followed {
    fn event(&self, change: StreamChange, key: &StreamKey) -> StreamEvent {
        StreamEvent {
            change,
            key: key.clone(),
            followed_ms: u64::try_from(self.last.saturating_sub(self.first).as_millis()).unwrap_or(u64::MAX),
            messages: self.messages,
            refused: self.refused,
            reason: self.reason.clone(),
            type_name: self.type_name.clone(),
            client: self.client.clone(),
        }
    }
}

impl StreamEvent {
    fn into_log(self, endpoint: &Endpoint) -> NewEvent {
        let kind = match self.change {
            StreamChange::Began => "command.stream_began",
            StreamChange::Ended => "command.stream_ended",
            StreamChange::Single if self.key.kind == CommandKind::Publish => "command.published",
            StreamChange::Single if self.refused == 0 => "command.verified",
            StreamChange::Single => "command.failed",
        };
        NewEvent {
            stream: format!("command/{}", self.key.kind.word()),
            kind: kind.to_owned(),
            at_ns: unix_ns(),
            data: json!({
                "kind": self.key.kind.word(),
                "target": self.key.target,
                "type": self.type_name,
                "messages": self.messages,
                "refused": self.refused,
                "reason": self.reason,
                "duration_ms": self.followed_ms,
                "dialect": self.client.dialect,
                "endpoint": endpoint.tier.name(),
                "session": self.key.session,
            }),
            by: identity::log_name(&self.client.by),
            client: self.client.client.as_deref().and_then(identity::log_name),
            ..NewEvent::default()
        }
    }
}

/// Appends the changes to the event log. Messages do not wait for it.
pub(crate) async fn log_command_streams(endpoint: Arc<Endpoint>) {
    let mut tick = tokio::time::interval(SWEEP_INTERVAL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        for event in endpoint.command_streams.sweep(monotonic()) {
            let event = event.into_log(&endpoint);
            if let Err(error) = endpoint.coordination.events.append(event, Expected::Any).await {
                tracing::warn!(%error, "what a client published is not in the event log");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn client() -> StreamClient {
        StreamClient { by: "ann".to_owned(), client: None, dialect: "native" }
    }

    fn key(session: u64) -> StreamKey {
        StreamKey { session, kind: CommandKind::Publish, target: "/cmd_vel".to_owned() }
    }

    fn changes(streams: &CommandStreams, now: Duration) -> Vec<(StreamChange, u64, u64)> {
        streams.sweep(now).into_iter().map(|event| (event.change, event.messages, event.refused)).collect()
    }

    #[test]
    fn a_stream_is_one_event_at_its_begin_and_one_at_its_end() {
        let streams = CommandStreams::default();
        let mut seen = Vec::new();
        for at in (0..3_000).step_by(50) {
            streams.record(key(1), "a/msg/B", client, (at >= 2_000).then(String::new), at * MS);
            if at % 250 == 0 {
                seen.extend(changes(&streams, at * MS));
            }
        }
        assert_eq!(seen, [(StreamChange::Began, 6, 0)]);
        assert_eq!(changes(&streams, 4_900 * MS), []);
        assert_eq!(changes(&streams, 5_000 * MS), [(StreamChange::Ended, 40, 20)]);
        assert_eq!(changes(&streams, 6_000 * MS), []);
    }

    #[test]
    fn a_single_message_is_an_event_and_slow_ones_are_one_each() {
        let streams = CommandStreams::default();
        for at in [0_u32, 1_000, 2_000] {
            streams.record(key(1), "a/msg/B", client, None, at * MS);
            assert_eq!(changes(&streams, (at + 250) * MS), []);
            assert_eq!(changes(&streams, (at + 600) * MS), [(StreamChange::Single, 1, 0)]);
        }
    }

    #[test]
    fn what_is_followed_is_bounded_and_so_are_events() {
        let streams = CommandStreams::default();
        for n in 0..100 {
            let many = StreamKey { target: format!("/{n}"), ..key(0) };
            streams.record(many, &"x".repeat(10_000), client, Some("y".repeat(10_000)), MS);
        }
        let is_short = |entry: &Followed| {
            entry.type_name.len() == TYPE_NAME_CHARS
                && entry.reason.as_ref().is_some_and(|why| why.len() == REASON_CHARS)
        };
        assert!(streams.followed.lock().values().all(is_short));
        assert_eq!(streams.followed.lock().len(), FOLLOWED_PER_SESSION);
        (1..10_000).for_each(|session| streams.record(key(session), "a/msg/B", client, None, MS));
        assert_eq!(streams.followed.lock().len(), FOLLOWED);
        assert_eq!(streams.sweep(1_000 * MS).len(), SINGLES_PER_SWEEP);
    }
}
