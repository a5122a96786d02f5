//! A dashboard that drives, over either foreign protocol.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use roverline_tests::http;
use serde_json::{Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::{PATIENCE, PERIOD};

type Socket = WebSocketStream<tokio::net::TcpStream>;

/// A client that drives.
pub(crate) struct Driver {
    pub(crate) socket: Socket,
    pub(crate) dialect: Dialect,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Dialect {
    Rosbridge,
    Foxglove,
}

impl Driver {
    pub(crate) async fn connect(port: u16, dialect: Dialect) -> Driver {
        let server = SocketAddr::from(([127, 0, 0, 1], port));
        Driver::over(std::net::TcpStream::connect(server).unwrap(), server, dialect).await
    }

    /// A driver over this connection, of whichever namespace.
    pub(crate) async fn over(socket: std::net::TcpStream, server: SocketAddr, dialect: Dialect) -> Driver {
        let path = if dialect == Dialect::Rosbridge { "/rosbridge" } else { "/" };
        let mut request = format!("ws://{server}{path}").into_client_request().unwrap();
        if dialect == Dialect::Foxglove {
            request.headers_mut().insert("Sec-WebSocket-Protocol", "foxglove.websocket.v1".parse().unwrap());
        }
        socket.set_nonblocking(true).unwrap();
        socket.set_nodelay(true).unwrap();
        let socket = tokio::net::TcpStream::from_std(socket).unwrap();
        let socket = tokio_tungstenite::client_async(request, socket).await.unwrap().0;
        let mut driver = Driver { socket, dialect };
        driver.advertise().await;
        driver
    }

    pub(crate) async fn advertise(&mut self) {
        let text = match self.dialect {
            Dialect::Rosbridge => {
                json!({"op": "advertise", "topic": "/cmd_vel", "type": "geometry_msgs/Twist"})
            }
            Dialect::Foxglove => json!({"op": "advertise", "channels": [
                {"id": 1, "topic": "/cmd_vel", "encoding": "json", "schemaName": "geometry_msgs/msg/Twist"}]}),
        };
        self.socket.send(Message::text(text.to_string())).await.unwrap();
    }

    pub(crate) async fn drive(&mut self, x: f64) {
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

    pub(crate) async fn drive_for(&mut self, x: f64, duration: Duration) {
        let end = tokio::time::Instant::now() + duration;
        while tokio::time::Instant::now() < end {
            self.drive(x).await;
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// The next message that says why a command was refused.
    pub(crate) async fn refusal(&mut self) -> String {
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

/// A driver that sends each velocity as a command over HTTP: what a relay takes.
pub(crate) struct CommandDriver(pub(crate) SocketAddr);

impl CommandDriver {
    pub(crate) async fn drive(&mut self, x: f64) {
        let server = self.0;
        let send = move || {
            let id = format!("0198c2a4-7d3e-7000-8000-{:012x}", fastrand::u64(..1 << 48));
            let body = json!({"id": id, "kind": "publish", "target": "/cmd_vel", "ttl_ms": 400,
                "type": "geometry_msgs/msg/Twist", "body": {"linear": {"x": x}}})
            .to_string();
            let request = format!(
                "POST /api/v2/commands HTTP/1.1\r\nHost: {server}\r\nContent-Type: application/json\r\nContent-Length: \
                 {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            http::exchange_with(server, request.as_bytes());
        };
        tokio::task::spawn_blocking(send).await.unwrap();
    }
}

/// A driver of a trial.
pub(crate) enum AnyDriver {
    /// Over a session.
    Session(Box<Driver>),
    /// By commands.
    Commands(CommandDriver),
}

impl AnyDriver {
    pub(crate) async fn drive(&mut self, x: f64) {
        match self {
            AnyDriver::Session(driver) => driver.drive(x).await,
            AnyDriver::Commands(driver) => driver.drive(x).await,
        }
    }

    pub(crate) async fn drive_for(&mut self, x: f64, duration: Duration) {
        let end = tokio::time::Instant::now() + duration;
        while tokio::time::Instant::now() < end {
            self.drive(x).await;
            tokio::time::sleep(PERIOD).await;
        }
    }
}
