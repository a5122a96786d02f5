//! Endpoints that do as they are told, without a network: streams are in memory and time is wound
//! on by the tests, so that every run is the same.
#![allow(clippy::result_large_err, reason = "the handshake's callback is typed so")]

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::{HeaderValue, StatusCode};
use roverline_protocol::native::{
    Binary, ClientMessage, FLAG_REPLAYED, SUBPROTOCOL, SampleHeader, ServerMessage, TopicInfo,
};
use roverline_protocol::status::{EndpointDocument, HealthStatus};
use roverline_protocol::{Delivery, Guid, Priority, SampleId, Scope, ScopeSet, Tier};
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::sync::broadcast;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::dial::{Dialer, Stream};
use crate::{Config, Event, Events, Link};

/// What a connection attempt finds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Door {
    Open,
    /// Nobody listens.
    Closed,
    /// 503, with this many seconds to wait.
    Full(u64),
}

#[derive(Clone, Debug)]
pub(super) enum Order {
    /// The process is gone.
    Kill,
    Close(u16),
    Say(ServerMessage),
    /// Says something over a link so slow that it takes this long.
    Trickle(ServerMessage, Duration),
}

#[derive(Debug)]
struct State {
    door: Door,
    stopped: bool,
    /// Answers `subscribe` with `full`.
    crowded: bool,
    /// Takes so long to tell the time, and says nothing meanwhile.
    late: Duration,
    /// Changes with a restart.
    started_ns: i64,
    /// The oldest sample it can replay.
    oldest: u64,
    /// What clients said, and in which session.
    heard: Vec<(u64, ClientMessage)>,
    queries: Vec<String>,
    sessions: u64,
}

/// One endpoint, or a series of processes at its address.
#[derive(Clone)]
pub(super) struct Fake {
    tier: Tier,
    state: Arc<Mutex<State>>,
    orders: broadcast::Sender<Order>,
    bus: Bus,
}

/// One writer of one topic, heard by all endpoints alike.
#[derive(Clone)]
struct Bus {
    newest: Arc<Mutex<u64>>,
    live: broadcast::Sender<u64>,
}

pub(super) struct World {
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
    }
}

impl World {
    /// Two endpoints that publish every 20 ms, and a link that has subscribed to all of it.
    pub(super) async fn new(endpoints: usize) -> World {
        let (live, _) = broadcast::channel(4_096);
        let bus = Bus { newest: Arc::default(), live };
        let fakes: Vec<Fake> =
            Tier::ALL.into_iter().take(endpoints).map(|tier| Fake::new(tier, bus.clone())).collect();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let mut newest = bus.newest.lock().unwrap();
                *newest += 1;
                let _ = bus.live.send(*newest);
            }
        });
        let urls: Vec<String> = (0..endpoints).map(|i| format!("ws://rover:{}", 8080 + i)).collect();
        let config = Config::with_urls(&urls).unwrap().named("test").seeded(7);
        let (link, events) = Link::over(config, dialer(&fakes));
        link.subscribe("/odom", None);
        let mut world = World { fakes, link, events, seen: Vec::new(), replayed: 0 };
        world.failover().await;
        world
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

    /// Reads on for a while.
    pub(super) async fn run(&mut self, time: Duration) -> Vec<Event> {
        let end = tokio::time::Instant::now() + time;
        let mut events = Vec::new();
        while let Ok(event) = tokio::time::timeout_at(end, self.next()).await {
            events.push(event);
        }
        events
    }

    /// Nothing was lost, nothing came twice.
    pub(super) fn assert_whole(&self) {
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
            if fake.lock().door == Door::Closed {
                return Err(io::Error::from(io::ErrorKind::ConnectionRefused));
            }
            let (ours, theirs) = tokio::io::duplex(64 << 10);
            tokio::spawn(fake.serve(theirs));
            Ok(Box::new(ours) as Box<dyn Stream>)
        })
    })
}

