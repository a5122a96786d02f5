//! Authority over what moves the rover: one client at a time commands it, and it stops when that client is gone, whatever
//! happens to the endpoint that served it. The rover is a node on CycloneDDS.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use roverline_protocol::Tier;
use roverline_protocol::api::authority::{AuthorityDocument, AuthorityList};
use roverline_tests::clients::python;
use roverline_tests::gateway::Gateway;
use roverline_tests::process::{self, Signal};
use roverline_tests::require;
use roverline_tests::script::Script;
use roverline_tests::wait::{eventually, poll};
use roverline_tests::{http, temp};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

const PATIENCE: Duration = Duration::from_secs(20);
/// The configured silence after which the rover is stopped.
const TIMEOUT: Duration = Duration::from_millis(500);
/// What a loaded machine may add to it.
const MARGIN: Duration = Duration::from_millis(1_500);
/// Interval of the driver's commands.
const PERIOD: Duration = Duration::from_millis(50);

/// A motor driver: the velocities that it received, with their times of arrival.
struct Rover {
    received: Receiver<(Duration, f64)>,
}

impl Rover {
    fn start(python: &Path, domain: &str, seconds: u32) -> Rover {
        let args = ["--domain", domain, "--seconds", &seconds.to_string(), "/cmd_vel"];
        let mut script = Script::start(python, "dds_velocity.py", &args);
        assert_eq!(script.line()["ready"], true);
        let (sender, received) = sync_channel(100_000);
        std::thread::spawn(move || {
            loop {
                let line = script.line();
                let at = Duration::from_nanos(line["at"].as_u64().unwrap());
                if sender.send((at, line["x"].as_f64().unwrap())).is_err() {
                    return;
                }
            }
        });
        Rover { received }
    }

    /// What was received since the last call.
    fn take(&self) -> Vec<(Duration, f64)> {
        self.received.try_iter().collect()
    }

    /// Waits for a velocity.
    fn until(&self, x: f64) -> Duration {
        poll(PATIENCE, || self.received.try_iter().find(|(_, received)| *received == x)).unwrap().0
    }

    /// From the last velocity that is not zero to the first zero after it.
    fn time_to_stop(&self) -> Duration {
        self.time_to_stop_from(&[])
    }

    /// The same, if these were received before.
    fn time_to_stop_from(&self, before: &[(Duration, f64)]) -> Duration {
        let (mut last, mut stopped) = (before.last().map(|(at, _)| *at), None);
        eventually("the stop", PATIENCE, || {
            for (at, x) in self.take() {
                match (x == 0.0, stopped) {
                    (true, None) => stopped = Some(at),
                    (false, _) => (last, stopped) = (Some(at), None),
                    _ => {}
                }
            }
            last.is_some() && stopped.is_some()
        });
        stopped.unwrap() - last.unwrap()
    }
}

/// A client that drives.
struct Driver {
    socket: Socket,
    dialect: Dialect,
}

#[derive(Clone, Copy, PartialEq)]
enum Dialect {
    Rosbridge,
    Foxglove,
}

impl Driver {
    async fn connect(port: u16, dialect: Dialect) -> Driver {
        let path = if dialect == Dialect::Rosbridge { "/rosbridge" } else { "/" };
        let mut request = format!("ws://127.0.0.1:{port}{path}").into_client_request().unwrap();
        if dialect == Dialect::Foxglove {
            request.headers_mut().insert("Sec-WebSocket-Protocol", "foxglove.websocket.v1".parse().unwrap());
        }
        let socket = tokio_tungstenite::connect_async(request).await.unwrap().0;
        let mut driver = Driver { socket, dialect };
        driver.advertise().await;
        driver
    }

    async fn advertise(&mut self) {
        let text = match self.dialect {
            Dialect::Rosbridge => {
                json!({"op": "advertise", "topic": "/cmd_vel", "type": "geometry_msgs/Twist"})
            }
            Dialect::Foxglove => json!({"op": "advertise", "channels": [
                {"id": 1, "topic": "/cmd_vel", "encoding": "json", "schemaName": "geometry_msgs/msg/Twist"}]}),
        };
        self.socket.send(Message::text(text.to_string())).await.unwrap();
    }

