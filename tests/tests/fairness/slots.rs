//! Session slots: observers cannot take those of operators.

use std::time::Duration;

use roverline_tests::http::{exchange, health};
use roverline_tests::native::NativeClient;
use roverline_tests::plain::PlainClient;
use roverline_tests::raw;

use crate::{counter, gateway_with_token};

const PATIENCE: Duration = Duration::from_secs(20);

/// Reads until the connection ends; the close code.
async fn close_code(client: &mut PlainClient) -> u16 {
    loop {
        if let Err(code) = client.next().await {
            return code;
        }
    }
}

#[tokio::test]
async fn an_operator_gets_a_slot_though_observers_took_all() {
    let (gateway, token, _scratch) = gateway_with_token(&["--max-clients", "5"]);
    let port = gateway.first_port();
    let mut observers = Vec::new();
    for _ in 0..5 {
        observers.push(PlainClient::connect(port).await);
    }
    assert_eq!(exchange(port, raw::handshake("/").as_bytes()).status, 503);
    // A reserve of eight, and then each one needs an observer's slot.
    let mut operators = Vec::new();
    for _ in 0..10 {
        operators.push(PlainClient::try_connect_at(port, &format!("/?token={token}")).await.unwrap());
    }
    for _ in 0..2 {
        let mut newest = observers.pop().unwrap();
        let code = tokio::time::timeout(PATIENCE, close_code(&mut newest)).await.unwrap();
        assert_eq!(code, 1013);
    }
    assert_eq!(counter(port, "roverline_evicted_sessions_total"), 2);
    assert_eq!(health(port).endpoint.clients, 13);
    for client in observers.iter_mut().chain(&mut operators) {
        assert!(client.next_of("telemetry").await["data"].is_object(), "the others are served");
    }
}

#[tokio::test]
async fn an_operator_stands_by_though_observers_took_all_standbys() {
    let (gateway, token, _scratch) = gateway_with_token(&["--max-clients", "2"]);
    let port = gateway.first_port();
    let mut waiting = Vec::new();
    for _ in 0..8 {
        waiting.push(NativeClient::standby(port).await);
    }
    let handshake = |path: &str| {
        let head = raw::handshake(path);
        head.replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: roverline.v1\r\n\r\n")
    };
    let standby = handshake("/?session=standby");
    assert_eq!(exchange(port, standby.as_bytes()).status, 503);
    let own = handshake(&format!("/?session=standby&token={token}"));
    let mut streams = Vec::new();
    for _ in 0..9 {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(own.as_bytes()).unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 101");
        streams.push(stream);
    }
    assert_eq!(counter(port, "roverline_evicted_sessions_total"), 1);
}