impl Fake {
    fn new(tier: Tier, bus: Bus) -> Fake {
        let state = State {
            door: Door::Open,
            stopped: false,
            crowded: false,
            late: Duration::ZERO,
            started_ns: 1,
            oldest: 0,
            heard: Vec::new(),
            queries: Vec::new(),
            sessions: 0,
        };
        Fake { tier, state: Arc::new(Mutex::new(state)), orders: broadcast::channel(16).0, bus }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn door(&self, door: Door) {
        self.lock().door = door;
    }

    pub(super) fn stop(&self, stopped: bool) {
        self.lock().stopped = stopped;
    }

    pub(super) fn crowded(&self, crowded: bool) {
        self.lock().crowded = crowded;
    }

    pub(super) fn late(&self, late: Duration) {
        self.lock().late = late;
    }

    pub(super) fn forget_until(&self, oldest: u64) {
        self.lock().oldest = oldest;
    }

    /// From now on another process accepts.
    pub(super) fn restarted(&self) {
        self.lock().started_ns += 1;
    }

    pub(super) fn order(&self, order: Order) {
        let _ = self.orders.send(order);
    }

    /// Gone, and nobody listens.
    pub(super) fn die(&self) {
        self.door(Door::Closed);
        self.order(Order::Kill);
    }

    pub(super) fn heard(&self) -> Vec<(u64, ClientMessage)> {
        self.lock().heard.clone()
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
            address: None,
            clients: 1,
            max_clients: 50,
            started_ns: self.lock().started_ns,
            version: "0".to_owned(),
        }
    }

    async fn serve(self, stream: DuplexStream) {
        let door = self.lock().door;
        let answer = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
            self.lock().queries.push(request.uri().query().unwrap_or_default().to_owned());
            if let Door::Full(seconds) = door {
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
        let _ = self.speak(socket).await;
    }

    async fn speak(&self, mut socket: WebSocketStream<DuplexStream>) -> Option<()> {
        let session = {
            let mut state = self.lock();
            state.sessions += 1;
            state.sessions
        };
        let (mut live, mut orders) = (self.bus.live.subscribe(), self.orders.subscribe());
        let endpoint = self.document();
        say(
            &mut socket,
            &ServerMessage::Hello { protocol: 1, endpoint, session, heartbeat_ms: 100, time_ns: 0 },
        )
        .await?;
        let mut heartbeat = tokio::time::interval(Duration::from_millis(100));
        let (mut subscribed, mut sent, mut resume) = (false, 0, None);
        loop {
            while self.lock().stopped {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::select! {
                biased;
                order = orders.recv() => match order.ok()? {
                    Order::Kill => return None,
                    Order::Close(code) => {
                        let frame = CloseFrame { code: CloseCode::from(code), reason: "bye".into() };
                        let _ = socket.close(Some(frame)).await;
                        return None;
                    }
                    Order::Say(message) => say(&mut socket, &message).await?,
                    Order::Trickle(message, lasts) => trickle(&mut socket, &message, lasts).await?,
                },
                message = socket.next() => {
                    let Message::Text(text) = message?.ok()? else { continue };
                    let message: ClientMessage = serde_json::from_str(text.as_str()).unwrap();
                    self.lock().heard.push((session, message.clone()));
                    match message {
                        ClientMessage::Time { t0_ns } => {
                            let late = self.lock().late;
                            tokio::time::sleep(late).await;
                            let time = ServerMessage::Time { t0_ns, t1_ns: t0_ns, t2_ns: t0_ns };
                            say(&mut socket, &time).await?;
                        }
                        ClientMessage::Resume { cursors, .. } => {
                            resume = Some(cursors.first().map_or(0, |cursor| cursor.seq));
                        }
                        ClientMessage::Unsubscribe { .. } => subscribed = false,
                        ClientMessage::Subscribe { id, scopes, .. } if scopes.is_none() && self.lock().crowded => {
                            let status = serde_json::json!({
                                "op": "status", "level": "error", "code": "full", "message": "full",
                            });
                            let _ = id;
                            socket.send(Message::text(status.to_string())).await.ok()?;
                        }
                        ClientMessage::Subscribe { id, .. } => {
                            subscribed = true;
                            say(&mut socket, &ServerMessage::Topics { up: vec![info()], down: Vec::new() }).await?;
                            say(&mut socket, &ServerMessage::Subscribed { id, matching: 1 }).await?;
                            sent = *self.bus.newest.lock().unwrap();
                            if let Some(have) = resume {
                                self.replay(&mut socket, have, sent).await?;
                            }
                        }
                        _ => {}
                    }
                }
                seq = live.recv() => if let Ok(seq) = seq && subscribed && seq > sent {
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
        say(socket, &ServerMessage::Resumed { replayed, gaps }).await?;
        for seq in first..=newest {
            sample(socket, seq, FLAG_REPLAYED).await?;
        }
        Some(())
    }
}

fn source() -> Guid {
    Guid::from_name("/odom")
}

async fn say(socket: &mut WebSocketStream<DuplexStream>, message: &ServerMessage) -> Option<()> {
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