    async fn drive(&mut self, x: f64) {
        let twist =
            json!({"linear": {"x": x, "y": 0.0, "z": 0.0}, "angular": {"x": 0.0, "y": 0.0, "z": 0.0}});
        let message = match self.dialect {
            Dialect::Rosbridge => {
                let text = json!({"op": "publish", "topic": "/cmd_vel", "id": "d", "msg": twist});
                Message::text(text.to_string())
            }
            Dialect::Foxglove => {
                let data = [&[1][..], &1_u32.to_le_bytes(), twist.to_string().as_bytes()].concat();
                Message::Binary(data.into())
            }
        };
        self.socket.send(message).await.unwrap();
    }

    async fn drive_for(&mut self, x: f64, duration: Duration) {
        let end = tokio::time::Instant::now() + duration;
        while tokio::time::Instant::now() < end {
            self.drive(x).await;
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// The next message that says why a command was refused.
    async fn refusal(&mut self) -> String {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next()).await.unwrap().unwrap().unwrap();
            let Ok(text) = message.into_text() else { continue };
            let Ok(message) = serde_json::from_str::<Value>(text.as_str()) else { continue };
            let text = match self.dialect {
                Dialect::Rosbridge => message["msg"].as_str().filter(|_| message["op"] == "status"),
                Dialect::Foxglove => message["message"].as_str().filter(|_| message["op"] == "status"),
            };
            if let Some(text) = text.filter(|text| text.contains("drive")) {
                return text.to_owned();
            }
        }
    }
}

fn authority(port: u16, name: &str) -> AuthorityDocument {
    let list: AuthorityList = serde_json::from_str(&http::get(port, "/api/v2/authority").body).unwrap();
    list.authorities.into_iter().find(|authority| authority.name == name).unwrap()
}

