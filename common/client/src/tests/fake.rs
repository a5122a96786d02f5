//! Scripted endpoints without a network: streams are in memory and the tests advance the time, so
//! that every run is the same.
#![allow(clippy::result_large_err, reason = "the handshake's callback is typed so")]

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::{HeaderValue, StatusCode};
use parking_lot::{Mutex, MutexGuard};
use roverline_protocol::native::{
    Binary, ClientMessage, FLAG_REPLAYED, SUBPROTOCOL, SampleHeader, ServerMessage, TopicInfo,
};
use roverline_protocol::status::{EndpointDocument, HealthStatus};
use roverline_protocol::{Delivery, Guid, Priority, SampleId, Scope, ScopeSet, Tier};
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::dial::{Dialer, Stream};
use crate::{Config, Event, Events, Link};

/// Result of a connection attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Availability {
    Open,
    /// Connection refused.
    Closed,
    /// 503, with this many seconds in `Retry-After`.
    Full(u64),
}

#[derive(Clone, Debug)]
pub(super) enum FakeCommand {
    /// The process dies.
    Kill,
    Close(u16),
    Send(ServerMessage),
    /// Sends a message over a link so slow that it takes this long.
    Trickle(ServerMessage, Duration),
}

#[derive(Debug)]
struct State {
    availability: Availability,
    suspended: bool,
    /// Answers `subscribe` with `full`.
    full: bool,
    /// Delay of the answer to `time`, with silence in the meantime.
    delay: Duration,
    /// How late the answers to `time` are, while everything else is on time.
    lag: Duration,
    /// Changes with a restart.
    started_ns: i64,
    /// Samples expire in its outbox instead of being sent.
    expiring: bool,
    /// The oldest sample it can replay.
    oldest: u64,
    /// Messages from clients, with their session.
    received: Vec<(u64, ClientMessage)>,
    queries: Vec<String>,
    sessions: u64,
}

/// One endpoint, or a series of processes at its address.
#[derive(Clone)]
pub(super) struct Fake {
    tier: Tier,
    state: Arc<Mutex<State>>,
    commands: broadcast::Sender<FakeCommand>,
    publisher: Publisher,
}

/// One writer of one topic, received by all endpoints alike.
#[derive(Clone)]
struct Publisher {
    newest: Arc<Mutex<u64>>,
    live: broadcast::Sender<u64>,
}

pub(super) struct Fixture {
    pub(super) fakes: Vec<Fake>,
    pub(super) link: Link,
    pub(super) events: Events,
    pub(super) seen: Vec<u64>,
    pub(super) replayed: usize,
}

pub(super) fn info() -> TopicInfo {
    TopicInfo {
        id: 1,
        name: "/odom".to_owned(),
        type_name: "nav_msgs/msg/Odometry".to_owned(),
        scopes: ScopeSet::of(&[Scope::State, Scope::Emergency]),
        priority: Priority::State,
        delivery: Delivery::Every,
        latched: false,
        encoding: Default::default(),
        history_depth: 1,
    }
}

impl Fixture {
    /// Endpoints that publish every 20 ms, and a link that has subscribed to everything.
    pub(super) async fn new(endpoints: usize) -> Fixture {
        let (live, _) = broadcast::channel(4_096);
        let publisher = Publisher { newest: Arc::default(), live };
        let fakes: Vec<Fake> =
            Tier::ALL.into_iter().take(endpoints).map(|tier| Fake::new(tier, publisher.clone())).collect();
        tokio::spawn(async move {
            loop {
                // The period of the samples.
                tokio::time::sleep(Duration::from_millis(20)).await;
                let mut newest = publisher.newest.lock();
                *newest += 1;
                let _ = publisher.live.send(*newest);
            }
        });
        let urls: Vec<String> = (0..endpoints).map(|i| format!("ws://rover:{}", 8080 + i)).collect();
        let config = Config::with_urls(&urls).unwrap().named("test").with_seed(7);
        let (link, events) = Link::with_dialer(config, dialer(&fakes));
        link.subscribe("/odom", None);
        let mut fixture = Fixture { fakes, link, events, seen: Vec::new(), replayed: 0 };
        fixture.failover().await;
        fixture
    }

    pub(super) async fn next(&mut self) -> Event {
        let next = tokio::time::timeout(Duration::from_secs(60), self.events.next());
        let event = next.await.expect("nothing happens").expect("the link ended");
        if let Event::Sample(sample) = &event {
            self.seen.push(sample.id.seq);
            self.replayed += usize::from(sample.replayed);
        }
        event
    }

    pub(super) async fn until<T>(&mut self, mut pick: impl FnMut(Event) -> Option<T>) -> T {
        loop {
            let event = self.next().await;
            if let Some(found) = pick(event) {
                return found;
            }
        }
    }

    pub(super) async fn failover(&mut self) -> crate::FailoverView {
        self.until(|event| match event {
            Event::Failover(view) => Some(view),
            _ => None,
        })
        .await
    }

