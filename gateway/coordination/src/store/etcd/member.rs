//! A connection to one cluster member: gRPC over HTTP/2.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, TE};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::sync::CancellationToken;

use crate::limits;

/// Largest response of a member: a page of large values is cut to it.
const ETCD_RESPONSE_BYTES: usize = 32 << 20;

/// Flow-control windows in bytes, per stream and per connection. The connection's is large, so that a slow
/// watcher does not take the window of the others.
const WINDOW_BYTES: (u32, u32) = (1 << 20, 1 << 30);

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TransportError {
    /// It did not leave this computer.
    #[error("{0}")]
    NotSent(String),
    /// It may have arrived.
    #[error("{0}")]
    Lost(String),
    /// The member rejected it: gRPC code and message.
    #[error("{1}")]
    Status(i32, String),
    /// The response is larger than the limit.
    #[error("an answer is too large")]
    TooBig,
}

/// A connection to a member; useless once it is closed.
pub(super) struct Member {
    /// Host and port.
    pub(super) address: String,
    sender: SendRequest<RequestBody>,
    given_up: CancellationToken,
}

impl Member {
    /// Connects within [`limits::ETCD_PROBE_MS`].
    pub(super) async fn connect(
        member: &(String, u16),
        tls: Option<&TlsConnector>,
    ) -> Result<Member, TransportError> {
        let (host, port) = member;
        let address = format!("{host}:{port}");
        let not_sent = |error: &dyn std::fmt::Display| TransportError::NotSent(format!("{address}: {error}"));
        let connect = async {
            let stream =
                TcpStream::connect((host.as_str(), *port)).await.map_err(|error| not_sent(&error))?;
            stream.set_nodelay(true).map_err(|error| not_sent(&error))?;
            let Some(tls) = tls else { return handshake(stream).await.map_err(|error| not_sent(&error)) };
            let name = ServerName::try_from(host.clone()).map_err(|error| not_sent(&error))?;
            let stream = tls.connect(name, stream).await.map_err(|error| not_sent(&error))?;
            handshake(stream).await.map_err(|error| not_sent(&error))
        };
        let connected = tokio::time::timeout(Duration::from_millis(limits::ETCD_PROBE_MS), connect).await;
        let sender = connected.unwrap_or_else(|_| Err(not_sent(&"it does not answer")))?;
        Ok(Member { address, sender, given_up: CancellationToken::new() })
    }

    /// Whether requests can be sent.
    pub(super) fn is_open(&self) -> bool {
        !self.given_up.is_cancelled() && !self.sender.is_closed()
    }

    /// Closes the connection for new requests, and ends the wait of pending ones.
    pub(super) fn give_up(&self) {
        self.given_up.cancel();
    }

    /// Sends a request and waits for its single response.
    pub(super) async fn call<R: Message + Default>(
        &self,
        method: &'static str,
        request: &impl Message,
        token: Option<HeaderValue>,
        within: Duration,
    ) -> Result<R, TransportError> {
        let exchange = async {
            let mut answers = self.send(method, request, token, false).await?;
            let answer = answers.next().await?;
            // The status follows the response.
            while answers.next::<R>().await?.is_some() {}
            answer.ok_or_else(|| TransportError::Lost(format!("{}: no answer", self.address)))
        };
        tokio::select! {
            biased;
            answer = exchange => answer,
            () = self.given_up.cancelled() => Err(TransportError::Lost(format!("{}: given up", self.address))),
            () = tokio::time::sleep(within) => Err(TransportError::Lost(format!("{}: no answer in time", self.address))),
        }
    }

