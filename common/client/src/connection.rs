//! One connection to an endpoint: connects, speaks, tells the manager, ends.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::HeaderValue;
use roverline_protocol::limits;
use roverline_protocol::native::{
    Binary, CLOSE_DRAIN, CLOSE_TRY_AGAIN, ClientMessage, STANDBY_QUERY, SUBPROTOCOL, ServerMessage,
};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, WebSocketConfig};

use crate::activity::{Ear, Heard};
use crate::dial::Dialer;

/// Messages that wait to be sent to one endpoint.
const OUTGOING: usize = 256;

/// What a connection tells its manager.
#[derive(Debug)]
pub(crate) struct Told {
    /// Which connection, by the number it was given.
    pub(crate) connection: u64,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    /// Connected; messages for the endpoint go in here, and its bytes are heard there.
    Up(mpsc::Sender<ClientMessage>, Ear),
    Text(Box<ServerMessage>),
    Binary(Binary),
    /// Not connected (any more).
    Down(Ending),
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It failed, or was lost.
    Broken(String),
    /// There is no room; when to ask again, if it was said.
    Full(Option<Duration>),
    /// The endpoint ends, and another one will be there at once.
    Drained,
}

/// Where to connect to, and as whom.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) url: String,
    pub(crate) token: Option<String>,
    pub(crate) ear: Ear,
}

/// Until the connection ends, or the manager drops it.
pub(crate) async fn run(
    connection: u64,
    target: Target,
    patience: Duration,
    dial: Dialer,
    told: mpsc::Sender<Told>,
) {
    let ending = match timeout(patience, connect(&target, &dial)).await {
        Err(_) => Ending::Broken("no answer while connecting".to_owned()),
        Ok(Err(ending)) => ending,
        Ok(Ok(socket)) => match speak(connection, socket, target.ear, &told).await {
            Ok(ending) => ending,
            Err(ManagerGone) => return,
        },
    };
    // An error means that the manager is gone.
    let _ = tell(&told, connection, What::Down(ending)).await;
}

struct ManagerGone;

type Socket = WebSocketStream<Heard>;

async fn tell(told: &mpsc::Sender<Told>, connection: u64, what: What) -> Result<(), ManagerGone> {
    told.send(Told { connection, what }).await.map_err(|_| ManagerGone)
}

async fn connect(target: &Target, dial: &Dialer) -> Result<Socket, Ending> {
    let broken = |error: &dyn std::fmt::Display| Ending::Broken(error.to_string());
    let address = format!("{}/?{STANDBY_QUERY}", target.url.trim_end_matches('/'));
    let mut request = address.into_client_request().map_err(|error| broken(&error))?;
    request.headers_mut().insert(http::header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    if let Some(token) = &target.token {
        let bearer = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| Ending::Broken("the token has characters that do not belong in one".to_owned()))?;
        request.headers_mut().insert(http::header::AUTHORIZATION, bearer);
    }
    let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
    let stream = dial(authority).await.map_err(|error| broken(&error))?;
    let stream = Heard { stream, ear: target.ear.clone() };
    let config = WebSocketConfig::default()
        .max_message_size(Some(limits::OUTBOUND_MESSAGE_BYTES))
        .max_frame_size(Some(limits::OUTBOUND_MESSAGE_BYTES));
    let (socket, answer) = tokio_tungstenite::client_async_with_config(request, stream, Some(config))
        .await
        .map_err(|error| explain(&error))?;
    match answer.headers().get(http::header::SEC_WEBSOCKET_PROTOCOL) {
        Some(chosen) if chosen == SUBPROTOCOL => Ok(socket),
        _ => Err(broken(&"it is a WebSocket, but not a Roverline endpoint")),
    }
}

fn explain(error: &tokio_tungstenite::tungstenite::Error) -> Ending {
    use tokio_tungstenite::tungstenite::Error;
    match error {
        Error::Http(answer) if answer.status() == http::StatusCode::SERVICE_UNAVAILABLE => {
            let after = answer.headers().get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok());
            Ending::Full(after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs))
        }
        Error::Http(answer) if answer.status() == http::StatusCode::UNAUTHORIZED => {
            Ending::Broken("the endpoint does not know our token".to_owned())
        }
        Error::Http(answer) => Ending::Broken(format!("the server answered {}", answer.status())),
        other => Ending::Broken(other.to_string()),
    }
}

fn closed(frame: Option<CloseFrame>) -> Ending {
    match frame {
        Some(frame) if u16::from(frame.code) == CLOSE_DRAIN => Ending::Drained,
        Some(frame) if u16::from(frame.code) == CLOSE_TRY_AGAIN => Ending::Full(None),
        Some(frame) => Ending::Broken(format!("closed: {} ({})", frame.reason, u16::from(frame.code))),
        None => Ending::Broken("closed".to_owned()),
    }
}

/// Until the connection ends; says why it did.
async fn speak(
    connection: u64,
    socket: Socket,
    ear: Ear,
    told: &mpsc::Sender<Told>,
) -> Result<Ending, ManagerGone> {
    let (mut write, mut read) = socket.split();
    let (say, mut outgoing) = mpsc::channel::<ClientMessage>(OUTGOING);
    tell(told, connection, What::Up(say, ear)).await?;
    let broken = |why: String| Ok(Ending::Broken(why));
    loop {
        tokio::select! {
            message = read.next() => match message {
                None => return broken("closed".to_owned()),
                Some(Err(error)) => return broken(error.to_string()),
                Some(Ok(Message::Close(frame))) => return Ok(closed(frame)),
                Some(Ok(Message::Text(text))) => match serde_json::from_str(text.as_str()) {
                    Ok(message) => tell(told, connection, What::Text(Box::new(message))).await?,
                    // A newer endpoint may say what we do not know.
                    Err(error) => tracing::debug!(%error, "message not understood"),
                },
                Some(Ok(Message::Binary(bytes))) => match Binary::parse(&bytes) {
                    Ok(message) => tell(told, connection, What::Binary(message)).await?,
                    Err(error) => tracing::debug!(%error, "message not understood"),
                },
                Some(Ok(_)) => {}
            },
            message = outgoing.recv() => match message {
                // The manager let go of this connection: it is dead to it. No goodbye: it may hang.
                None => return Err(ManagerGone),
                Some(message) => {
                    // Our own types always serialize.
                    let text = serde_json::to_string(&message).unwrap_or_default();
                    match timeout(Duration::from_secs(2), write.send(Message::text(text))).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => return broken(error.to_string()),
                        Err(_) => return broken("it does not take what we send".to_owned()),
                    }
                }
            },
        }
    }
}