    /// Reads events for this long.
    pub(super) async fn run(&mut self, time: Duration) -> Vec<Event> {
        let end = Instant::now() + time;
        let mut events = Vec::new();
        while let Ok(event) = tokio::time::timeout_at(end, self.next()).await {
            events.push(event);
        }
        events
    }

    /// Nothing was lost and nothing was delivered twice.
    pub(super) fn assert_complete(&self) {
        for pair in self.seen.windows(2) {
            assert_eq!(pair[1], pair[0] + 1, "in {:?}", self.seen);
        }
        assert!(!self.seen.is_empty());
    }
}

fn dialer(fakes: &[Fake]) -> Dialer {
    let by_port: HashMap<String, Fake> =
        fakes.iter().enumerate().map(|(i, fake)| (format!("rover:{}", 8080 + i), fake.clone())).collect();
    Arc::new(move |authority| {
        let fake = by_port[&authority].clone();
        Box::pin(async move {
            if fake.lock().availability == Availability::Closed {
                return Err(io::Error::from(io::ErrorKind::ConnectionRefused));
            }
            let (ours, theirs) = tokio::io::duplex(64 << 10);
            tokio::spawn(fake.serve(theirs));
            Ok(Box::new(ours) as Box<dyn Stream>)
        })
    })
}

impl Fake {
    fn new(tier: Tier, publisher: Publisher) -> Fake {
        let state = State {
            availability: Availability::Open,
            suspended: false,
            full: false,
            delay: Duration::ZERO,
            lag: Duration::ZERO,
            started_ns: 1,
            expiring: false,
            oldest: 0,
            received: Vec::new(),
            queries: Vec::new(),
            sessions: 0,
        };
        Fake { tier, state: Arc::new(Mutex::new(state)), commands: broadcast::channel(16).0, publisher }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub(super) fn set_availability(&self, availability: Availability) {
        self.lock().availability = availability;
    }

    pub(super) fn set_suspended(&self, suspended: bool) {
        self.lock().suspended = suspended;
    }

    pub(super) fn set_full(&self, full: bool) {
        self.lock().full = full;
    }

    pub(super) fn set_delay(&self, delay: Duration) {
        self.lock().delay = delay;
    }

    pub(super) fn set_lag(&self, lag: Duration) {
        self.lock().lag = lag;
    }

    pub(super) fn set_expiring(&self, expiring: bool) {
        self.lock().expiring = expiring;
    }

    pub(super) fn discard_before(&self, oldest: u64) {
        self.lock().oldest = oldest;
    }

    /// From now on another process accepts.
    pub(super) fn restart(&self) {
        self.lock().started_ns += 1;
    }

    pub(super) fn command(&self, command: FakeCommand) {
        let _ = self.commands.send(command);
    }

    /// The process dies, and connecting fails.
    pub(super) fn kill(&self) {
        self.set_availability(Availability::Closed);
        self.command(FakeCommand::Kill);
    }

    pub(super) fn received(&self) -> Vec<(u64, ClientMessage)> {
        self.lock().received.clone()
    }

    pub(super) fn queries(&self) -> Vec<String> {
        self.lock().queries.clone()
    }

    fn document(&self) -> EndpointDocument {
        EndpointDocument {
            tier: self.tier,
            port: 8080 + self.tier.port_offset(),
            scopes: self.tier.scopes(),
            status: HealthStatus::Healthy,
            reasons: Vec::new(),
            covers: Vec::new(),
            draining: false,
            warming_up: false,
            address: None,
            clients: 1,
            max_clients: 50,
            started_ns: self.lock().started_ns,
            version: "0".to_owned(),
        }
    }

    async fn serve(self, stream: DuplexStream) {
        let availability = self.lock().availability;
        let answer = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
            self.lock().queries.push(request.uri().query().unwrap_or_default().to_owned());
            if let Availability::Full(seconds) = availability {
                let mut full = ErrorResponse::new(None);
                *full.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                full.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from(seconds));
                return Err(full);
            }
            let protocol = HeaderValue::from_static(SUBPROTOCOL);
            response.headers_mut().insert(http::header::SEC_WEBSOCKET_PROTOCOL, protocol);
            Ok(response)
        };
        let Ok(socket) = tokio_tungstenite::accept_hdr_async(stream, answer).await else { return };
        let _ = self.run_session(socket).await;
    }

    async fn run_session(&self, mut socket: WebSocketStream<DuplexStream>) -> Option<()> {
        let session = {
            let mut state = self.lock();
            state.sessions += 1;
            state.sessions
        };
        let (mut live, mut commands) = (self.publisher.live.subscribe(), self.commands.subscribe());
        let endpoint = self.document();
        send_message(
            &mut socket,
            &ServerMessage::Hello {
                protocol: 1,
                endpoint,
                session,
                heartbeat_ms: 100,
                time_ns: 0,
                traces: true,
                client: None,
            },
        )
        .await?;
        let mut heartbeat = tokio::time::interval(Duration::from_millis(100));
        let (mut subscribed, mut sent, mut resume) = (false, 0, None);
        let mut answers = VecDeque::<(Instant, ServerMessage)>::new();
        loop {
            while self.lock().suspended {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let due = answers.front().map_or_else(Instant::now, |(due, _)| *due);
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(due), if !answers.is_empty() => {
                    let (_, time) = answers.pop_front()?;
                    send_message(&mut socket, &time).await?;
                }
                command = commands.recv() => match command.ok()? {
                    FakeCommand::Kill => return None,
                    FakeCommand::Close(code) => {
                        let frame = CloseFrame { code: CloseCode::from(code), reason: "bye".into() };
                        let _ = socket.close(Some(frame)).await;
                        return None;
                    }
                    FakeCommand::Send(message) => send_message(&mut socket, &message).await?,
                    FakeCommand::Trickle(message, lasts) => trickle(&mut socket, &message, lasts).await?,
                },
                message = socket.next() => {
                    let Message::Text(text) = message?.ok()? else { continue };
                    let message: ClientMessage = serde_json::from_str(text.as_str()).unwrap();
                    self.lock().received.push((session, message.clone()));
                    match message {
                        ClientMessage::Time { t0_ns } => {
                            let delay = self.lock().delay;
                            let lag = self.lock().lag;
                            tokio::time::sleep(delay).await;
                            let time = ServerMessage::Time { t0_ns, t1_ns: t0_ns, t2_ns: t0_ns };
                            answers.push_back((Instant::now() + lag, time));
                        }
                        ClientMessage::Resume { cursors, .. } => {
                            resume = Some(cursors.first().map_or(0, |cursor| cursor.seq));
                        }
                        ClientMessage::Unsubscribe { .. } => subscribed = false,
                        ClientMessage::Subscribe { id, scopes, .. } if scopes.is_none() && self.lock().full => {
                            let status = serde_json::json!({
                                "op": "status", "level": "error", "code": "full", "message": "full",
                            });
                            let _ = id;
                            socket.send(Message::text(status.to_string())).await.ok()?;
                        }
                        ClientMessage::Subscribe { id, .. } => {
                            subscribed = true;
                            send_message(&mut socket, &ServerMessage::Topics { up: vec![info()], down: Vec::new() }).await?;
                            send_message(&mut socket, &ServerMessage::Subscribed { id, matching: 1 }).await?;
                            sent = *self.publisher.newest.lock();
                            if let Some(have) = resume {
                                self.replay(&mut socket, have, sent).await?;
                            }
                        }
                        _ => {}
                    }
                }
                seq = live.recv() => if let Ok(seq) = seq && subscribed && seq > sent && !self.lock().expiring {
                    sample(&mut socket, seq, 0).await?;
                },
                _ = heartbeat.tick() => {
                    let beat = Binary::heartbeat(0, 0).to_vec();
                    socket.send(Message::binary(beat)).await.ok()?;
                }
            }
        }
    }

    async fn replay(&self, socket: &mut WebSocketStream<DuplexStream>, have: u64, newest: u64) -> Option<()> {
        let first = (have + 1).max(self.lock().oldest);
        let gap = roverline_protocol::native::Gap { topic: 1, source: source(), after: have, before: first };
        let gaps = if gap.count() > 0 { vec![gap] } else { Vec::new() };
        let replayed = (newest + 1).saturating_sub(first);
        send_message(socket, &ServerMessage::Resumed { replayed, gaps }).await?;
        for seq in first..=newest {
            sample(socket, seq, FLAG_REPLAYED).await?;
        }
        Some(())
    }
}