    /// Sends a request; with `open` the request stream stays open.
    pub(super) async fn send(
        &self,
        method: &'static str,
        request: &impl Message,
        token: Option<HeaderValue>,
        open: bool,
    ) -> Result<ResponseStream, TransportError> {
        let not_sent =
            |error: &dyn std::fmt::Display| TransportError::NotSent(format!("{}: {error}", self.address));
        let mut builder = hyper::Request::post(format!("http://{}/etcdserverpb.{method}", self.address))
            .header(CONTENT_TYPE, "application/grpc")
            .header(TE, "trailers");
        // A member without a leader would otherwise keep the request waiting; with this header it fails at
        // once.
        if method != STATUS {
            builder = builder.header("hasleader", "true");
        }
        if let Some(token) = token {
            builder = builder.header(AUTHORIZATION, token);
        }
        let body = RequestBody { message: Some(encode_frame(request)), open };
        let request = builder.body(body).map_err(|error| not_sent(&error))?;
        let mut sender = self.sender.clone();
        sender.ready().await.map_err(|error| not_sent(&error))?;
        let sent = sender.try_send_request(request).await;
        let response = sent.map_err(|mut error| match error.take_message() {
            Some(_) => not_sent(error.error()),
            None => TransportError::Lost(format!("{}: {}", self.address, error.error())),
        })?;
        let (head, body) = response.into_parts();
        match status(&head.headers) {
            Some((code, words)) if code != 0 => Err(TransportError::Status(code, words)),
            None if !head.status.is_success() => {
                Err(TransportError::Lost(format!("{} is no etcd: {}", self.address, head.status)))
            }
            _ => Ok(ResponseStream { body, read: BytesMut::new(), address: self.address.clone() }),
        }
    }
}

/// Reports the status of the member and its leader; needs neither a leader nor a user.
pub(super) const STATUS: &str = "Maintenance/Status";

async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<RequestBody>, hyper::Error> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(WINDOW_BYTES.0).initial_connection_window_size(WINDOW_BYTES.1);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        // Pending requests learn of the end by themselves.
        let _ = connection.await;
    });
    Ok(sender)
}

/// A request body: one message, with the stream optionally left open.
struct RequestBody {
    message: Option<Bytes>,
    open: bool,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.message.take() {
            Some(message) => Poll::Ready(Some(Ok(Frame::data(message)))),
            None if self.open => Poll::Pending,
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.message.is_none() && !self.open
    }
}

/// A length-prefixed gRPC message: a zero byte for "not compressed", the length in four bytes, the message.
fn encode_frame(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(length + 5);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    frame.put_slice(&message.encode_to_vec());
    frame.freeze()
}

/// The stream of responses.
pub(super) struct ResponseStream {
    body: Incoming,
    read: BytesMut,
    address: String,
}

impl ResponseStream {
    /// The next response; `None` after the last.
    pub(super) async fn next<R: Message + Default>(&mut self) -> Result<Option<R>, TransportError> {
        let lost =
            |address: &str, why: &dyn std::fmt::Display| TransportError::Lost(format!("{address}: {why}"));
        loop {
            if let Some(message) = self.pop_message()? {
                let decoded = R::decode(message).map_err(|error| lost(&self.address, &error))?;
                return Ok(Some(decoded));
            }
            let frame = match self.body.frame().await {
                Some(frame) => frame.map_err(|error| lost(&self.address, &error))?,
                None => return Err(lost(&self.address, &"it ended in the middle")),
            };
            match frame.into_data() {
                Ok(data) => self.read.extend_from_slice(&data),
                Err(trailers) => match trailers.trailers_ref().and_then(status) {
                    Some((0, _)) => return Ok(None),
                    Some((code, words)) => return Err(TransportError::Status(code, words)),
                    None => return Err(lost(&self.address, &"it ended without a status")),
                },
            }
        }
    }

    /// Takes a complete message from the buffer, if there is one.
    fn pop_message(&mut self) -> Result<Option<Bytes>, TransportError> {
        let Some(&[packed, a, b, c, d]) = self.read.first_chunk() else { return Ok(None) };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > ETCD_RESPONSE_BYTES {
            return Err(TransportError::TooBig);
        }
        if packed != 0 {
            return Err(TransportError::Lost(format!("{}: an answer is compressed", self.address)));
        }
        if self.read.len() < length + 5 {
            return Ok(None);
        }
        Ok(Some(self.read.split_to(length + 5).split_off(5).freeze()))
    }
}

/// The gRPC status code and message, if the headers contain them.
fn status(headers: &HeaderMap) -> Option<(i32, String)> {
    let code = headers.get("grpc-status")?.to_str().ok()?.parse().unwrap_or(2);
    let words = headers.get("grpc-message").map(|words| percent_decode(words.as_bytes())).unwrap_or_default();
    Some((code, words))
}

/// Decodes percent-encoding; invalid sequences stay as they are.
fn percent_decode(words: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(words.len());
    let mut rest = words;
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| byte == b'%') {
            Some(meant) => {
                bytes.push(meant);
                rest = &after[2..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_status_are_read() {
        assert_eq!(percent_decode(b"a%20b%C3%A9"), "a bé");
        assert_eq!(percent_decode(b"100% %2 %zz%"), "100% %2 %zz%");
    }
}
