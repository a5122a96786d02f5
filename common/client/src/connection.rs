//! One WebSocket connection to an endpoint: connects, forwards messages to the manager, and ends.

use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
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
use tokio_util::sync::CancellationToken;

use crate::activity::{ActivityClock, MonitoredStream};
use crate::dial::{Dialer, Stream};
use crate::tls::{Connectors, FirstUse, TlsError, Trust, explain};

/// Capacity of the queue of messages to one endpoint.
const OUTGOING_MESSAGES: usize = 256;
/// Capacity of the queue of emergency stops to one endpoint.
const OUTGOING_STOPS: usize = 16;

/// An event of one connection, for the manager.
#[derive(Debug)]
pub(crate) struct ConnectionEvent {
    /// Connection number assigned by the manager.
    pub(crate) connection: u64,
    pub(crate) kind: ConnectionEventKind,
}

#[derive(Debug)]
pub(crate) enum ConnectionEventKind {
    /// Connected: the senders for messages to the endpoint, and the clock of its last received byte.
    Up(Senders, ActivityClock),
    /// Its certificate is trusted because it is the first one.
    FirstUse(FirstUse),
    /// Its own TLS files have changed and cannot be used: the last ones that could are.
    UnusableFiles(TlsError),
    Text(Box<ServerMessage>),
    Binary(Binary),
    /// Not connected, or not any more.
    Down(DisconnectReason),
}

/// The queues of a connection for what is sent to the endpoint.
#[derive(Debug)]
pub(crate) struct Senders {
    pub(crate) messages: mpsc::Sender<ClientMessage>,
    /// Emergency stops, which overtake everything else.
    pub(crate) stops: mpsc::Sender<ClientMessage>,
}

/// Reason why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DisconnectReason {
    /// Connecting failed, or the connection was lost.
    Broken(String),
    /// The endpoint does not know our token.
    UnknownToken,
    /// The endpoint takes no token without TLS.
    PlainToken,
    /// The endpoint's certificate is not trusted; what several endpoints have in common, and the text.
    Untrusted { cause: String, text: String },
    /// The endpoint is full; when to retry, if it said so.
    Full(Option<Duration>),
    /// The endpoint is shutting down and its successor accepts at the same address.
    Drained,
}

/// Address and credentials of a connection.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) url: String,
    pub(crate) token: Option<String>,
    /// For `wss://`.
    pub(crate) tls: Connectors,
    pub(crate) activity: ActivityClock,
    /// Is cancelled when the connection is to be closed.
    pub(crate) closing: CancellationToken,
}

/// Runs until the connection ends or the manager drops it.
pub(crate) async fn run(
    connection: u64,
    target: Target,
    connect_timeout: Duration,
    dial: Dialer,
    events: mpsc::Sender<ConnectionEvent>,
) {
    let reason = match timeout(connect_timeout, connect(connection, &target, &dial, &events)).await {
        Err(_) => DisconnectReason::Broken("no answer while connecting".to_owned()),
        Ok(Err(reason)) => reason,
        Ok(Ok(socket)) => match run_session(connection, socket, target, &events).await {
            Ok(reason) => reason,
            Err(ManagerGone) => return,
        },
    };
    // An error means that the manager is gone.
    let _ = report(&events, connection, ConnectionEventKind::Down(reason)).await;
}

struct ManagerGone;

type Socket = WebSocketStream<Box<dyn Stream>>;

async fn report(
    events: &mpsc::Sender<ConnectionEvent>,
    connection: u64,
    kind: ConnectionEventKind,
) -> Result<(), ManagerGone> {
    events.send(ConnectionEvent { connection, kind }).await.map_err(|_| ManagerGone)
}

async fn connect(
    connection: u64,
    target: &Target,
    dial: &Dialer,
    events: &mpsc::Sender<ConnectionEvent>,
) -> Result<Socket, DisconnectReason> {
    let broken = |error: &dyn std::fmt::Display| DisconnectReason::Broken(error.to_string());
    let address = format!("{}/?{STANDBY_QUERY}", target.url.trim_end_matches('/'));
    let mut request = address.into_client_request().map_err(|error| broken(&error))?;
    request.headers_mut().insert(http::header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    if let Some(token) = &target.token {
        let bearer = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
            DisconnectReason::Broken("the token has characters that do not belong in one".to_owned())
        })?;
        request.headers_mut().insert(http::header::AUTHORIZATION, bearer);
    }
    let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
    let host = request.uri().host().unwrap_or_default().to_owned();
    let is_tls = request.uri().scheme_str() == Some("wss");
    let stream = dial(authority.clone()).await.map_err(|error| broken(&error))?;
    // Below TLS: any byte is a sign of life.
    let mut stream: Box<dyn Stream> = Box::new(MonitoredStream { stream, activity: target.activity.clone() });
    if is_tls {
        let (connector, unusable) = target.tls.current().await.map_err(|error| broken(&error))?;
        if let Some(error) = unusable {
            // An error means that the manager is gone.
            let _ = report(events, connection, ConnectionEventKind::UnusableFiles(error)).await;
        }
        let (secured, trust) =
            connector.connect(&authority, stream).await.map_err(|error| untrusted(&error))?;
        if let Trust::First(first) = trust {
            // An error means that the manager is gone.
            let _ = report(events, connection, ConnectionEventKind::FirstUse(first)).await;
        }
        stream = Box::new(secured);
    }
    let config = WebSocketConfig::default()
        .max_message_size(Some(limits::OUTBOUND_MESSAGE_BYTES))
        .max_frame_size(Some(limits::OUTBOUND_MESSAGE_BYTES));
    let (socket, answer) =
        tokio_tungstenite::client_async_with_config(request, stream, Some(config))
            .await
            .map_err(|error| classify_handshake_error(&error, &host, target.token.is_some()))?;
    match answer.headers().get(http::header::SEC_WEBSOCKET_PROTOCOL) {
        Some(chosen) if chosen == SUBPROTOCOL => Ok(socket),
        _ => Err(broken(&"it is a WebSocket, but not a Roverline endpoint")),
    }
}

