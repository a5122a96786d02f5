//! What a link asks and watches, while endpoints are killed, frozen and replaced under it: the newest
//! is always told, and each request is answered or said to be lost.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use roverline_client::{Config, Event, Events, Link, REQUEST_LOST};
use roverline_protocol::Tier;
use roverline_tests::gateway::{self, Gateway};
use roverline_tests::http;
use roverline_tests::process::{self, Guard, Signal};
use roverline_tests::wait::{eventually, within};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);
const JSON: &str = "Content-Type: application/json\r\n";

struct Stage {
    gateway: Gateway,
    link: Link,
    events: Events,
    goal: u64,
    locks: u64,
    /// The last answer to each.
    told: BTreeMap<u64, (u16, Value)>,
    /// The endpoint in use.
    used: Option<String>,
}

impl Stage {
    async fn set() -> Stage {
        let gateway = Gateway::up(&["--source", "sim"]);
        put(gateway.port(Tier::Emergency), 0);
        let (link, events) = Link::open(Config::with_urls(&gateway.urls()).unwrap());
        let (goal, locks) = (link.watch("/api/v2/kv/goal"), link.watch("/api/v2/locks"));
        let mut stage = Stage { gateway, link, events, goal, locks, told: BTreeMap::new(), used: None };
        let primary = stage.gateway.urls()[0].clone();
        stage.until("the primary is used", |stage| stage.used.as_ref() == Some(&primary)).await;
        stage.shows(0).await;
        stage
    }

    async fn until(&mut self, what: &str, is_so: impl Fn(&Stage) -> bool) {
        let start = Instant::now();
        while !is_so(self) {
            assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}; {:?}", self.told);
            match within(what, PATIENCE, self.events.next()).await.unwrap() {
                Event::Response { id, status, body } => drop(self.told.insert(id, (status, body))),
                Event::Failover(view) => self.used = view.to,
                _ => {}
            }
        }
    }

    /// Waits until the watch shows this value.
    async fn shows(&mut self, n: u64) {
        let goal = self.goal;
        self.until(&format!("goal {n}"), |stage| {
            stage.told.get(&goal).is_some_and(|(_, body)| body["value"] == n)
        })
        .await;
    }

    async fn answered(&mut self, id: u64) -> (u16, Value) {
        self.until(&format!("an answer to {id}"), |stage| stage.told.contains_key(&id)).await;
        self.told.remove(&id).unwrap()
    }

    /// Asks for what is not answered for a while.
    fn wait_for_lock(&self, client: &str, wait_ms: u64) -> u64 {
        let wish = json!({"client": client, "mode": "exclusive", "ttl_ms": 6_000, "wait_ms": wait_ms});
        self.link.ask("POST", "/api/v2/locks/arm/acquire", Some(wish))
    }

    async fn waits(&mut self, client: &str) {
        let locks = self.locks;
        self.until("its place", |stage| {
            let seen = &stage.told.get(&locks).unwrap_or(&(0, Value::Null)).1["locks"][0]["waiting"];
            seen.as_array().is_some_and(|all| all.iter().any(|one| one["client"] == client))
        })
        .await;
    }
}

fn put(port: u16, n: u64) {
    let sent = http::request(port, "PUT", "/api/v2/kv/goal", JSON, &n.to_string());
    assert_eq!(sent.status, 200, "{sent:?}");
}

fn hold(port: u16) {
    let wish = r#"{"client":"holder","mode":"exclusive","ttl_ms":600000}"#;
    let held = http::request(port, "POST", "/api/v2/locks/arm/acquire", JSON, wish);
    assert_eq!(held.status, 200, "{held:?}");
}

