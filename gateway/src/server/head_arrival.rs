//! The wait for a connection's first request. Its bytes stay in the kernel until its head is complete: a client
//! that sends it slowly costs a socket, and no buffers of an HTTP connection.

use std::io;
use std::time::Duration;

use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Bytes of a head that are looked at. A longer one is read at once.
const PEEKED_BYTES: usize = 4 << 10;
/// Fields of a head that are looked at. One with more is read at once.
const PEEKED_FIELDS: usize = 64;
/// The pause before an incomplete head is looked at again. It doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// The longest such pause.
const MAX_PAUSE: Duration = Duration::from_millis(64);

/// Returns when a head has arrived, or anything that is none. The caller bounds the time.
pub(super) async fn wait_for_head(stream: &TcpStream) -> io::Result<()> {
    let mut pause = FIRST_PAUSE;
    loop {
        stream.readable().await?;
        let mut bytes = [0; PEEKED_BYTES];
        let peeked = stream.try_io(Interest::READABLE, || {
            Ok(recv(stream, &mut bytes[..], RecvFlags::PEEK).map(|(n, _)| n)?)
        });
        match peeked {
            Ok(count) if !is_incomplete(&bytes[..count]) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

/// Whether these first bytes of a connection are a part of a head.
fn is_incomplete(bytes: &[u8]) -> bool {
    let mut fields = [httparse::EMPTY_HEADER; PEEKED_FIELDS];
    let parsed = httparse::Request::new(&mut fields).parse(bytes);
    !bytes.is_empty() && bytes.len() < PEEKED_BYTES && parsed.is_ok_and(|parsed| parsed.is_partial())
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn only_the_beginning_of_a_head_is_waited_for() {
        let head = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        for end in 1..head.len() {
            assert!(is_incomplete(&head.as_bytes()[..end]), "{end}");
        }
        for whole in [head, "", "\x00", "GET / FTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\nbody"] {
            assert!(!is_incomplete(whole.as_bytes()), "{whole:?}");
        }
        let long = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(PEEKED_BYTES));
        assert!(!is_incomplete(&long.as_bytes()[..PEEKED_BYTES]));
        let fields = format!("GET / HTTP/1.1\r\n{}", "X: y\r\n".repeat(PEEKED_FIELDS + 1));
        assert!(!is_incomplete(fields.as_bytes()));
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
    async fn a_client_that_leaves_ends_the_wait() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        drop(client);
        wait_for_head(&server).await.unwrap();
    }
}
