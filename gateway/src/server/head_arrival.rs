//! The wait for a connection's first request. Its bytes stay in the kernel until its head is complete: a client
//! that sends it slowly costs a socket, and no buffers of an HTTP connection.

use std::io;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Bytes of a head that are peeked at. A longer head is read at once.
const PEEKED_BYTES: usize = 4 << 10;
/// Fields of a head that are peeked at. A head with more fields is read at once.
const PEEKED_FIELDS: usize = 64;
/// The pause before an incomplete head is checked again. It doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// The longest such pause.
const MAX_PAUSE: Duration = Duration::from_millis(64);

/// Returns when a complete request head, or anything else, has arrived. The caller bounds the time.
pub(super) async fn wait_for_head(stream: &TcpStream) -> io::Result<()> {
    let mut pause = FIRST_PAUSE;
    loop {
        stream.readable().await?;
        // This is checked before the peek: when the close is seen, all bytes sent before it have arrived.
        let open = check_open(stream);
        let mut bytes = [0; PEEKED_BYTES];
        let peeked = stream.try_io(Interest::READABLE, || {
            Ok(recv(stream, &mut bytes[..], RecvFlags::PEEK).map(|(n, _)| n)?)
        });
        match peeked {
            Ok(count) => match Arrived::from(&bytes[..count]) {
                Arrived::Part => open?,
                Arrived::Upgrade => return open,
                Arrived::Other => return Ok(()),
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

/// Takes what has arrived from a connection that is closed without an answer: with unread bytes it would be reset.
pub(super) fn discard(stream: &TcpStream) {
    // The bytes of an incomplete head; the connection is closed in any case.
    let _ = stream.try_read(&mut [0; PEEKED_BYTES]);
}

/// Refuses a connection that its client has closed for sending: neither a session nor a TLS handshake can follow,
/// and work for it would delay the others. A plain request is answered all the same.
pub(super) fn check_open(stream: &TcpStream) -> io::Result<()> {
    let mut descriptors = [PollFd::new(stream, PollFlags::RDHUP)];
    match poll(&mut descriptors, Some(&Timespec::default()))? {
        0 => Ok(()),
        _ => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}

/// Classification of a connection's first bytes.
#[derive(Debug, PartialEq, Eq)]
enum Arrived {
    /// The beginning of a head.
    Part,
    /// The head of a WebSocket handshake.
    Upgrade,
    /// Another head, one too long to be peeked at, or anything else.
    Other,
}

impl Arrived {
    fn from(bytes: &[u8]) -> Arrived {
        let mut fields = [httparse::EMPTY_HEADER; PEEKED_FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        if bytes.is_empty() || bytes.len() >= PEEKED_BYTES {
            return Arrived::Other;
        }
        match request.parse(bytes) {
            Ok(parsed) if parsed.is_partial() => Arrived::Part,
            Ok(_) if request.headers.iter().any(|field| field.name.eq_ignore_ascii_case("upgrade")) => {
                Arrived::Upgrade
            }
            _ => Arrived::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: x\r\nupgrade: websocket\r\n\r\n";

    #[test]
    fn only_the_beginning_of_a_head_is_waited_for() {
        let head = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        for end in 1..head.len() {
            assert_eq!(Arrived::from(&head.as_bytes()[..end]), Arrived::Part, "{end}");
        }
        assert_eq!(Arrived::from(UPGRADE.as_bytes()), Arrived::Upgrade);
        for whole in [head, "", "\x00", "GET / FTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\nbody"] {
            assert_eq!(Arrived::from(whole.as_bytes()), Arrived::Other, "{whole:?}");
        }
        let long = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(PEEKED_BYTES));
        assert_eq!(Arrived::from(&long.as_bytes()[..PEEKED_BYTES]), Arrived::Other);
        let fields = format!("GET / HTTP/1.1\r\n{}", "X: y\r\n".repeat(PEEKED_FIELDS + 1));
        assert_eq!(Arrived::from(fields.as_bytes()), Arrived::Other);
    }

    #[tokio::test]
    async fn a_head_in_pieces_arrives_with_its_last_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let mut arrives = Box::pin(wait_for_head(&server));
        for piece in ["GET / HT", "TP/1.1\r\nHost: x\r\n"] {
            client.write_all(piece.as_bytes()).await.unwrap();
            let waited = tokio::time::timeout(MAX_PAUSE, &mut arrives).await;
            assert!(waited.is_err(), "{piece:?} is not a head");
        }
        client.write_all(b"\r\n").await.unwrap();
        arrives.await.unwrap();
        // It is still there.
        let mut byte = [0];
        assert_eq!(server.peek(&mut byte).await.unwrap(), 1);
        drop(client);
    }

    #[tokio::test]
    async fn a_client_that_has_left_gets_no_session_but_an_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let plain = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        let half = &plain[..plain.len() - 2];
        for (sent, is_served) in [("", true), (plain, true), (half, false), (UPGRADE, false)] {
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            client.write_all(sent.as_bytes()).await.unwrap();
            client.shutdown().await.unwrap();
            let waited = tokio::time::timeout(Duration::from_secs(5), wait_for_head(&server)).await;
            assert_eq!(waited.expect("ends at once").is_ok(), is_served, "{sent:?}");
        }
    }
}
