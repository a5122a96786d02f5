//! A native client: the wire as it is documented, without the link's cleverness.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use roverline_protocol::native::{
    Binary, ClientMessage, STANDBY_QUERY, SUBPROTOCOL, SampleHeader, ServerMessage, TopicInfo,
};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::wait::within;

/// What an endpoint may take to answer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// Something the endpoint said.
#[derive(Clone, Debug)]
pub enum Said {
    /// Control.
    Text(Box<ServerMessage>),
    /// A sample: topic name, header, CDR.
    Sample(String, SampleHeader, Bytes),
    /// A heartbeat's number.
    Heartbeat(u32),
    /// The end: the close code, 1006 without one.
    Closed(u16),
}

/// A session, and what it has been told.
#[derive(Debug)]
pub struct Native {
    socket: WebSocketStream<TcpStream>,
    /// Every topic announced so far, by its number.
    pub topics: BTreeMap<u32, TopicInfo>,
}

impl Native {
    /// Connects to a port.
    pub async fn connect(port: u16) -> Native {
        Native::open(port, "").await
    }

    /// Connects to a port as a standby.
    pub async fn standby(port: u16) -> Native {
        Native::open(port, STANDBY_QUERY).await
    }

    async fn open(port: u16, query: &str) -> Native {
        let mut request = format!("ws://127.0.0.1:{port}/?{query}").into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", SUBPROTOCOL.parse().unwrap());
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let handshake = tokio_tungstenite::client_async(request, stream);
        let (socket, answer) = within("the handshake", PATIENCE, handshake).await.unwrap();
        assert_eq!(answer.headers()["sec-websocket-protocol"], SUBPROTOCOL);
        Native { socket, topics: BTreeMap::new() }
    }

    /// Connects and subscribes.
    pub async fn subscribed(port: u16, topics: &[&str]) -> Native {
        let mut native = Native::connect(port).await;
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        native.say(&ClientMessage::Subscribe { id: None, topics, max_rate_hz: None, scopes: None }).await;
        native
    }

    /// Says something.
    pub async fn say(&mut self, message: &ClientMessage) {
        self.socket.send(Message::text(serde_json::to_string(message).unwrap())).await.unwrap();
    }

    /// The next thing that the endpoint says.
    pub async fn next(&mut self) -> Said {
        loop {
            match within("a frame", PATIENCE, self.socket.next()).await {
                Some(Ok(Message::Text(text))) => {
                    let message: ServerMessage = serde_json::from_str(text.as_str()).unwrap();
                    if let ServerMessage::Topics { up, .. } = &message {
                        self.topics.extend(up.iter().map(|info| (info.id, info.clone())));
                    }
                    return Said::Text(Box::new(message));
                }
                Some(Ok(Message::Binary(bytes))) => match Binary::parse(&bytes).unwrap() {
                    Binary::Sample(header, payload) => {
                        let topic = self.topics.get(&header.topic).expect("a topic is announced first");
                        return Said::Sample(topic.name.clone(), header, payload);
                    }
                    Binary::Heartbeat { seq, .. } => return Said::Heartbeat(seq),
                },
                Some(Ok(Message::Close(frame))) => {
                    return Said::Closed(frame.map_or(1006, |frame| frame.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Said::Closed(1006),
            }
        }
    }

    /// Everything that the endpoint says for so long.
    pub async fn listen(&mut self, duration: Duration) -> Vec<Said> {
        let end = tokio::time::Instant::now() + duration;
        let mut all = Vec::new();
        while let Ok(said) = tokio::time::timeout_at(end, self.next()).await {
            all.push(said);
        }
        all
    }
}