fn nobody_waits(port: u16) {
    eventually("its place is given up", PATIENCE, || {
        let lock: Value = serde_json::from_str(&http::get(port, "/locks/arm").body).unwrap();
        lock["waiting"] == json!([])
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_go_on_when_endpoints_are_killed_and_frozen() {
    let mut stage = Stage::set().await;
    let other = stage.gateway.port(Tier::Emergency);
    hold(other);
    for (n, harm) in [(1, Signal::KILL), (2, Signal::STOP), (3, Signal::KILL)] {
        // Of what may have been done it is said; what only reads is asked again.
        let client = format!("c{n}");
        let pending = stage.wait_for_lock(&client, 25_000);
        stage.waits(&client).await;
        let pid = stage.gateway.endpoint_pid(Tier::Primary);
        process::signal(pid, harm);
        let read = stage.link.ask("GET", "/api/v2/kv/goal?linearizable=true", None);
        put(other, n * 10);
        stage.shows(n * 10).await;
        let (status, lost) = stage.answered(pending).await;
        assert_eq!((status, &lost["status"]), (REQUEST_LOST, &REQUEST_LOST.into()), "{lost}");
        let (status, value) = stage.answered(read).await;
        assert_eq!((status, value["key"].as_str()), (200, Some("goal")), "{value}");
        // Who waited at a process that is gone waits no longer.
        tokio::task::spawn_blocking(move || nobody_waits(other)).await.unwrap();
        put(other, n * 10 + 1);
        stage.shows(n * 10 + 1).await;
        let primary = stage.gateway.urls()[0].clone();
        stage.until("it is used again", |stage| stage.used.as_ref() == Some(&primary)).await;
        put(other, n * 10 + 2);
        stage.shows(n * 10 + 2).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_outlive_a_rolling_restart_or_are_said_to_be_lost() {
    let mut stage = Stage::set().await;
    let (other, first) = (stage.gateway.port(Tier::Emergency), stage.gateway.port(Tier::Primary));
    hold(other);
    let pid = stage.gateway.endpoint_pid(Tier::Primary);
    let pending = stage.wait_for_lock("dan", 29_000);
    stage.waits("dan").await;
    // The same over HTTP: an answer, or none; but not one that is wrong.
    let over_http = std::thread::spawn(move || {
        let wish = r#"{"client":"eva","mode":"exclusive","ttl_ms":6000,"wait_ms":29000}"#;
        http::request(first, "POST", "/api/v2/locks/arm/acquire", JSON, wish).status
    });
    stage.waits("eva").await;
    let mut command = gateway::command(&["restart", "--rolling"]);
    command.arg("--state").arg(stage.gateway.state());
    let mut restart = Guard(command.stdout(Stdio::null()).spawn().unwrap());
    let (mut n, mut asked) = (100, Vec::new());
    let start = Instant::now();
    while restart.0.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < Duration::from_secs(90), "the restart does not end");
        n += 1;
        put(other_or_any(&stage.gateway), n);
        asked.push((stage.link.ask("GET", "/locks", None), false));
        let queue = json!({"queue_name": "q", "message": n});
        asked.push((stage.link.ask("POST", "/queue/enqueue", Some(queue)), true));
        stage.shows(n).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(restart.0.wait().unwrap().success());
    assert_ne!(stage.gateway.endpoint_pid(Tier::Primary), pid);
    let (mut done, mut lost) = (0, 0);
    for (id, writes) in asked {
        match stage.answered(id).await.0 {
            200 => done += 1,
            REQUEST_LOST if writes => lost += 1,
            other => panic!("{other}"),
        }
    }
    println!("{done} answered, {lost} lost, {n} values shown");
    assert!(done > 5);
    let (status, said) = stage.answered(pending).await;
    assert!(status == REQUEST_LOST || status == 200, "{status} {said}");
    let over_http = over_http.join().unwrap();
    assert!([0, 200, 503].contains(&over_http), "{over_http}");
    let any = other_or_any(&stage.gateway);
    tokio::task::spawn_blocking(move || nobody_waits(any)).await.unwrap();
    // What was said to be done is there, once.
    let status: Value = serde_json::from_str(&http::get(any, "/queue/status/q").body).unwrap();
    let size = status["size"].as_u64().unwrap();
    assert!(size >= done / 2 && size <= done / 2 + lost + 1, "{size} of {done} {lost}");
}

/// An endpoint that accepts.
fn other_or_any(gateway: &Gateway) -> u16 {
    let mut ports = gateway.endpoints.iter().rev().map(|(_, port)| *port);
    ports.find(|port| http::get(*port, "/health").status == 200).unwrap()
}
