//! Operators who press stop, each in one way, and the text that each of them sees.

use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use roverline_protocol::native::SUBPROTOCOL;
use roverline_tests::clients::browser;
use roverline_tests::console::Console;
use roverline_tests::gateway;
use roverline_tests::script::Script;
use roverline_tests::wait::eventually;
use roverline_tests::{binary, http, temp};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::press::is_answered;

const PATIENCE: Duration = Duration::from_secs(20);
/// Text that contains all keys of the stop.
const PASTED_TEXT: &str = "Stop! R y release q";

/// How an operator presses stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The console on 80×24.
    Console,
    /// The console on 40×8.
    SmallConsole,
    /// The dashboard in a browser.
    Page,
    /// `roverline stop`.
    Command,
    /// A native client that sends one message and does not repeat it.
    Native,
    /// The same over the plain dialect.
    Plain,
    /// The same over rosbridge, by a publication.
    Rosbridge,
    /// One HTTP request.
    Http,
}

impl Way {
    pub(crate) const ALL: [Way; 8] = [
        Way::Console,
        Way::SmallConsole,
        Way::Page,
        Way::Command,
        Way::Native,
        Way::Plain,
        Way::Rosbridge,
        Way::Http,
    ];

    /// Whether it sends an unanswered engage again.
    pub(crate) fn repeats(self) -> bool {
        matches!(self, Way::Console | Way::SmallConsole | Way::Page | Way::Command)
    }

    /// Whether the client chooses the id.
    pub(crate) fn has_ids(self) -> bool {
        matches!(self, Way::Native | Way::Plain | Way::Http)
    }

    /// Whether it shows the answer some time after the rover has stopped.
    pub(crate) fn waits_for_an_answer(self) -> bool {
        matches!(self, Way::Page | Way::Command)
    }

    fn path(self) -> &'static str {
        match self {
            Way::Plain => "/telemetry",
            Way::Rosbridge => "/rosbridge",
            _ => "/",
        }
    }

    fn message(self, id: &str) -> Value {
        match self {
            Way::Rosbridge => json!({"op": "publish", "topic": "/emergency_stop",
                "type": "std_msgs/msg/Bool", "msg": {"data": true}}),
            Way::Native => json!({"op": "emergency_stop", "id": id, "engage": true, "reason": "matrix"}),
            _ => json!({"type": "emergency_stop", "id": id, "reason": "matrix"}),
        }
    }
}

/// The client that an operator uses.
enum Client {
    Console(Console),
    Page {
        script: Mutex<Script>,
        _exclusive: MutexGuard<'static, ()>,
    },
    /// Takes the id of a press.
    Socket(mpsc::Sender<String>),
    /// Connects only when stop is pressed.
    OnDemand,
}

/// One browser at a time: on a small computer they would slow each other down.
fn exclusive_browser() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open_page(port: u16) -> Client {
    let exclusive = exclusive_browser();
    let node = browser().unwrap_or_else(|missing| panic!("{missing}"));
    let mut script = Script::start(&node, "dashboard_stop.mjs", &[port.to_string()]);
    assert_eq!(script.line(), json!({"ready": true}));
    Client::Page { script: Mutex::new(script), _exclusive: exclusive }
}

/// An operator's client, and the text that it has shown so far.
pub(crate) struct Operator {
    pub(crate) way: Way,
    client: Client,
    ports: Vec<u16>,
    seen: Arc<Mutex<String>>,
}

impl Operator {
    /// Opens a client. Without a listener, a WebSocket client fails, and the others try again.
    pub(crate) fn open(way: Way, ports: &[u16], runtime: &tokio::runtime::Handle) -> Operator {
        let urls: Vec<String> = ports.iter().map(|port| format!("ws://127.0.0.1:{port}")).collect();
        let seen = Arc::new(Mutex::new("nothing".to_owned()));
        let client = match way {
            Way::Console => Client::Console(Console::open(&urls, 80, 24)),
            Way::SmallConsole => Client::Console(Console::open(&urls, 40, 8)),
            Way::Page => open_page(ports[0]),
            Way::Native | Way::Plain | Way::Rosbridge => {
                let (press, pressed) = mpsc::channel(1);
                runtime.spawn(run_websocket(way, ports[0], pressed, seen.clone()));
                Client::Socket(press)
            }
            Way::Command | Way::Http => Client::OnDemand,
        };
        Operator { way, client, ports: ports.to_owned(), seen }
    }

    /// Whether the client is ready to be used.
    pub(crate) fn is_ready(&self) -> bool {
        match &self.client {
            Client::Console(console) => console.has_terminal() && console.screen().contains('!'),
            Client::Socket(_) => *self.seen.lock().unwrap() != "nothing",
            Client::Page { .. } | Client::OnDemand => true,
        }
    }

    /// Whether the console is connected; others are when they are ready.
    pub(crate) fn is_connected(&self) -> bool {
        match &self.client {
            Client::Console(console) => {
                let screen = console.screen();
                !screen.contains("no endpoint") && !screen.contains("connecting") && self.is_ready()
            }
            _ => self.is_ready(),
        }
    }

    /// Presses stop.
    pub(crate) fn press(&mut self) {
        self.press_as("1");
    }

