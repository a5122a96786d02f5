//! Tokens while endpoints serve: they are read when they change, they expire, and sessions end with them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use roverline_protocol::{Tier, limits};
use roverline_tests::certs::Certs;
use roverline_tests::gateway::{self, Gateway};
use roverline_tests::http;
use roverline_tests::native::{NativeClient, Received};
use roverline_tests::plain::PlainClient;
use roverline_tests::process::{self, Signal};
use roverline_tests::temp::{self, TempDir};
use roverline_tests::wait::eventually;
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

const PATIENCE: Duration = Duration::from_secs(20);
/// A session ends this soon with its token, and the same again for a busy machine.
const SOON: Duration = Duration::from_secs(4);

struct TokenFile {
    path: PathBuf,
    _scratch: TempDir,
}

impl TokenFile {
    fn new() -> TokenFile {
        let scratch = temp::dir();
        TokenFile { path: scratch.path().join("tokens"), _scratch: scratch }
    }

    /// Runs `token COMMAND --tokens FILE ...`; returns what it prints.
    fn run(&self, command: &str, args: &[&str]) -> Result<String, String> {
        let path = self.path.to_str().unwrap();
        let args: Vec<&str> = ["token", command, "--tokens", path].iter().chain(args).copied().collect();
        let (code, stdout, stderr) = gateway::run(&args, PATIENCE);
        if code == 0 { Ok(stdout.trim().to_owned()) } else { Err(stderr) }
    }

    /// Replaces the file at once: written in place, it could be read while it is empty, which ends every session.
    fn replace(&self, text: &str) {
        let new = self.path.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::rename(&new, &self.path).unwrap();
    }

    fn gateway(&self) -> Gateway {
        let path = self.path.to_str().unwrap();
        Gateway::serve(&["--source", "sim", "--loopback-role", "observer", "--tokens", path])
    }
}

