//! One endpoint's connection: connects, speaks, tells the manager, connects again with backoff.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::HeaderValue;
use roverline_protocol::backoff::{Backoff, Jitter};
use roverline_protocol::limits;
use roverline_protocol::native::{Binary, ClientMessage, SUBPROTOCOL, ServerMessage};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};

use crate::Timings;

/// Messages that wait to be sent to one endpoint.
const OUTGOING: usize = 256;

/// What a connection tells its manager, and for which endpoint.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) slot: usize,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    Connecting,
    /// Connected; messages for the endpoint go in here. Dropping it closes the connection.
    Up(mpsc::Sender<ClientMessage>),
    Text(Box<ServerMessage>),
    Binary(Binary),
    /// Not connected (any more), and why.
    Down(String),
}

type Socket = WebSocketStream<TcpStream>;

/// Runs for ever; ends when the manager is gone.
pub(crate) async fn run(slot: usize, url: String, timings: Timings, told: mpsc::Sender<Told>) {
    let mut backoff = Backoff::new(timings.backoff.0, timings.backoff.1);
    let mut jitter = Jitter::new(slot as u64 ^ std::process::id() as u64);
    loop {
        if tell(&told, slot, What::Connecting).await.is_err() {
            return;
        }
        let why = match timeout(timings.connect, connect(&url)).await {
            Err(_) => "no answer while connecting".to_owned(),
            Ok(Err(why)) => why,
            Ok(Ok(socket)) => {
                backoff.reset();
                match speak(slot, socket, &told).await {
                    Ok(why) => why,
                    Err(ManagerGone) => return,
                }
            }
        };
        if tell(&told, slot, What::Down(why)).await.is_err() {
            return;
        }
        tokio::time::sleep(backoff.fail(jitter.unit())).await;
    }
}

struct ManagerGone;

async fn tell(told: &mpsc::Sender<Told>, slot: usize, what: What) -> Result<(), ManagerGone> {
    told.send(Told { slot, what }).await.map_err(|_| ManagerGone)
}

async fn connect(url: &str) -> Result<Socket, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let mut request = url.into_client_request().map_err(|error| text(&error))?;
    request.headers_mut().insert(http::header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
    let stream = TcpStream::connect(authority).await.map_err(|error| text(&error))?;
    stream.set_nodelay(true).map_err(|error| text(&error))?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(limits::OUTBOUND_MESSAGE_BYTES))
        .max_frame_size(Some(limits::OUTBOUND_MESSAGE_BYTES));
    let (socket, answer) = tokio_tungstenite::client_async_with_config(request, stream, Some(config))
        .await
        .map_err(|error| explain(&error))?;
    match answer.headers().get(http::header::SEC_WEBSOCKET_PROTOCOL) {
        Some(chosen) if chosen == SUBPROTOCOL => Ok(socket),
        _ => Err("it is a WebSocket, but not a Roverline endpoint".to_owned()),
    }
}

fn explain(error: &tokio_tungstenite::tungstenite::Error) -> String {
    use tokio_tungstenite::tungstenite::Error;
    match error {
        Error::Http(answer) if answer.status() == http::StatusCode::SERVICE_UNAVAILABLE => {
            "the endpoint is full".to_owned()
        }
        Error::Http(answer) => format!("the server answered {}", answer.status()),
        other => other.to_string(),
    }
}

/// Until the connection ends; says why it did.
async fn speak(slot: usize, socket: Socket, told: &mpsc::Sender<Told>) -> Result<String, ManagerGone> {
    let (mut write, mut read) = socket.split();
    let (say, mut outgoing) = mpsc::channel::<ClientMessage>(OUTGOING);
    tell(told, slot, What::Up(say)).await?;
    loop {
        tokio::select! {
            message = read.next() => match message {
                None => return Ok("closed".to_owned()),
                Some(Err(error)) => return Ok(error.to_string()),
                Some(Ok(Message::Close(frame))) => return Ok(match frame {
                    Some(frame) => format!("closed: {} ({})", frame.reason, u16::from(frame.code)),
                    None => "closed".to_owned(),
                }),
                Some(Ok(Message::Text(text))) => match serde_json::from_str(text.as_str()) {
                    Ok(message) => tell(told, slot, What::Text(Box::new(message))).await?,
                    // A newer endpoint may say what we do not know.
                    Err(error) => tracing::debug!(%error, "message not understood"),
                },
                Some(Ok(Message::Binary(bytes))) => match Binary::parse(&bytes) {
                    Ok(message) => tell(told, slot, What::Binary(message)).await?,
                    Err(error) => tracing::debug!(%error, "message not understood"),
                },
                Some(Ok(_)) => {}
            },
            message = outgoing.recv() => match message {
                // The manager let go of this connection: it is dead to it. No goodbye: it may hang.
                None => return Ok("given up: silent".to_owned()),
                Some(message) => {
                    // Our own types always serialize.
                    let text = serde_json::to_string(&message).unwrap_or_default();
                    match timeout(Duration::from_secs(2), write.send(Message::text(text))).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => return Ok(error.to_string()),
                        Err(_) => return Ok("it does not take what we send".to_owned()),
                    }
                }
            },
        }
    }
}
