//! A client for the native protocol as documented, without the client library's logic.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use roverline_protocol::native::{
    Binary, ClientMessage, STANDBY_QUERY, SUBPROTOCOL, SampleHeader, ServerMessage, TopicInfo,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::wait::within;

/// Deadline for an answer of an endpoint on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// A message from the endpoint.
#[derive(Clone, Debug)]
pub enum Received {
    /// A control message.
    Text(Box<ServerMessage>),
    /// A sample: topic name, header, CDR.
    Sample(String, SampleHeader, Bytes),
    /// A heartbeat and its number.
    Heartbeat(u32),
    /// The connection ended: the close code, or 1006 if there was no close frame.
    Closed(u16),
}

/// A connection, encrypted or not.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send + Debug {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + Debug> ByteStream for S {}

/// A session and the topics announced to it.
#[derive(Debug)]
pub struct NativeClient {
    socket: WebSocketStream<Box<dyn ByteStream>>,
    /// Every topic announced so far, by its id.
    pub topics: BTreeMap<u32, TopicInfo>,
}

impl NativeClient {
    /// Connects as a client.
    pub async fn connect(port: u16) -> NativeClient {
        NativeClient::open(port, "", &[]).await
    }

    /// Connects with extra header fields, as a proxy or a browser adds them.
    pub async fn connect_with(port: u16, fields: &[(&'static str, &str)]) -> NativeClient {
        NativeClient::open(port, "", fields).await
    }

    /// Connects as a standby.
    pub async fn standby(port: u16) -> NativeClient {
        NativeClient::open(port, STANDBY_QUERY, &[]).await
    }

    async fn open(port: u16, query: &str, fields: &[(&'static str, &str)]) -> NativeClient {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        NativeClient::start(Box::new(stream), query, fields).await
    }

    /// Begins a session over a connection.
    pub async fn over(stream: impl ByteStream + 'static, fields: &[(&'static str, &str)]) -> NativeClient {
        NativeClient::start(Box::new(stream), "", fields).await
    }

    async fn start(
        stream: Box<dyn ByteStream>,
        query: &str,
        fields: &[(&'static str, &str)],
    ) -> NativeClient {
        let mut request = format!("ws://127.0.0.1/?{query}").into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", SUBPROTOCOL.parse().unwrap());
        for (name, value) in fields {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let handshake = tokio_tungstenite::client_async(request, stream);
        let (socket, answer) = within("the handshake", PATIENCE, handshake).await.unwrap();
        assert_eq!(answer.headers()["sec-websocket-protocol"], SUBPROTOCOL);
        NativeClient { socket, topics: BTreeMap::new() }
    }

    /// Connects and subscribes.
    pub async fn subscribed(port: u16, topics: &[&str]) -> NativeClient {
        let mut client = NativeClient::connect(port).await;
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        client.send(&ClientMessage::Subscribe { id: None, topics, max_rate_hz: None, scopes: None }).await;
        client
    }

    /// Sends a message.
    pub async fn send(&mut self, message: &ClientMessage) {
        self.socket.send(Message::text(serde_json::to_string(message).unwrap())).await.unwrap();
    }

    /// The next message from the endpoint.
    pub async fn next(&mut self) -> Received {
        loop {
            match within("a frame", PATIENCE, self.socket.next()).await {
                Some(Ok(Message::Text(text))) => {
                    let message: ServerMessage = serde_json::from_str(text.as_str()).unwrap();
                    if let ServerMessage::Topics { up, .. } = &message {
                        self.topics.extend(up.iter().map(|info| (info.id, info.clone())));
                    }
                    return Received::Text(Box::new(message));
                }
                Some(Ok(Message::Binary(bytes))) => match Binary::parse(&bytes).unwrap() {
                    Binary::Sample(header, payload) => {
                        let topic = self.topics.get(&header.topic).expect("a topic is announced first");
                        return Received::Sample(topic.name.clone(), header, payload);
                    }
                    Binary::Heartbeat { seq, .. } => return Received::Heartbeat(seq),
                },
                Some(Ok(Message::Close(frame))) => {
                    return Received::Closed(frame.map_or(1006, |frame| frame.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Received::Closed(1006),
            }
        }
    }

    /// All messages that arrive within `duration`.
    pub async fn receive_for(&mut self, duration: Duration) -> Vec<Received> {
        let end = tokio::time::Instant::now() + duration;
        let mut all = Vec::new();
        while let Ok(message) = tokio::time::timeout_at(end, self.next()).await {
            all.push(message);
        }
        all
    }
}
