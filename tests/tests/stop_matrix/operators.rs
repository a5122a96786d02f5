//! Operators who press stop, each in their own way, and what each of them sees.

use std::process::Stdio;
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use roverline_protocol::native::SUBPROTOCOL;
use roverline_tests::console::Console;
use roverline_tests::gateway;
use roverline_tests::{binary, http, temp};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// How an operator presses stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The console on 80×24.
    Console,
    /// The console on 40×8.
    SmallConsole,
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
    pub(crate) const ALL: [Way; 7] =
        [Way::Console, Way::SmallConsole, Way::Command, Way::Native, Way::Plain, Way::Rosbridge, Way::Http];

    /// Whether it says an unanswered engage again.
    pub(crate) fn repeats(self) -> bool {
        matches!(self, Way::Console | Way::SmallConsole | Way::Command)
    }

    fn path(self) -> &'static str {
        match self {
            Way::Plain => "/telemetry",
            Way::Rosbridge => "/rosbridge",
            _ => "/",
        }
    }

    fn message(self) -> Value {
        match self {
            Way::Rosbridge => json!({"op": "publish", "topic": "/emergency_stop",
                "type": "std_msgs/msg/Bool", "msg": {"data": true}}),
            Way::Native => json!({"op": "emergency_stop", "id": "1", "engage": true, "reason": "matrix"}),
            _ => json!({"type": "emergency_stop", "id": "1", "reason": "matrix"}),
        }
    }
}

enum Tool {
    Console(Console),
    Socket(mpsc::Sender<()>),
    /// Needs no connection before it is used.
    Nothing,
}

/// An operator, with what is seen so far.
pub(crate) struct Operator {
    way: Way,
    tool: Tool,
    ports: Vec<u16>,
    seen: Arc<Mutex<String>>,
}

impl Operator {
    /// Opens a client. Without a listener, a socket is refused, and the others try on.
    pub(crate) fn open(way: Way, ports: &[u16], runtime: &tokio::runtime::Handle) -> Operator {
        let urls: Vec<String> = ports.iter().map(|port| format!("ws://127.0.0.1:{port}")).collect();
        let seen = Arc::new(Mutex::new("nothing".to_owned()));
        let tool = match way {
            Way::Console => Tool::Console(Console::open(&urls, 80, 24)),
            Way::SmallConsole => Tool::Console(Console::open(&urls, 40, 8)),
            Way::Native | Way::Plain | Way::Rosbridge => {
                let (press, pressed) = mpsc::channel(1);
                runtime.spawn(socket(way, ports[0], pressed, seen.clone()));
                Tool::Socket(press)
            }
            Way::Command | Way::Http => Tool::Nothing,
        };
        Operator { way, tool, ports: ports.to_owned(), seen }
    }

    /// Whether the client is ready to be used.
    pub(crate) fn is_ready(&self) -> bool {
        match &self.tool {
            Tool::Console(console) => console.has_terminal() && console.screen().contains('!'),
            Tool::Socket(_) => *self.seen.lock().unwrap() != "nothing",
            Tool::Nothing => true,
        }
    }

    /// Whether the console is connected; others are when they are ready.
    pub(crate) fn is_connected(&self) -> bool {
        match &self.tool {
            Tool::Console(console) => {
                let screen = console.screen();
                !screen.contains("no endpoint") && !screen.contains("connecting") && self.is_ready()
            }
            _ => self.is_ready(),
        }
    }

    /// Presses stop.
    pub(crate) fn press(&mut self) {
        match &mut self.tool {
            Tool::Console(console) => console.type_keys("!"),
            Tool::Socket(press) => drop(press.try_send(())),
            Tool::Nothing => {
                let (way, ports, seen) = (self.way, self.ports.clone(), self.seen.clone());
                std::thread::spawn(move || {
                    let answer = if way == Way::Http { request(ports[0]) } else { command(&ports) };
                    *seen.lock().unwrap() = answer;
                });
            }
        }
    }

    /// What the operator sees now: for a console the lines about the stop.
    pub(crate) fn sees(&self) -> String {
        let Tool::Console(console) = &self.tool else { return self.seen.lock().unwrap().clone() };
        let screen = console.screen();
        let about = |line: &&str| {
            let line = line.to_lowercase();
            ["stop", "red button", "endpoint"].iter().any(|word| line.contains(word))
        };
        screen.lines().filter(about).take(3).map(str::trim).collect::<Vec<_>>().join(" / ")
    }
}

fn command(ports: &[u16]) -> String {
    let mut command = std::process::Command::new(binary::bin("roverline"));
    gateway::clean_environment(&mut command);
    let scratch = temp::dir();
    command.env("XDG_STATE_HOME", scratch.path()).arg("stop").args(["--timeout", "20s"]);
    command.args(ports.iter().map(|port| format!("ws://127.0.0.1:{port}")));
    let output = command.stderr(Stdio::piped()).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().to_owned();
    format!("exit {}: {}", output.status.code().unwrap_or(-1), text.lines().last().unwrap_or_default())
}

fn request(port: u16) -> String {
    let body = json!({"engage": true, "reason": "matrix"}).to_string();
    let answer = std::panic::catch_unwind(|| {
        http::request(port, "POST", "/api/v2/emergency-stop", "Content-Type: application/json\r\n", &body)
    });
    answer.map_or_else(|_| "no connection".to_owned(), |answer| format!("{}: {}", answer.status, answer.body))
}

/// A WebSocket client: says its one message when it is told to, and keeps the newest answer.
async fn socket(way: Way, port: u16, mut pressed: mpsc::Receiver<()>, seen: Arc<Mutex<String>>) {
    let see = |text: String| *seen.lock().unwrap() = text;
    let mut request = format!("ws://127.0.0.1:{port}{}", way.path()).into_client_request().unwrap();
    if way == Way::Native {
        request.headers_mut().insert("Sec-WebSocket-Protocol", SUBPROTOCOL.parse().unwrap());
    }
    let mut socket = match tokio_tungstenite::connect_async(request).await {
        Ok((socket, _)) => socket,
        Err(error) => return see(format!("not connected: {error}")),
    };
    see("connected".to_owned());
    loop {
        tokio::select! {
            press = pressed.recv() => {
                // The operator has left.
                let Some(()) = press else { return };
                let sent = socket.send(Message::text(way.message().to_string())).await;
                see(sent.map_or_else(|error| format!("not sent: {error}"), |()| "sent".to_owned()));
            }
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    // Telemetry of the state is no answer.
                    let value: Value = serde_json::from_str(text.as_str()).unwrap_or_default();
                    if value.get("accepted").is_some() || value["op"] == "status" {
                        see(text.as_str().to_owned());
                    }
                }
                Some(Ok(Message::Close(frame))) => see(format!("closed: {frame:?}")),
                Some(Ok(_)) => {}
                Some(Err(error)) => return see(format!("lost: {error}")),
                None => return see("closed".to_owned()),
            }
        }
    }
}
