//! The WebSocket reader: tungstenite parses the client's messages and answers pings and closes; its
//! responses go through the outbox so that only one task writes the socket.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use roverline_protocol::limits;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::sync::Semaphore;
use tokio_tungstenite::WebSocketStream;
use tungstenite::error::{CapacityError, Error, ProtocolError};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

use crate::connection::close_reason::CloseReason;
use crate::connection::outbox::Outbox;
use crate::connection::stream::ReadHalf;

/// How long a client may take to close after the close frame.
const DRAIN_MS: u64 = 1_000;
/// Bytes that are discarded meanwhile.
const DRAIN_BYTES: usize = 1 << 20;
/// Clients that are waited for at a time; more are cut off.
static DRAINS: Semaphore = Semaphore::const_new(64);

/// The stream of the client's messages.
pub struct MessageReader {
    socket: WebSocketStream<TeeStream>,
    outbox: Arc<Outbox>,
    window: (tokio::time::Instant, u32),
}

/// Reads from the socket and writes to the outbox.
struct TeeStream {
    read: ReadHalf,
    outbox: Arc<Outbox>,
}

impl MessageReader {
    /// `read_ahead` are bytes received after the handshake request.
    pub(crate) async fn new(read: ReadHalf, read_ahead: Bytes, outbox: Arc<Outbox>) -> MessageReader {
        let config = WebSocketConfig::default()
            .read_buffer_size(4 << 10)
            .write_buffer_size(0)
            .max_message_size(Some(limits::INBOUND_MESSAGE_BYTES))
            .max_frame_size(Some(limits::INBOUND_MESSAGE_BYTES));
        let tee = TeeStream { read, outbox: outbox.clone() };
        let socket =
            WebSocketStream::from_partially_read(tee, read_ahead.to_vec(), Role::Server, Some(config)).await;
        MessageReader { socket, outbox, window: (tokio::time::Instant::now(), 0) }
    }

    /// Returns the next text or binary message, or the reason why the session ends. Delays a client that
    /// exceeds the message rate limit.
    pub async fn next(&mut self) -> Result<Message, CloseReason> {
        loop {
            self.throttle().await;
            let message = tokio::select! {
                message = self.socket.next() => message,
                () = self.outbox.ended.notified() => return Err(CloseReason::reader_stalled()),
            };
            if matches!(message, Some(Ok(_))) {
                self.outbox.note_activity(roverline_source::clock::monotonic());
            }
            match message {
                None => return Err(CloseReason::new(1006, "connection lost")),
                Some(Ok(Message::Close(frame))) => return Err(closed_by_client(frame.as_ref())),
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    self.outbox.received(message.len());
                    return Ok(message);
                }
                Some(Ok(Message::Pong(payload))) => {
                    self.outbox.pong(&payload, roverline_source::clock::monotonic());
                    self.outbox.expect_liveness();
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(close_reason(&error)),
            }
        }
    }

    /// The half that is still open after the session: see [`drain`].
    pub(crate) fn into_read_half(self) -> ReadHalf {
        self.socket.into_inner().read
    }

    async fn throttle(&mut self) {
        // A burst from one client must not delay the other clients of this thread.
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

/// Reads and discards what a client still sends after the close frame, until it closes too. A socket that is closed
/// with unread bytes resets the connection, and the client's system then discards the close frame (RFC 6455,
/// section 7.1.1).
pub(crate) async fn drain(mut read: ReadHalf) {
    let Ok(_permit) = DRAINS.try_acquire() else { return };
    let mut scratch = [0; 4 << 10];
    let draining = async {
        let mut left = DRAIN_BYTES;
        while left > 0 {
            match read.read(&mut scratch).await {
                Ok(0) | Err(_) => return,
                Ok(count) => left = left.saturating_sub(count),
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_millis(DRAIN_MS), draining).await;
}

/// The end of a session that its client closed. tungstenite turns codes that never go over the wire (RFC 6455,
/// section 7.4) into 1002.
fn closed_by_client(frame: Option<&CloseFrame>) -> CloseReason {
    match frame {
        Some(frame) if frame.code == CloseCode::Protocol => {
            CloseReason::new(1002, "the close code is not allowed")
        }
        _ => CloseReason::new(1000, "closed by the client"),
    }
}

fn close_reason(error: &Error) -> CloseReason {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => {
            CloseReason::new(1009, format!("a message may have {} bytes", limits::INBOUND_MESSAGE_BYTES))
        }
        Error::Utf8(_) => CloseReason::new(1007, "a text message was not UTF-8"),
        // The client ended, or its computer did: nothing that it sent was wrong (RFC 6455, section 7.1.5).
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            CloseReason::new(1006, "the connection ended without a close frame")
        }
        Error::Protocol(why) => CloseReason::new(1002, why.to_string()),
        Error::ConnectionClosed => CloseReason::new(1000, "closed"),
        // Over TLS, the end of the connection without a farewell is an error.
        Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            CloseReason::new(1006, "connection lost")
        }
        other => CloseReason::new(1006, other.to_string()),
    }
}

impl AsyncRead for TeeStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(cx, buffer)
    }
}

impl AsyncWrite for TeeStream {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_without_a_close_frame_is_a_lost_connection_and_no_mistake() {
        let of = |error| close_reason(&Error::Protocol(error)).code;
        assert_eq!(of(ProtocolError::ResetWithoutClosingHandshake), 1006);
        assert_eq!(of(ProtocolError::UnmaskedFrameFromClient), 1002);
    }
}