    /// Presses stop, with this id if the way has ids.
    pub(crate) fn press_as(&mut self, id: &str) {
        match &mut self.client {
            Client::Console(console) => console.type_keys("!"),
            Client::Page { script, .. } => drop(script.get_mut().unwrap().request("press")),
            Client::Socket(press) => drop(press.try_send(id.to_owned())),
            Client::OnDemand => {
                let (way, ports, seen, id) = (self.way, self.ports.clone(), self.seen.clone(), id.to_owned());
                *seen.lock().unwrap() = "sent".to_owned();
                std::thread::spawn(move || {
                    let answer =
                        if way == Way::Http { post_stop(ports[0], &id) } else { run_stop_command(&ports) };
                    *seen.lock().unwrap() = answer;
                });
            }
        }
    }

    /// Whether the visible text confirms the last press.
    pub(crate) fn is_answered(&self) -> bool {
        is_answered(self.way, &self.visible_text())
    }

    /// Waits until the last press is answered.
    pub(crate) fn wait_for_answer(&self) {
        eventually("the press is answered", PATIENCE, || self.is_answered());
    }

    /// Pastes text into the terminal or the page.
    pub(crate) fn paste(&mut self) {
        match &mut self.client {
            // As terminals do since bracketed paste.
            Client::Console(console) => console.type_keys(&format!("\u{1b}[200~{PASTED_TEXT}\n\u{1b}[201~")),
            Client::Page { script, .. } => drop(script.get_mut().unwrap().request("paste")),
            _ => panic!("{:?} takes no text", self.way),
        }
    }

    /// The terminal stops reading what the console writes, or goes on.
    pub(crate) fn set_stalled(&self, is_stalled: bool) {
        if let Client::Console(console) = &self.client {
            console.set_stalled(is_stalled);
        }
    }

    /// The script of the page.
    pub(crate) fn page(&mut self) -> Option<&mut Script> {
        match &mut self.client {
            Client::Page { script, .. } => Some(script.get_mut().unwrap()),
            _ => None,
        }
    }

    /// The operator's current view: for a console and the page, the part about the stop.
    pub(crate) fn visible_text(&self) -> String {
        let screen = match &self.client {
            Client::Console(console) => console.screen(),
            Client::Page { script, .. } => return page_text(&script.lock().unwrap().request("view")),
            Client::Socket(_) | Client::OnDemand => return self.seen.lock().unwrap().clone(),
        };
        let about = |line: &&str| {
            let line = line.to_lowercase();
            ["stop", "red button", "endpoint"].iter().any(|word| line.contains(word))
        };
        screen.lines().filter(about).take(3).map(str::trim).collect::<Vec<_>>().join(" / ")
    }
}

fn page_text(view: &Value) -> String {
    let part = |name: &str| view[name].as_str().unwrap_or_default();
    let [answer, state, link, alarm] = ["answer", "state", "link", "alarm"].map(part);
    format!("{answer} / emergency stop: {state} / {link} / {alarm}")
}

fn run_stop_command(ports: &[u16]) -> String {
    let mut command = std::process::Command::new(binary::bin("roverline"));
    gateway::clean_environment(&mut command);
    let scratch = temp::dir();
    command.env("XDG_STATE_HOME", scratch.path()).arg("stop").args(["--timeout", "20s"]);
    command.args(ports.iter().map(|port| format!("ws://127.0.0.1:{port}")));
    let output = command.stderr(Stdio::piped()).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().to_owned();
    format!("exit {}: {}", output.status.code().unwrap_or(-1), text.lines().last().unwrap_or_default())
}

fn post_stop(port: u16, id: &str) -> String {
    let body = json!({"engage": true, "id": id, "reason": "matrix"}).to_string();
    let answer = std::panic::catch_unwind(|| {
        http::request(port, "POST", "/api/v2/emergency-stop", "Content-Type: application/json\r\n", &body)
    });
    answer.map_or_else(|_| "no connection".to_owned(), |answer| format!("{}: {}", answer.status, answer.body))
}

/// A WebSocket client: sends one message for each id from `pressed`, and keeps the newest answer.
async fn run_websocket(way: Way, port: u16, mut pressed: mpsc::Receiver<String>, seen: Arc<Mutex<String>>) {
    let set_seen = |text: String| *seen.lock().unwrap() = text;
    let mut request = format!("ws://127.0.0.1:{port}{}", way.path()).into_client_request().unwrap();
    if way == Way::Native {
        request.headers_mut().insert("Sec-WebSocket-Protocol", SUBPROTOCOL.parse().unwrap());
    }
    let mut socket = match tokio_tungstenite::connect_async(request).await {
        Ok((socket, _)) => socket,
        Err(error) => return set_seen(format!("not connected: {error}")),
    };
    set_seen("connected".to_owned());
    loop {
        tokio::select! {
            press = pressed.recv() => {
                // The operator has left.
                let Some(id) = press else { return };
                let sent = socket.send(Message::text(way.message(&id).to_string())).await;
                set_seen(sent.map_or_else(|error| format!("not sent: {error}"), |()| "sent".to_owned()));
            }
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    // Telemetry of the state is no answer.
                    let value: Value = serde_json::from_str(text.as_str()).unwrap_or_default();
                    if value.get("accepted").is_some() || value["op"] == "status" {
                        set_seen(text.as_str().to_owned());
                    }
                }
                Some(Ok(Message::Close(frame))) => set_seen(format!("closed: {frame:?}")),
                Some(Ok(_)) => {}
                Some(Err(error)) => return set_seen(format!("lost: {error}")),
                None => return set_seen("closed".to_owned()),
            }
        }
    }
}