fn source() -> Guid {
    Guid::from_name("/odom")
}

async fn send_message(socket: &mut WebSocketStream<DuplexStream>, message: &ServerMessage) -> Option<()> {
    socket.send(Message::text(serde_json::to_string(message).unwrap())).await.ok()
}

/// A frame (RFC 6455, section 5.2) byte by byte.
async fn trickle(
    socket: &mut WebSocketStream<DuplexStream>,
    message: &ServerMessage,
    lasts: Duration,
) -> Option<()> {
    let text = serde_json::to_string(message).unwrap();
    let length = u16::try_from(text.len()).unwrap().to_be_bytes();
    let frame = [&[0x81, 126], length.as_slice(), text.as_bytes()].concat();
    let pause = lasts.div_f64(frame.len() as f64);
    for byte in frame {
        socket.get_mut().write_all(&[byte]).await.ok()?;
        tokio::time::sleep(pause).await;
    }
    Some(())
}

async fn sample(socket: &mut WebSocketStream<DuplexStream>, seq: u64, flags: u8) -> Option<()> {
    let id = SampleId { source: source(), seq };
    let header = SampleHeader { flags, topic: 1, id, source_time_ns: 0, receive_time_ns: 0 };
    socket.send(Message::binary(header.to_bytes().to_vec())).await.ok()
}