/// Tries to change something the team shares.
fn write(port: u16, token: &str) -> http::Response {
    let fields = format!("Content-Type: application/json\r\nAuthorization: Bearer {token}\r\n");
    http::request(port, "POST", "/queue/enqueue", &fields, r#"{"queue_name":"q","message":1}"#)
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// Waits until the session is closed; returns the close code and how long it took.
async fn closed(native: &mut NativeClient) -> (u16, Duration) {
    let begun = Instant::now();
    loop {
        if let Received::Closed(code) = native.next().await {
            return (code, begun.elapsed());
        }
        assert!(begun.elapsed() < PATIENCE, "the session goes on");
    }
}

fn log_of(gateway: &Gateway) -> String {
    let files = std::fs::read_dir(gateway.state().join("log")).unwrap().flatten();
    files.map(|file| std::fs::read_to_string(file.path()).unwrap_or_default()).collect()
}

#[tokio::test]
async fn a_revoked_token_ends_its_sessions_at_every_endpoint() {
    let file = TokenFile::new();
    let ada = file.run("add", &["ada"]).unwrap();
    let bob = file.run("add", &["--role", "commander", "bob"]).unwrap();
    let path = file.path.to_str().unwrap();
    let gateway = Gateway::up(&["--source", "sim", "--loopback-role", "observer", "--tokens", path]);
    let mut sessions = Vec::new();
    for (_, port) in &gateway.endpoints {
        sessions.push(NativeClient::connect_with(*port, &[("authorization", &bearer(&ada))]).await);
    }
    let primary = gateway.port(Tier::Primary);
    let mut bobs = NativeClient::connect_with(primary, &[("authorization", &bearer(&bob))]).await;
    // A token that was shown during the session counts as well.
    let mut plain = PlainClient::connect(primary).await;
    plain.send(&format!(r#"{{"type":"auth","token":"{ada}"}}"#)).await;
    assert_eq!(plain.next_of("auth").await["role"], "operator");
    let stdout = file.run("revoke", &["ada"]).unwrap();
    assert!(stdout.starts_with("1 token of ada revoked"), "{stdout}");
    for session in &mut sessions {
        let (code, after) = closed(session).await;
        assert!(code == 1008 && after < SOON, "{code} after {after:?}");
    }
    let begun = Instant::now();
    let code = loop {
        if let Err(code) = plain.next().await {
            break code;
        }
        assert!(begun.elapsed() < PATIENCE, "the session goes on");
    };
    assert_eq!(code, 1008);
    let refused = write(primary, &ada);
    assert!(refused.status == 401 && refused.body.contains("not known"), "{refused:?}");
    assert_eq!(write(primary, &bob).status, 200);
    // Another one's session goes on.
    for _ in 0..20 {
        assert!(!matches!(bobs.next().await, Received::Closed(_)));
    }
    let new = file.run("rotate", &["bob"]).unwrap();
    assert_eq!(closed(&mut bobs).await.0, 1008);
    eventually("the new token is known", PATIENCE, || write(primary, &new).status == 200);
    assert_eq!(write(primary, &bob).status, 401);
    let log = log_of(&gateway);
    assert!(log.contains("a session ends with its token") && log.contains("was revoked"), "{log}");
}

#[test]
fn a_malformed_file_keeps_the_tokens_before_and_says_so() {
    let file = TokenFile::new();
    let ada = file.run("add", &["ada"]).unwrap();
    let gateway = file.gateway();
    let port = gateway.first_port();
    let good = std::fs::read_to_string(&file.path).unwrap();
    file.replace("operator ada\n");
    let health = || http::get(port, "/health").body;
    eventually("health says it", PATIENCE, || health().contains("tokens:1: write ROLE NAME TOKEN"));
    assert_eq!(write(port, &ada).status, 200);
    file.replace(&(good + "# fine again\n"));
    eventually("health is good again", PATIENCE, || !health().contains("ROLE NAME TOKEN"));
    std::fs::set_permissions(&file.path, std::fs::Permissions::from_mode(0o644)).unwrap();
    // SIGHUP is no end for a service.
    process::signal(gateway.pid(), Signal::HUP);
    eventually("health says it", PATIENCE, || health().contains("chmod 600"));
    assert_eq!(write(port, &ada).status, 200);
}

#[test]
fn a_supervisor_makes_all_endpoints_read_their_files_again() {
    let file = TokenFile::new();
    let ada = file.run("add", &["ada"]).unwrap();
    let certs = Certs::with_node("127.0.0.1");
    let config = certs.config("127.0.0.1", "");
    let tokens = file.path.to_str().unwrap();
    let gateway = Gateway::up(&["--source", "sim", "--tokens", tokens, "--config", &config]);
    let unusable = "the changed certificate cannot be used";
    let complaints = || log_of(&gateway).matches(unusable).count();
    // Neither its time nor its size changes, so only who reads it sees it.
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(certs.path("127.0.0.1.key"), open).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(complaints(), 0, "nobody was asked yet");
    process::signal(gateway.pid(), Signal::HUP);
    eventually("every endpoint has read it", PATIENCE, || complaints() == gateway.endpoints.len());
    let http = |port: u16| write(port, &ada).status;
    assert!(gateway.endpoints.iter().all(|(_, port)| http(*port) == 200), "what was read before stays");
}

#[tokio::test]
async fn a_token_expires_and_its_sessions_with_it() {
    let file = TokenFile::new();
    let brief = file.run("add", &["--expires", "6s", "brief"]).unwrap();
    let begun = Instant::now();
    let gateway = file.gateway();
    let port = gateway.first_port();
    let mut session = NativeClient::connect_with(port, &[("authorization", &bearer(&brief))]).await;
    assert_eq!(write(port, &brief).status, 200);
    let (code, _) = closed(&mut session).await;
    assert!(code == 1008 && begun.elapsed() > Duration::from_secs(4), "{code} after {:?}", begun.elapsed());
    let refused = write(port, &brief);
    assert!(refused.status == 401 && refused.body.contains("this token expired at 2"), "{refused:?}");
    let list = file.run("list", &[]).unwrap();
    assert!(list.contains("Z (expired)"), "{list}");
    assert!(file.run("rotate", &["brief"]).unwrap_err().contains("--expires"));
    let past = file.run("add", &["--expires", "2020-01-01T00:00:00Z", "late"]).unwrap_err();
    assert!(past.contains("2020-01-01T00:00:00Z has passed"), "{past}");
}

/// Guessed tokens end a session in each dialect that takes one in a message.
#[tokio::test]
async fn a_session_that_guesses_tokens_is_closed() {
    let file = TokenFile::new();
    file.run("add", &["ada"]).unwrap();
    let gateway = file.gateway();
    for (path, message) in [
        ("/telemetry", r#"{"type":"auth","token":"guess"}"#),
        ("/rosbridge", r#"{"op":"auth","token":"guess"}"#),
    ] {
        let mut client = PlainClient::try_connect_at(gateway.first_port(), path).await.unwrap();
        for _ in 0..2 * limits::BAD_MESSAGES_PER_SESSION {
            client.send_or_closed(Message::text(message)).await;
        }
        let code = loop {
            if let Err(code) = client.next().await {
                break code;
            }
        };
        assert_eq!(code, 1008, "{path}");
    }
}

#[test]
fn the_list_shows_last_uses_and_no_token() {
    let file = TokenFile::new();
    let ada = file.run("add", &["--expires", "2099-01-01T00:00:00Z", "ada"]).unwrap();
    let bob = file.run("add", &["--role", "observer", "bob"]).unwrap();
    let gateway = file.gateway();
    assert_eq!(write(gateway.first_port(), &ada).status, 200);
    let holders = || serde_json::from_str::<Value>(&file.run("list", &["--json"]).unwrap()).unwrap();
    eventually("the use is stored", PATIENCE, || holders()["tokens"][0]["last_use"].is_string());
    let list = holders();
    assert_eq!(
        (&list["tokens"][0]["expires"], &list["tokens"][1]["last_use"]),
        (&"2099-01-01T00:00:00Z".into(), &Value::Null)
    );
    let text = file.run("list", &[]).unwrap();
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(!text.contains(&ada) && !list.to_string().contains(&bob), "{text}");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file.path), mode(&file.path.with_file_name("tokens.last-use"))), (0o600, 0o600));
}

#[tokio::test]
async fn no_log_at_any_level_contains_a_token() {
    let file = TokenFile::new();
    let ada = file.run("add", &["ada"]).unwrap();
    let path = file.path.to_str().unwrap();
    let level = "trace,tungstenite=trace,tungstenite::protocol=trace,hyper=trace";
    let gateway = Gateway::serve(&["--source", "sim", "--tokens", path, "--log-level", level]);
    let port = gateway.first_port();
    assert_eq!(write(port, &ada).status, 200);
    let guess = "guessguessguessguess";
    assert_eq!(write(port, guess).status, 401);
    assert_eq!(http::get(port, &format!("/status?token={ada}")).status, 200);
    assert!(PlainClient::try_connect_at(port, &format!("/?token={guess}")).await.is_err());
    let mut session = PlainClient::try_connect_at(port, &format!("/?token={ada}")).await.unwrap();
    for token in [&ada, guess] {
        session.send(&format!(r#"{{"type":"auth","token":"{token}"}}"#)).await;
    }
    assert!(session.next_of("error").await["message"].as_str().unwrap().contains("not known"));
    let mut rosbridge = PlainClient::try_connect_at(port, "/rosbridge").await.unwrap();
    rosbridge.send(&format!(r#"{{"op":"auth","token":"{ada}"}}"#)).await;
    // The fields of the protocol's first version, malformed.
    rosbridge.send(&format!(r#"{{"op":"auth","mac":"{ada}","token":5}}"#)).await;
    rosbridge.next().await.unwrap();
    drop((session, rosbridge));
    eventually("sessions are gone", PATIENCE, || http::status(port).sessions.is_empty());
    let folder = gateway.state().join("log");
    let log = log_of(&gateway);
    assert!(log.contains("token shown"), "{log}");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for file in std::fs::read_dir(&folder).unwrap().flatten() {
        assert_eq!(mode(&file.path()), 0o600, "{:?}", file.path());
    }
    let stderr = gateway.stop_and_read_stderr();
    for secret in [ada.as_str(), guess] {
        for text in [&log, &stderr] {
            let line = text.lines().find(|line| line.contains(secret));
            assert!(line.is_none(), "{line:?}");
        }
    }
}

#[test]
fn a_configuration_that_anybody_may_write_is_not_taken() {
    let scratch = temp::dir();
    let config = temp::write(&scratch, "roverline.toml", "[gateway]\nmax_clients = 7\n");
    let print = || {
        let output = gateway::command(&["config"]).current_dir(scratch.path()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout).contains("max_clients = 7"), text(&output.stderr))
    };
    assert_eq!(print(), (true, String::new()));
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o666)).unwrap();
    let (is_used, warning) = print();
    assert!(
        !is_used && warning.contains("roverline.toml is not used, because anybody may write it"),
        "{warning}"
    );
}
