//! A TCP proxy that can cut a connection inside a WebSocket frame.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Shorter frames pass: the cut should fall well inside a frame.
const LONG_BYTES: usize = 200;

/// A running proxy in front of one port. Stops when dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// The port it listens on.
    pub(crate) port: u16,
    armed: Arc<AtomicBool>,
    // Dropping the sender stops the proxy.
    _stop: oneshot::Sender<()>,
}

impl Proxy {
    /// Starts a proxy to this local port.
    pub(crate) fn to(port: u16) -> Proxy {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let own = listener.local_addr().unwrap().port();
        let armed = Arc::<AtomicBool>::default();
        let (stop, stopped) = oneshot::channel();
        let is_armed = armed.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = accept(&listener, port, &is_armed) => {}
                    _ = stopped => {}
                }
            });
        });
        Proxy { port: own, armed, _stop: stop }
    }

    /// Cuts the next long frame in its middle and resets its connection.
    pub(crate) fn break_next_frame(&self) {
        self.armed.store(true, Ordering::Relaxed);
    }
}

async fn accept(listener: &TcpListener, port: u16, armed: &Arc<AtomicBool>) {
    while let Ok((client, _)) = listener.accept().await {
        let armed = armed.clone();
        tokio::spawn(async move {
            // When either side ends, both do.
            let _ = forward(client, port, &armed).await;
        });
    }
}

async fn forward(mut client: TcpStream, port: u16, armed: &AtomicBool) -> std::io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let mut frames = Frames::default();
    let (mut up, mut down) = (vec![0; 16 << 10], vec![0; 16 << 10]);
    loop {
        tokio::select! {
            n = client.read(&mut up) => match n? {
                0 => return Ok(()),
                n => server.write_all(&up[..n]).await?,
            },
            n = server.read(&mut down) => match n? {
                0 => return Ok(()),
                n => match frames.cut(&down[..n], armed.load(Ordering::Relaxed)) {
                    None => client.write_all(&down[..n]).await?,
                    Some(cut) => {
                        armed.store(false, Ordering::Relaxed);
                        client.write_all(&down[..cut]).await?;
                        // With a linger time of zero, closing sends a reset.
                        rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO))?;
                        return Ok(());
                    }
                },
            },
        }
    }
}

/// Parser of the frame boundaries in a server's stream.
#[derive(Debug, Default)]
struct Frames {
    head: Vec<u8>,
    upgraded: bool,
    payload_left: usize,
}

impl Frames {
    /// Parses the next bytes; if armed, the offset at which to cut, in the middle of a long frame.
    fn cut(&mut self, bytes: &[u8], armed: bool) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            if self.payload_left > 0 {
                let skipped = self.payload_left.min(bytes.len() - at);
                self.payload_left -= skipped;
                at += skipped;
                continue;
            }
            self.head.push(bytes[at]);
            at += 1;
            if !self.upgraded {
                if self.head.ends_with(b"\r\n\r\n") {
                    self.upgraded = true;
                    self.head.clear();
                }
            } else if let Some(length) = payload_length(&self.head) {
                self.head.clear();
                self.payload_left = length;
                if armed && length >= LONG_BYTES {
                    return Some(bytes.len().min(at + length / 2));
                }
            }
        }
        None
    }
}

/// The payload's length once the header (unmasked, as servers send it) is complete.
fn payload_length(head: &[u8]) -> Option<usize> {
    match (head.get(1)? & 0x7f, head) {
        (126, [_, _, a, b]) => Some(usize::from(u16::from_be_bytes([*a, *b]))),
        (127, [_, _, length @ ..]) => Some(u64::from_be_bytes(length.try_into().ok()?) as usize),
        (126, _) => None,
        (length, _) => Some(usize::from(length)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cut_falls_inside_a_long_frame() {
        let mut stream = b"HTTP/1.1 101 x\r\n\r\n\x82\x05hello\x82\x7e\x01\x00".to_vec();
        let start = stream.len();
        stream.extend([7; 256]);
        assert_eq!(Frames::default().cut(&stream, false), None);
        assert_eq!(Frames::default().cut(&stream, true), Some(start + 128));
        // The result does not depend on how the bytes are divided.
        let mut frames = Frames::default();
        let cuts: Vec<_> =
            stream.iter().enumerate().filter(|(_, b)| frames.cut(&[**b], true).is_some()).collect();
        assert_eq!(cuts.len(), 1);
        assert_eq!(cuts[0].0, start - 1);
    }
}