/// Waits until the endpoint knows who holds what.
fn wait_confirmed(port: u16) {
    eventually("the holders are known", PATIENCE, || authority(port, "drive").problem.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_joysticks_do_not_fight() {
    let python = require!(python());
    let gateway = Gateway::up(&["--source", "dds", "--domain-id", "96"]);
    let rover = Rover::start(&python, "96", 50);
    let port = gateway.port(Tier::Primary);
    tokio::task::block_in_place(|| wait_confirmed(port));
    let mut one = Driver::connect(port, Dialect::Rosbridge).await;
    let mut other = Driver::connect(port, Dialect::Foxglove).await;
    one.drive_for(1.0, Duration::from_millis(500)).await;
    tokio::select! {
        () = one.drive_for(1.0, Duration::from_secs(2)) => {}
        () = other.drive_for(2.0, Duration::from_secs(60)) => {}
    }
    let received = rover.take();
    assert!(received.len() > 20 && received.iter().all(|(_, x)| *x == 1.0), "{received:?}");
    let why = other.refusal().await;
    assert!(why.contains("drive is held by 127.0.0.1 (rosbridge session primary-"), "{why}");
    // Every endpoint knows the holder.
    for (_, port) in &gateway.endpoints {
        let drive = authority(*port, "drive");
        assert!(drive.holder.unwrap().client.starts_with("rosbridge session primary-"));
    }
    // The first one leaves; the rover is stopped, and the other may drive.
    drop(one);
    let stopped = tokio::task::block_in_place(|| rover.time_to_stop_from(&received));
    assert!(stopped < TIMEOUT + MARGIN, "{stopped:?}");
    other.drive_for(2.0, Duration::from_secs(6)).await;
    tokio::task::block_in_place(|| rover.until(2.0));
}

/// What happens to the driver of the moving rover.
#[derive(Clone, Copy, Debug)]
enum Loss {
    ClosedSocket,
    Silence,
    KilledEndpoint,
    HungEndpoint,
}

/// Drives, loses the driver, and returns the time from the last command to the stop.
async fn lose(gateway: &Gateway, rover: &Rover, loss: Loss) -> Duration {
    let port = gateway.port(Tier::Primary);
    tokio::task::block_in_place(|| {
        eventually("the primary endpoint serves", PATIENCE, || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        wait_confirmed(port);
        eventually("drive is free", PATIENCE, || authority(port, "drive").holder.is_none());
    });
    rover.take();
    let mut driver = Driver::connect(port, Dialect::Rosbridge).await;
    let mut moving = false;
    while !moving {
        driver.drive_for(1.0, Duration::from_millis(200)).await;
        moving = rover.take().iter().any(|(_, x)| *x == 1.0);
    }
    driver.drive_for(1.0, Duration::from_millis(300)).await;
    let pid = gateway.endpoint_pid(Tier::Primary);
    driver.drive(1.0).await;
    let mut kept = Some(driver);
    match loss {
        Loss::ClosedSocket => kept = None,
        Loss::Silence => {}
        Loss::KilledEndpoint => process::signal(pid, Signal::KILL),
        Loss::HungEndpoint => process::signal(pid, Signal::STOP),
    }
    let time = tokio::task::block_in_place(|| rover.time_to_stop());
    if let Loss::HungEndpoint = loss {
        // The supervisor has replaced it, or it goes on.
        process::resume(&[pid]);
    }
    drop(kept);
    time
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rover_stops_when_its_driver_is_gone() {
    let python = require!(python());
    let gateway = Gateway::up(&["--source", "dds", "--domain-id", "97"]);
    let rover = Rover::start(&python, "97", 120);
    for loss in [Loss::ClosedSocket, Loss::Silence, Loss::KilledEndpoint, Loss::HungEndpoint] {
        let time = lose(&gateway, &rover, loss).await;
        assert!(time >= TIMEOUT - PERIOD && time < TIMEOUT + MARGIN, "{loss:?}: {time:?}");
    }
    // One for each loss, though every endpoint notices it; the log has them a little later.
    let causes = || {
        let events =
            http::get(gateway.port(Tier::Emergency), "/api/v2/events?type=authority.link_loss&limit=50");
        let events: Value = serde_json::from_str(&events.body).unwrap();
        let causes = events["events"].as_array().unwrap().iter();
        causes.filter_map(|event| event["data"]["cause"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    tokio::task::block_in_place(|| eventually("an event of each loss", PATIENCE, || causes().len() == 4));
    let causes = causes();
    assert!(causes[0].contains("for 500 ms; zero is published"), "{causes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_velocity_that_is_no_number_or_too_high_does_not_pass() {
    let python = require!(python());
    let scratch = temp::dir();
    let config = temp::write(
        &scratch,
        "roverline.toml",
        "[[authority]]\nname = \"drive\"\ntopics = [\"/cmd_vel\"]\nlink_loss = \"zero\"\nmax_linear_m_s = 0.5\n",
    );
    let config = config.to_str().unwrap();
    let gateway =
        Gateway::serve(&["--tier", "primary", "--source", "dds", "--domain-id", "98", "--config", config]);
    let rover = Rover::start(&python, "98", 60);
    let port = gateway.port(Tier::Primary);
    tokio::task::block_in_place(|| wait_confirmed(port));
    let mut driver = Driver::connect(port, Dialect::Rosbridge).await;
    driver.drive_for(4.0, Duration::from_secs(1)).await;
    let message = r#"{"op":"publish","topic":"/cmd_vel","msg":{"linear":{"x":NaN}}}"#;
    driver.socket.send(Message::text(message)).await.unwrap();
    let received = rover.take();
    assert!(received.len() > 5 && received.iter().all(|(_, x)| *x == 0.5), "{received:?}");
    let stopped = tokio::task::block_in_place(|| rover.time_to_stop_from(&received));
    assert!(stopped < TIMEOUT + MARGIN, "{stopped:?}");
}

/// Prints the times from the last command to the stop, of many trials each. `scripts/faults commands` runs it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a quarter of an hour"]
async fn figures_of_link_loss() {
    let python = require!(python());
    let trials: usize = std::env::var("TRIALS").ok().and_then(|trials| trials.parse().ok()).unwrap_or(50);
    let gateway = Gateway::up(&["--source", "dds", "--domain-id", "99"]);
    let rover = Rover::start(&python, "99", 3_600);
    println!("{:<16} {:>8} {:>8} {:>8} {:>8}", "loss", "trials", "p50 ms", "p99 ms", "max ms");
    for loss in [Loss::ClosedSocket, Loss::Silence, Loss::KilledEndpoint, Loss::HungEndpoint] {
        let mut times = Vec::new();
        for _ in 0..trials {
            times.push(lose(&gateway, &rover, loss).await.as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        let at = |part: f64| times[((times.len() as f64 * part).ceil() as usize).clamp(1, times.len()) - 1];
        println!(
            "{:<16} {trials:>8} {:>8.1} {:>8.1} {:>8.1}",
            format!("{loss:?}"),
            at(0.5),
            at(0.99),
            at(1.0)
        );
    }
}