fn untrusted(error: &TlsError) -> DisconnectReason {
    let text = error.to_string();
    match error {
        // All endpoints of a computer have the same certificate.
        TlsError::Changed { shown, .. } => DisconnectReason::Untrusted { cause: shown.to_string(), text },
        TlsError::Untrusted(_) => DisconnectReason::Untrusted { cause: text.clone(), text },
        _ => DisconnectReason::Broken(text),
    }
}

fn classify_handshake_error(
    error: &tokio_tungstenite::tungstenite::Error,
    host: &str,
    has_token: bool,
) -> DisconnectReason {
    use tokio_tungstenite::tungstenite::Error;
    match error {
        Error::Http(answer) if answer.status() == http::StatusCode::SERVICE_UNAVAILABLE => {
            let after = answer.headers().get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok());
            DisconnectReason::Full(after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs))
        }
        Error::Http(answer) if answer.status() == http::StatusCode::UNAUTHORIZED => {
            DisconnectReason::UnknownToken
        }
        Error::Http(answer) if answer.status() == http::StatusCode::UPGRADE_REQUIRED => match has_token {
            true => DisconnectReason::PlainToken,
            false => DisconnectReason::Broken("it speaks TLS only: use wss:// instead of ws://".to_owned()),
        },
        // It refuses this client's certificate after the handshake.
        Error::Io(error) => DisconnectReason::Broken(explain(error, host)),
        Error::Http(answer) => DisconnectReason::Broken(format!("the server answered {}", answer.status())),
        other => DisconnectReason::Broken(other.to_string()),
    }
}

fn close_reason(frame: Option<CloseFrame>) -> DisconnectReason {
    match frame {
        Some(frame) if u16::from(frame.code) == CLOSE_DRAIN => DisconnectReason::Drained,
        Some(frame) if u16::from(frame.code) == CLOSE_TRY_AGAIN => DisconnectReason::Full(None),
        Some(frame) => {
            DisconnectReason::Broken(format!("closed: {} ({})", frame.reason, u16::from(frame.code)))
        }
        None => DisconnectReason::Broken("closed".to_owned()),
    }
}

/// Runs until the connection ends and returns the reason. Writing goes on while the manager is too busy to take what
/// was read: a stop must not wait for telemetry that the program has not read.
async fn run_session(
    connection: u64,
    socket: Socket,
    target: Target,
    events: &mpsc::Sender<ConnectionEvent>,
) -> Result<DisconnectReason, ManagerGone> {
    let (write, read) = socket.split();
    let (messages, outgoing) = mpsc::channel::<ClientMessage>(OUTGOING_MESSAGES);
    let (stops, outgoing_stops) = mpsc::channel::<ClientMessage>(OUTGOING_STOPS);
    let senders = Senders { messages, stops };
    report(events, connection, ConnectionEventKind::Up(senders, target.activity)).await?;
    tokio::select! {
        reason = read_all(connection, read, events) => reason,
        reason = write_all(write, outgoing, outgoing_stops, &target.closing) => reason,
    }
}

/// Reports everything that the endpoint sends, until it closes the connection.
async fn read_all(
    connection: u64,
    mut read: SplitStream<Socket>,
    events: &mpsc::Sender<ConnectionEvent>,
) -> Result<DisconnectReason, ManagerGone> {
    loop {
        let kind = match read.next().await {
            None => return broken("closed".to_owned()),
            Some(Err(error)) => return broken(error.to_string()),
            Some(Ok(Message::Close(frame))) => return Ok(close_reason(frame)),
            Some(Ok(Message::Text(text))) => serde_json::from_str(text.as_str())
                .map(ConnectionEventKind::Text)
                .map_err(|error| error.to_string()),
            Some(Ok(Message::Binary(bytes))) => {
                Binary::parse(&bytes).map(ConnectionEventKind::Binary).map_err(|error| error.to_string())
            }
            Some(Ok(_)) => continue,
        };
        match kind {
            Ok(kind) => report(events, connection, kind).await?,
            // A newer endpoint may send messages this version does not know.
            Err(error) => tracing::debug!(%error, "message not understood"),
        }
    }
}

/// Sends what is queued, stops first, and then closes the connection if it is to be closed.
async fn write_all(
    mut write: SplitSink<Socket, Message>,
    mut outgoing: mpsc::Receiver<ClientMessage>,
    mut stops: mpsc::Receiver<ClientMessage>,
    closing: &CancellationToken,
) -> Result<DisconnectReason, ManagerGone> {
    loop {
        let message = tokio::select! {
            biased;
            Some(stop) = stops.recv() => Some(stop),
            message = outgoing.recv() => message,
            () = closing.cancelled() => {
                // The endpoint's answer ends the connection: it has read everything before.
                let _ = write.send(Message::Close(None)).await;
                return std::future::pending().await;
            }
        };
        // The manager dropped this connection and considers it dead. No close handshake: the peer may hang.
        let Some(message) = message else { return Err(ManagerGone) };
        // Our own types always serialize.
        let text = serde_json::to_string(&message).unwrap_or_default();
        match timeout(Duration::from_secs(2), write.send(Message::text(text))).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return broken(error.to_string()),
            Err(_) => return broken("it does not take what we send".to_owned()),
        }
    }
}

fn broken(reason: String) -> Result<DisconnectReason, ManagerGone> {
    Ok(DisconnectReason::Broken(reason))
}
