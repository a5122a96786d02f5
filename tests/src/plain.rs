//! A client for the plain dialect: a WebSocket with JSON text messages.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::wait::within;

const PATIENCE: Duration = Duration::from_secs(10);

/// A session.
#[derive(Debug)]
pub struct PlainClient(WebSocketStream<TcpStream>);

impl PlainClient {
    /// Connects to a port.
    pub async fn connect(port: u16) -> PlainClient {
        PlainClient::try_connect(port).await.unwrap()
    }

    /// Connects to a port, or returns the error.
    pub async fn try_connect(port: u16) -> Result<PlainClient, Error> {
        PlainClient::try_connect_at(port, "/").await
    }

    /// Connects to a path (with query) of a port, or returns the error.
    pub async fn try_connect_at(port: u16, path: &str) -> Result<PlainClient, Error> {
        PlainClient::try_connect_with(port, path, &[]).await
    }

    /// The same with extra header fields, as a browser adds them.
    pub async fn try_connect_with(
        port: u16,
        path: &str,
        fields: &[(&'static str, &str)],
    ) -> Result<PlainClient, Error> {
        let mut request = format!("ws://127.0.0.1:{port}{path}").into_client_request()?;
        for (name, value) in fields {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let handshake = tokio_tungstenite::client_async(request, stream);
        Ok(PlainClient(within("the handshake", PATIENCE, handshake).await?.0))
    }

    /// Sends a text message.
    pub async fn send(&mut self, text: &str) {
        self.send_message(Message::text(text)).await;
    }

    /// Sends a message.
    pub async fn send_message(&mut self, message: Message) {
        self.0.send(message).await.unwrap();
    }

    /// Sends a message that the gateway may reject before it has read all of it.
    pub async fn send_or_closed(&mut self, message: Message) {
        let _ = within("a message to be sent or refused", PATIENCE, self.0.send(message)).await;
    }

    /// The next message, or `Err` with the close code (1006 without one).
    pub async fn next(&mut self) -> Result<Value, u16> {
        loop {
            match within("a message", PATIENCE, self.0.next()).await {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(text.as_str()).unwrap()),
                Some(Ok(Message::Close(frame))) => return Err(frame.map_or(1006, |frame| frame.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(1006),
            }
        }
    }

    /// The next message of this type; skips all others.
    pub async fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let message = self.next().await.unwrap_or_else(|code| panic!("closed with {code}"));
            if message["type"] == kind {
                return message;
            }
        }
    }
}

/// The keys of an object.
pub fn keys(object: &Value) -> BTreeSet<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}
