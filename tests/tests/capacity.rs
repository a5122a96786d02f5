//! Capacity: the client limit, standbys that do not count, and clients that have lost their endpoint.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::time::Duration;

use roverline_client::{Config, Event, Events, Link};
use roverline_protocol::native::{ClientMessage, Cursor, Level, ServerMessage};
use roverline_protocol::status::{EventKind, SessionDocument};
use roverline_protocol::{Guid, Scope, ScopeSet, Tier};
use roverline_tests::gateway::Gateway;
use roverline_tests::http::{self, exchange};
use roverline_tests::native::{NativeClient, Received};
use roverline_tests::plain::PlainClient;
use roverline_tests::process::{self, Signal};
use roverline_tests::raw;
use roverline_tests::wait::eventually;

fn subscribe(scopes: Option<ScopeSet>) -> ClientMessage {
    ClientMessage::Subscribe { id: Some(1), topics: vec!["**".to_owned()], max_rate_hz: None, scopes }
}

/// Subscribes to everything; the error message if it is refused.
async fn try_subscribe(client: &mut NativeClient, scopes: Option<ScopeSet>) -> Result<(), String> {
    client.send(&subscribe(scopes)).await;
    loop {
        match client.next().await {
            Received::Text(message) => match *message {
                ServerMessage::Subscribed { .. } => return Ok(()),
                ServerMessage::Status { level: Level::Error, code, message } => {
                    assert_eq!(code, "full");
                    return Err(message);
                }
                _ => {}
            },
            Received::Closed(code) => panic!("closed with {code}"),
            _ => {}
        }
    }
}

/// The cursor of the next sample.
async fn cursor_of(client: &mut NativeClient) -> Cursor {
    loop {
        if let Received::Sample(_, header, _) = client.next().await {
            return Cursor { source: header.id.source, seq: header.id.seq };
        }
    }
}

