//! Requests and watches of a link while endpoints are killed, frozen and replaced: a watch always reports the
//! newest value, and every request is answered or reported as lost.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use roverline_client::{Config, Event, Events, Link, REQUEST_LOST, TlsOptions};
use roverline_protocol::Tier;
use roverline_tests::certs::Certs;
use roverline_tests::gateway::{self, Gateway};
use roverline_tests::http;
use roverline_tests::process::{self, Guard, Signal};
use roverline_tests::wait::{eventually, observe_for_async, within};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);
const JSON: &str = "Content-Type: application/json\r\n";

struct Scenario {
    gateway: Gateway,
    link: Link,
    events: Events,
    goal: u64,
    locks: u64,
    /// The URL of the primary endpoint.
    primary: String,
    /// The last response per id.
    responses: BTreeMap<u64, (u16, Value)>,
    /// The endpoint in use.
    used: Option<String>,
}

impl Scenario {
    async fn start() -> Scenario {
        let gateway = Gateway::up(&["--source", "sim"]);
        let config = Config::with_urls(&gateway.urls()).unwrap();
        Scenario::with_link(gateway, config).await
    }

    async fn start_over_tls(certs: &Certs) -> Scenario {
        let gateway = Gateway::up(&["--source", "sim", "--config", &certs.config("rover", "")]);
        let tls = TlsOptions { ca: Some(certs.path("ca.crt")), ..TlsOptions::default() };
        let config = Config::with_urls(&gateway.urls()).unwrap().over_tls().with_tls(tls).unwrap();
        Scenario::with_link(gateway, config).await
    }

    async fn with_link(gateway: Gateway, config: Config) -> Scenario {
        put(gateway.port(Tier::Emergency), 0);
        let primary = config.endpoints[0].clone();
        let (link, events) = Link::open(config);
        let (goal, locks) = (link.watch("/api/v2/kv/goal"), link.watch("/api/v2/locks"));
        let mut scenario =
            Scenario { gateway, link, events, goal, locks, primary, responses: BTreeMap::new(), used: None };
        let primary = scenario.primary.clone();
        scenario.until("the primary is used", |scenario| scenario.used.as_ref() == Some(&primary)).await;
        scenario.wait_for_goal(0).await;
        scenario
    }

    async fn until(&mut self, what: &str, condition: impl Fn(&Scenario) -> bool) {
        let start = Instant::now();
        while !condition(self) {
            assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}; {:?}", self.responses);
            match within(what, PATIENCE, self.events.next()).await.unwrap() {
                Event::Response { id, status, body } => drop(self.responses.insert(id, (status, body))),
                Event::Failover(view) => self.used = view.to,
                _ => {}
            }
        }
    }

    /// Waits until the watch shows this value.
    async fn wait_for_goal(&mut self, n: u64) {
        let goal = self.goal;
        self.until(&format!("goal {n}"), |scenario| {
            scenario.responses.get(&goal).is_some_and(|(_, body)| body["value"] == n)
        })
        .await;
    }

    async fn response(&mut self, id: u64) -> (u16, Value) {
        self.until(&format!("an answer to {id}"), |scenario| scenario.responses.contains_key(&id)).await;
        self.responses.remove(&id).unwrap()
    }

    /// Sends a request that is not answered for a while.
    fn wait_for_lock(&self, client: &str, wait_ms: u64) -> u64 {
        let body = json!({"client": client, "mode": "exclusive", "ttl_ms": 6_000, "wait_ms": wait_ms});
        self.link.request("POST", "/api/v2/locks/arm/acquire", Some(body))
    }

    async fn wait_until_queued(&mut self, client: &str) {
        let locks = self.locks;
        self.until("its position in the queue", |scenario| {
            let seen = &scenario.responses.get(&locks).unwrap_or(&(0, Value::Null)).1["locks"][0]["waiting"];
            seen.as_array().is_some_and(|all| all.iter().any(|one| one["client"] == client))
        })
        .await;
    }
}

fn put(port: u16, n: u64) {
    let sent = http::request(port, "PUT", "/api/v2/kv/goal", JSON, &n.to_string());
    assert_eq!(sent.status, 200, "{sent:?}");
}

fn acquire_lock(port: u16) {
    let body = r#"{"client":"holder","mode":"exclusive","ttl_ms":600000}"#;
    let held = http::request(port, "POST", "/api/v2/locks/arm/acquire", JSON, body);
    assert_eq!(held.status, 200, "{held:?}");
}

