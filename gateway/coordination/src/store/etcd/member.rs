//! One member of the cluster: a connection of HTTP/2 with gRPC over it.

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
use roverline_protocol::limits;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// Bytes that may be on their way to one call or watch, and to all. A watcher that is slow must not
/// take the room of the others, so there is room for a lot of them.
const WINDOWS: (u32, u32) = (1 << 20, 1 << 30);

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// It did not leave this computer.
    NotSent(String),
    /// It may have arrived.
    Lost(String),
    /// The member refused it: code and words of gRPC.
    Status(i32, String),
    /// The answer is larger than is read.
    TooBig,
}

/// A connection to a member. It is of no more use once it is closed.
pub(super) struct Member {
    /// Where it is.
    pub(super) address: String,
    sender: SendRequest<Outgoing>,
    given_up: watch::Sender<bool>,
}

impl Member {
    /// Connects.
    pub(super) async fn connect(place: &(String, u16), tls: Option<&TlsConnector>) -> Result<Member, Failed> {
        let (host, port) = place;
        let address = format!("{host}:{port}");
        let not_sent = |error: &dyn std::fmt::Display| Failed::NotSent(format!("{address}: {error}"));
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
        Ok(Member { address, sender, given_up: watch::Sender::new(false) })
    }

    /// Whether it can be asked.
    pub(super) fn is_open(&self) -> bool {
        !*self.given_up.borrow() && !self.sender.is_closed()
    }

    /// It is asked no more, and who waits for it waits no longer.
    pub(super) fn give_up(&self) {
        self.given_up.send_replace(true);
    }

    /// Waits until it is given up.
    pub(super) async fn is_given_up(&self) {
        // The sender lives as long as this.
        let _ = self.given_up.subscribe().wait_for(|given_up| *given_up).await;
    }

    /// Asks once, for one answer.
    pub(super) async fn call<R: Message + Default>(
        &self,
        method: &'static str,
        request: &impl Message,
        token: Option<HeaderValue>,
        within: Duration,
    ) -> Result<R, Failed> {
        let ask = async {
            let mut answers = self.send(method, request, token, false).await?;
            let answer = answers.next().await?;
            // The status comes behind it.
            while answers.next::<R>().await?.is_some() {}
            answer.ok_or_else(|| Failed::Lost(format!("{}: no answer", self.address)))
        };
        tokio::select! {
            biased;
            answer = ask => answer,
            () = self.is_given_up() => Err(Failed::Lost(format!("{}: given up", self.address))),
            () = tokio::time::sleep(within) => Err(Failed::Lost(format!("{}: no answer in time", self.address))),
        }
    }

    /// Asks; what is asked stays open if there is an end to wait for.
    pub(super) async fn send(
        &self,
        method: &'static str,
        request: &impl Message,
        token: Option<HeaderValue>,
        open: bool,
    ) -> Result<Answers, Failed> {
        let not_sent = |error: &dyn std::fmt::Display| Failed::NotSent(format!("{}: {error}", self.address));
        let mut builder = hyper::Request::post(format!("http://{}/etcdserverpb.{method}", self.address))
            .header(CONTENT_TYPE, "application/grpc")
            .header(TE, "trailers");
        // What only sits there would wait for a leader; better to hear at once that there is none.
        if method != STATUS {
            builder = builder.header("hasleader", "true");
        }
        if let Some(token) = token {
            builder = builder.header(AUTHORIZATION, token);
        }
        let body = Outgoing { message: Some(framed(request)), open };
        let request = builder.body(body).map_err(|error| not_sent(&error))?;
        let mut sender = self.sender.clone();
        sender.ready().await.map_err(|error| not_sent(&error))?;
        let sent = sender.try_send_request(request).await;
        let response = sent.map_err(|mut error| match error.take_message() {
            Some(_) => not_sent(error.error()),
            None => Failed::Lost(format!("{}: {}", self.address, error.error())),
        })?;
        let (head, body) = response.into_parts();
        match status(&head.headers) {
            Some((code, words)) if code != 0 => Err(Failed::Status(code, words)),
            None if !head.status.is_success() => {
                Err(Failed::Lost(format!("{} is no etcd: {}", self.address, head.status)))
            }
            _ => Ok(Answers { body, read: BytesMut::new(), address: self.address.clone() }),
        }
    }
}

/// What a member says of itself and of the leader; it needs neither a leader nor a user.
pub(super) const STATUS: &str = "Maintenance/Status";

async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<Outgoing>, hyper::Error> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(WINDOWS.0).initial_connection_window_size(WINDOWS.1);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        // Who waits for an answer hears of its end.
        let _ = connection.await;
    });
    Ok(sender)
}

/// A message, and whether there could be more.
struct Outgoing {
    message: Option<Bytes>,
    open: bool,
}

impl Body for Outgoing {
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

/// A message with its five bytes before it: not compressed, and its length.
fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(length + 5);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    frame.put_slice(&message.encode_to_vec());
    frame.freeze()
}

/// The answers to what was asked.
pub(super) struct Answers {
    body: Incoming,
    read: BytesMut,
    address: String,
}

impl Answers {
    /// The next one; `None` after the last.
    pub(super) async fn next<R: Message + Default>(&mut self) -> Result<Option<R>, Failed> {
        let lost = |address: &str, why: &dyn std::fmt::Display| Failed::Lost(format!("{address}: {why}"));
        loop {
            if let Some(message) = self.cut()? {
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
                    Some((code, words)) => return Err(Failed::Status(code, words)),
                    None => return Err(lost(&self.address, &"it ended without a status")),
                },
            }
        }
    }

    /// A message off the front of what has been read, if all of it is there.
    fn cut(&mut self) -> Result<Option<Bytes>, Failed> {
        let Some(&[packed, a, b, c, d]) = self.read.first_chunk() else { return Ok(None) };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > limits::ETCD_ANSWER_BYTES {
            return Err(Failed::TooBig);
        }
        if packed != 0 {
            return Err(Failed::Lost(format!("{}: an answer is compressed", self.address)));
        }
        if self.read.len() < length + 5 {
            return Ok(None);
        }
        Ok(Some(self.read.split_to(length + 5).split_off(5).freeze()))
    }
}

/// Code and words of how a call ended, if this says so.
fn status(headers: &HeaderMap) -> Option<(i32, String)> {
    let code = headers.get("grpc-status")?.to_str().ok()?.parse().unwrap_or(2);
    let words = headers.get("grpc-message").map(|words| plain(words.as_bytes())).unwrap_or_default();
    Some((code, words))
}

/// Without the percent signs that stand for bytes.
fn plain(words: &[u8]) -> String {
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
        assert_eq!(plain(b"a%20b%C3%A9"), "a bé");
        assert_eq!(plain(b"100% %2 %zz%"), "100% %2 %zz%");
    }
}
