//! Access control: roles by token and by client address, in the handshake and after it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test's helper a panic is the report too")]

use std::time::Duration;

use roverline_protocol::Tier;
use roverline_protocol::native::{ClientMessage, ServerMessage};
use roverline_tests::gateway::{self, Gateway};
use roverline_tests::native::{NativeClient, Received};
use roverline_tests::plain::PlainClient;
use roverline_tests::temp::{self, TempDir};
use serde_json::Value;
use tokio_tungstenite::tungstenite::Error;

/// A gateway whose clients are observers unless they present a token, and an operator's token.
fn gateway_with_token() -> (Gateway, String, TempDir) {
    let scratch = temp::dir();
    let file = scratch.path().join("tokens");
    let file = file.to_str().unwrap();
    let patience = Duration::from_secs(10);
    let (code, token, _) = gateway::run(&["token", "add", "--tokens", file, "ada"], patience);
    assert_eq!((code, token.trim().len()), (0, 64));
    let (code, _, why) = gateway::run(&["token", "add", "--tokens", file, "ada"], patience);
    assert!(code == 1 && why.contains("ada has a token already"), "{why}");
    let args = ["--source", "sim", "--loopback-role", "observer", "--tokens", file];
    (Gateway::serve(&args), token.trim().to_owned(), scratch)
}

async fn stop_answer(plain: &mut PlainClient) -> Value {
    plain.send(r#"{"type":"emergency_stop","reason":"test"}"#).await;
    plain.next_of("emergency_stop").await
}

#[tokio::test]
async fn an_observer_reads_and_a_token_permits_more() {
    let (gateway, token, _scratch) = gateway_with_token();
    let port = gateway.port(Tier::Primary);

    let mut observer = PlainClient::connect(port).await;
    assert!(observer.next_of("telemetry").await["data"]["timestamp"].is_number());
    let refused = stop_answer(&mut observer).await;
    assert_eq!(refused["accepted"], false);
    assert!(refused["message"].as_str().unwrap().contains("show a token"), "{refused}");

    // A wrong token is rejected with a message, and the session continues.
    observer.send(r#"{"type":"auth","token":"0000000000000000"}"#).await;
    assert!(observer.next_of("error").await["message"].as_str().unwrap().contains("not known"));
    observer.send(&format!(r#"{{"type":"auth","token":"{token}"}}"#)).await;
    assert_eq!(observer.next_of("auth").await["role"], "operator");
    assert_eq!(stop_answer(&mut observer).await["accepted"], true);

    let mut by_query = PlainClient::try_connect_at(port, &format!("/?token={token}")).await.unwrap();
    assert_eq!(stop_answer(&mut by_query).await["accepted"], true);
    match PlainClient::try_connect_at(port, "/?token=wrong").await.unwrap_err() {
        Error::Http(answer) => {
            assert_eq!(answer.status(), 401);
            assert_eq!(answer.headers()["www-authenticate"], "Bearer");
        }
        other => panic!("{other}"),
    }
}

/// Published with another type, the stop itself could no longer be published.
#[tokio::test]
async fn the_emergency_stop_keeps_its_topic() {
    let (gateway, token, _scratch) = gateway_with_token();
    let path = format!("/rosbridge?token={token}");
    let mut client = PlainClient::try_connect_at(gateway.port(Tier::Primary), &path).await.unwrap();
    let publish =
        r#"{"op":"publish","topic":"/emergency_stop","type":"std_msgs/msg/String","msg":{"data":"x"}}"#;
    client.send(publish).await;
    let status = client.next().await.unwrap();
    assert!(
        status["msg"].as_str().unwrap().contains("is the emergency stop, a std_msgs/msg/Bool"),
        "{status}"
    );
}

#[tokio::test]
async fn a_native_client_authenticates_after_the_handshake() {
    let (gateway, token, _scratch) = gateway_with_token();
    let mut native = NativeClient::connect(gateway.first_port()).await;
    let stop = |id: &str| ClientMessage::EmergencyStop {
        id: id.to_owned(),
        engage: true,
        reason: "test".to_owned(),
        traceparent: None,
    };
    native.send(&stop("a")).await;
    assert!(!accepted(&mut native).await);
    native.send(&ClientMessage::Auth { token: "guess".to_owned() }).await;
    assert_eq!(status_code(&mut native).await, "denied");
    native.send(&ClientMessage::Auth { token }).await;
    assert_eq!(status_code(&mut native).await, "role");
    native.send(&stop("b")).await;
    assert!(accepted(&mut native).await);
}

async fn accepted(native: &mut NativeClient) -> bool {
    loop {
        if let Received::Text(message) = native.next().await
            && let ServerMessage::Command { accepted, .. } = *message
        {
            return accepted;
        }
    }
}

async fn status_code(native: &mut NativeClient) -> String {
    loop {
        if let Received::Text(message) = native.next().await
            && let ServerMessage::Status { code, .. } = *message
        {
            return code;
        }
    }
}

#[test]
fn a_token_file_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = temp::dir();
    let file = scratch.path().join("tokens");
    std::fs::write(&file, "operator ada 0123456789abcdef\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let args = ["serve", "--port", "0", "--source", "sim", "--tokens", file.to_str().unwrap()];
    let (code, _, why) = gateway::run(&args, Duration::from_secs(10));
    assert!(code != 0 && why.contains("chmod 600"), "{code}: {why}");
}

#[test]
fn a_console_with_an_unknown_token_looks_on_as_an_observer() {
    let (gateway, _, scratch) = gateway_with_token();
    let mut command = std::process::Command::new(roverline_tests::binary::bin("roverline"));
    gateway::clean_environment(&mut command);
    command.env("XDG_STATE_HOME", scratch.path()).args(["status", "--json", "--timeout", "10s"]);
    let wrong = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let output = command.args(gateway.urls()).args(["--token", wrong]).output().unwrap();
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{status}");
    assert_eq!(status["endpoints"][0]["state"], "active", "{status}");
}

#[test]
fn too_many_wrong_tokens_have_to_wait_and_a_right_one_does_not() {
    let (gateway, token, _scratch) = gateway_with_token();
    let port = gateway.first_port();
    let show = |token: &str| {
        let fields = format!("Content-Type: application/json\r\nAuthorization: Bearer {token}\r\n");
        let body = r#"{"queue_name":"q","message":1}"#;
        roverline_tests::http::request(port, "POST", "/queue/enqueue", &fields, body)
    };
    let answers: Vec<_> = (0..40).map(|n| show(&format!("{n:064}"))).collect();
    assert_eq!(answers[0].status, 401);
    let limited = answers.iter().filter(|answer| answer.status == 429).count();
    assert!((20..=30).contains(&limited), "{limited}");
    assert!(answers.last().unwrap().header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(show(&token).status, 200);
    let metrics = roverline_tests::http::get(port, "/metrics").body;
    assert!(metrics.contains("\nroverline_wrong_tokens_total 40\n"), "{metrics}");
}