fn wait_until_no_waiter(port: u16) {
    eventually("no client waits", PATIENCE, || {
        let lock: Value = serde_json::from_str(&http::get(port, "/locks/arm").body).unwrap();
        lock["waiting"] == json!([])
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_survive_killed_and_frozen_endpoints() {
    watches_survive_faults(Scenario::start().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_survive_killed_and_frozen_endpoints_over_tls() {
    let certs = Certs::with_node("rover");
    watches_survive_faults(Scenario::start_over_tls(&certs).await).await;
}

async fn watches_survive_faults(mut scenario: Scenario) {
    let other = scenario.gateway.port(Tier::Emergency);
    acquire_lock(other);
    for (n, fault) in [(1, Signal::KILL), (2, Signal::STOP), (3, Signal::KILL)] {
        // A request that may have taken effect is reported as lost; a read-only one is repeated.
        let client = format!("c{n}");
        let pending = scenario.wait_for_lock(&client, 25_000);
        scenario.wait_until_queued(&client).await;
        let pid = scenario.gateway.endpoint_pid(Tier::Primary);
        process::signal(pid, fault);
        let read = scenario.link.request("GET", "/api/v2/kv/goal?linearizable=true", None);
        put(other, n * 10);
        scenario.wait_for_goal(n * 10).await;
        let (status, lost) = scenario.response(pending).await;
        assert_eq!((status, &lost["status"]), (REQUEST_LOST, &REQUEST_LOST.into()), "{lost}");
        let (status, value) = scenario.response(read).await;
        assert_eq!((status, value["key"].as_str()), (200, Some("goal")), "{value}");
        // The waiter of a process that is gone is removed.
        tokio::task::spawn_blocking(move || wait_until_no_waiter(other)).await.unwrap();
        put(other, n * 10 + 1);
        scenario.wait_for_goal(n * 10 + 1).await;
        let primary = scenario.primary.clone();
        scenario.until("it is used again", |scenario| scenario.used.as_ref() == Some(&primary)).await;
        put(other, n * 10 + 2);
        scenario.wait_for_goal(n * 10 + 2).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_survive_a_rolling_restart_or_are_reported_as_lost() {
    let mut scenario = Scenario::start().await;
    let (other, first) = (scenario.gateway.port(Tier::Emergency), scenario.gateway.port(Tier::Primary));
    acquire_lock(other);
    let pid = scenario.gateway.endpoint_pid(Tier::Primary);
    let pending = scenario.wait_for_lock("dan", 29_000);
    scenario.wait_until_queued("dan").await;
    // The same over HTTP: a response or none, but not a wrong one.
    let over_http = std::thread::spawn(move || {
        let body = r#"{"client":"eva","mode":"exclusive","ttl_ms":6000,"wait_ms":29000}"#;
        http::request(first, "POST", "/api/v2/locks/arm/acquire", JSON, body).status
    });
    scenario.wait_until_queued("eva").await;
    let mut command = gateway::command(&["restart", "--rolling"]);
    command.arg("--state").arg(scenario.gateway.state());
    let mut restart = Guard(command.stdout(Stdio::null()).spawn().unwrap());
    let (mut n, mut requests) = (100, Vec::new());
    let start = Instant::now();
    while restart.0.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < Duration::from_secs(90), "the restart does not end");
        n += 1;
        put(accepting_port(&scenario.gateway), n);
        requests.push((scenario.link.request("GET", "/locks", None), false));
        let queue = json!({"queue_name": "q", "message": n});
        requests.push((scenario.link.request("POST", "/queue/enqueue", Some(queue)), true));
        scenario.wait_for_goal(n).await;
        observe_for_async(Duration::from_millis(100), "the rhythm of the requests").await;
    }
    assert!(restart.0.wait().unwrap().success());
    assert_ne!(scenario.gateway.endpoint_pid(Tier::Primary), pid);
    let (mut done, mut lost) = (0, 0);
    for (id, writes) in requests {
        match scenario.response(id).await.0 {
            200 => done += 1,
            REQUEST_LOST if writes => lost += 1,
            other => panic!("{other}"),
        }
    }
    println!("{done} answered, {lost} lost, {n} values shown");
    assert!(done > 5);
    let (status, body) = scenario.response(pending).await;
    assert!(status == REQUEST_LOST || status == 200, "{status} {body}");
    let over_http = over_http.join().unwrap();
    assert!([0, 200, 503].contains(&over_http), "{over_http}");
    let any = accepting_port(&scenario.gateway);
    tokio::task::spawn_blocking(move || wait_until_no_waiter(any)).await.unwrap();
    // Every confirmed message is in the queue once.
    let status: Value = serde_json::from_str(&http::get(any, "/queue/status/q").body).unwrap();
    let size = status["size"].as_u64().unwrap();
    assert!(size >= done / 2 && size <= done / 2 + lost + 1, "{size} of {done} {lost}");
}

/// The port of an endpoint that accepts requests.
fn accepting_port(gateway: &Gateway) -> u16 {
    let mut ports = gateway.endpoints.iter().rev().map(|(_, port)| *port);
    ports.find(|port| http::get(*port, "/health").status == 200).unwrap()
}
