//! What a client says: parsed by tungstenite, which also answers pings and closes; its answers go
//! through the outbox, so that only one task ever writes the socket.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::StreamExt;
use roverline_protocol::limits;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::tcp::OwnedReadHalf;
use tokio_tungstenite::WebSocketStream;
use tungstenite::error::{CapacityError, Error};
use tungstenite::protocol::{Message, Role, WebSocketConfig};

use crate::connection::outbox::Outbox;
use crate::dialect::session::Ending;

/// The client's messages.
pub struct Inbound {
    socket: WebSocketStream<Tap>,
    outbox: Arc<Outbox>,
    window: (tokio::time::Instant, u32),
}

/// Reads from the socket, writes into the outbox.
struct Tap {
    read: OwnedReadHalf,
    outbox: Arc<Outbox>,
}

impl Inbound {
    /// `read_ahead` is what the client sent behind its handshake.
    pub(crate) async fn new(read: OwnedReadHalf, read_ahead: Bytes, outbox: Arc<Outbox>) -> Inbound {
        let config = WebSocketConfig::default()
            .read_buffer_size(4 << 10)
            .write_buffer_size(0)
            .max_message_size(Some(limits::INBOUND_MESSAGE_BYTES))
            .max_frame_size(Some(limits::INBOUND_MESSAGE_BYTES));
        let tap = Tap { read, outbox: outbox.clone() };
        let socket =
            WebSocketStream::from_partially_read(tap, read_ahead.to_vec(), Role::Server, Some(config)).await;
        Inbound { socket, outbox, window: (tokio::time::Instant::now(), 0) }
    }

    /// The next text or binary message, or why there is none. Holds a client back that sends more
    /// messages a second than anybody needs.
    pub async fn next(&mut self) -> Result<Message, Ending> {
        loop {
            self.pace().await;
            let message = tokio::select! {
                message = self.socket.next() => message,
                () = self.outbox.ended.notified() => return Err(Ending::stopped_reading()),
            };
            if matches!(message, Some(Ok(_))) {
                self.outbox.heard(roverline_source::clock::monotonic());
            }
            match message {
                None => return Err(Ending::new(1006, "connection lost")),
                Some(Ok(Message::Close(_))) => return Err(Ending::new(1000, "closed by the client")),
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => return Ok(message),
                Some(Ok(Message::Pong(_))) => self.outbox.answers(),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(ending(&error)),
            }
        }
    }

    async fn pace(&mut self) {
        // A burst from one client must not keep the others of this thread waiting.
        tokio::task::yield_now().await;
        let (start, count) = self.window;
        if start.elapsed() >= std::time::Duration::from_secs(1) {
            self.window = (tokio::time::Instant::now(), 1);
        } else if count >= limits::INBOUND_MESSAGES_PER_S {
            tokio::time::sleep_until(start + std::time::Duration::from_secs(1)).await;
            self.window = (tokio::time::Instant::now(), 1);
        } else {
            self.window.1 += 1;
        }
    }
}

fn ending(error: &Error) -> Ending {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => {
            Ending::new(1009, format!("a message may have {} bytes", limits::INBOUND_MESSAGE_BYTES))
        }
        Error::Utf8(_) => Ending::new(1007, "a text message was not UTF-8"),
        Error::Protocol(why) => Ending::new(1002, why.to_string()),
        Error::ConnectionClosed => Ending::new(1000, "closed"),
        other => Ending::new(1006, other.to_string()),
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Tap {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.outbox.raw_control(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