fn standbys(port: u16) -> usize {
    http::status(port).sessions.iter().filter(|session: &&SessionDocument| session.standby).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_51st_client_is_refused_and_200_standbys_do_not_count() {
    let gateway = Gateway::serve(&["--source", "sim"]);
    let port = gateway.first_port();
    let mut waiting = Vec::new();
    for _ in 0..200 {
        waiting.push(NativeClient::standby(port).await);
    }
    assert_eq!(http::health(port).endpoint.clients, 0);
    assert_eq!(standbys(port), 200);
    let mut clients = Vec::new();
    for _ in 0..50 {
        clients.push(PlainClient::connect(port).await);
    }
    let refused = exchange(port, raw::handshake("/").as_bytes());
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")), "{refused:?}");
    assert!(refused.body.contains("50 clients are connected"), "{refused:?}");

    // A standby may subscribe to urgent scopes; everything else needs a client's slot, and none is free.
    let mut standby = waiting.pop().unwrap();
    try_subscribe(&mut standby, Some(ScopeSet::of(&[Scope::Emergency]))).await.unwrap();
    let why = try_subscribe(&mut standby, None).await.unwrap_err();
    assert!(why.contains("50 is all"), "{why}");
    // The claim that it has lost its endpoint is not enough.
    let resume = |cursors| ClientMessage::Resume { cursors, age_ms: 100, traceparent: None };
    standby.send(&resume(Vec::new())).await;
    assert!(try_subscribe(&mut standby, None).await.is_err(), "no cursor");
    standby.send(&resume(vec![Cursor { source: Guid([9; 16]), seq: 7 }])).await;
    assert!(try_subscribe(&mut standby, None).await.is_err(), "a cursor of nobody");
    // Exception: it has, and its cursors are of the rover's writers.
    let Cursor { source, seq } = cursor_of(&mut standby).await;
    standby.send(&resume(vec![Cursor { source, seq }])).await;
    try_subscribe(&mut standby, None).await.unwrap();
    assert_eq!((http::health(port).endpoint.clients, standbys(port)), (51, 199));
    // It returns the slot when it goes back to urgent scopes.
    try_subscribe(&mut standby, Some(ScopeSet::of(&[Scope::Emergency]))).await.unwrap();
    eventually("the slot to be free", Duration::from_secs(5), || standbys(port) == 200);
    standby.send(&ClientMessage::Unsubscribe { topics: vec!["**".to_owned()] }).await;

    drop(clients);
    eventually("free slots", Duration::from_secs(10), || http::health(port).endpoint.clients == 0);
    try_subscribe(&mut standby, None).await.unwrap();
    let status = http::status(port);
    assert_eq!((status.counters.refused_full, status.health.endpoint.clients), (4, 1));
    let full = status.events.iter().filter(|event| event.kind == EventKind::Full).count();
    assert_eq!(full, 1, "refusals in quick succession are one event");
}

#[test]
fn a_refused_client_learns_the_alternatives() {
    let gateway = Gateway::up(&["--source", "sim", "--max-clients", "1"]);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let port = gateway.port(Tier::Primary);
    let _client = runtime.block_on(PlainClient::connect(port));
    eventually("alternatives", Duration::from_secs(15), || {
        let refused = exchange(port, raw::handshake("/").as_bytes());
        assert_eq!(refused.status, 503, "{refused:?}");
        let problem: serde_json::Value = serde_json::from_str(&refused.body).unwrap();
        problem["alternatives"].as_array().unwrap().len() == 3
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_console_gets_no_place_of_the_reserve() {
    let gateway = Gateway::up(&["--source", "sim", "--max-clients", "1"]);
    let urls = gateway.urls();
    let open = |name: &str| {
        let (link, events) = Link::open(Config::with_urls(&urls).unwrap().named(name));
        link.subscribe("**", None);
        (link, events)
    };
    let (_first, mut first_events) = open("first");
    until_in_use(&mut first_events, &urls[0]).await;
    let (_second, mut second_events) = open("second");
    // The tertiary serves more scopes than the secondary.
    until_in_use(&mut second_events, &urls[2]).await;
    // It prefers the primary, and tries it again after five seconds.
    let end = tokio::time::Instant::now() + Duration::from_secs(8);
    loop {
        let event = tokio::select! {
            event = second_events.next() => event.unwrap(),
            _ = first_events.next() => continue,
            () = tokio::time::sleep_until(end) => break,
        };
        assert!(!matches!(event, Event::Failover(_)), "{event:?}");
    }
    assert_eq!(http::health(gateway.port(Tier::Primary)).endpoint.clients, 1);
    // The first one has lost its endpoint: the full one takes it.
    process::signal(gateway.endpoint_pid(Tier::Primary), Signal::KILL);
    let drained = tokio::spawn(async move { while second_events.next().await.is_some() {} });
    until_in_use(&mut first_events, &urls[2]).await;
    assert_eq!(http::health(gateway.port(Tier::Tertiary)).endpoint.clients, 2);
    drained.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_console_beyond_all_slots_waits_for_a_free_one() {
    let gateway = Gateway::up(&["--source", "sim", "--max-clients", "1"]);
    let urls = gateway.urls();
    let open = |name: String| {
        let (link, events) = Link::open(Config::with_urls(&urls).unwrap().named(&name));
        link.subscribe("**", None);
        (link, events)
    };
    let mut served = Vec::new();
    for at in 0..4 {
        let (link, mut events) = open(format!("console {at}"));
        // Which endpoint it is depends on which sources have started.
        until_served(&mut events).await;
        let drained = tokio::spawn(async move { while events.next().await.is_some() {} });
        served.push((link, drained));
    }
    let (_last, mut events) = open("last".to_owned());
    let end = tokio::time::Instant::now() + Duration::from_secs(8);
    let mut is_reported = false;
    loop {
        let event = tokio::select! {
            event = events.next() => event.unwrap(),
            () = tokio::time::sleep_until(end) => break,
        };
        match event {
            Event::Endpoints(views) => is_reported |= views.iter().all(|view| view.full),
            Event::Failover(failover) => assert_eq!(failover.to, None, "{failover:?}"),
            _ => {}
        }
    }
    assert!(is_reported, "all of them are full");
    for tier in Tier::ALL {
        assert_eq!(http::health(gateway.port(tier)).endpoint.clients, 1, "{tier}");
    }
    let (link, drained) = served.remove(1);
    drained.abort();
    drop(link);
    // Others may move to the free slot first, and leave theirs.
    until_served(&mut events).await;
}

async fn until_served(events: &mut Events) {
    let served = async {
        while let Some(event) = events.next().await {
            if matches!(event, Event::Failover(failover) if failover.to.is_some()) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), served).await.unwrap();
}

async fn until_in_use(events: &mut Events, url: &str) {
    let in_use = async {
        while let Some(event) = events.next().await {
            if matches!(event, Event::Failover(view) if view.to.as_deref() == Some(url)) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(15), in_use).await.unwrap();
}
