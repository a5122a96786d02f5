//! The TLS handshake, computed on another thread: signing takes from 50 microseconds to several milliseconds,
//! which the other clients of this thread would wait.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

use crate::connection::client_address::ClientAddress;
use crate::connection::paced_socket::PacedSocket;
use crate::server::pending::PendingConnection;
use crate::server::tls::OpenError;
use crate::server::tls::handshake_queue::HandshakeQueue;

/// Messages of a client that are processed as soon as they arrive: a handshake has two.
const PROMPT_MESSAGES: u32 = 2;
/// The pause before later bytes are processed. It doubles each time, so that a handshake in small pieces
/// costs little.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// Pauses after which it no longer doubles.
const MAX_DOUBLINGS: u32 = 10;

/// Performs the server's side of the handshake. `queue` bounds the concurrent computations; no handshake holds a
/// permit while it waits for the client's bytes. While it waits for a permit, the endpoint is slow and not the
/// client. The caller bounds the time.
pub(super) async fn accept(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    queue: &HandshakeQueue,
    address: ClientAddress,
    pending: &PendingConnection,
) -> Result<TlsStream<PacedSocket>, OpenError> {
    let woken = Arc::new(Woken::default());
    let mut handshake = TlsAcceptor::from(config).accept(PacedSocket::new(stream));
    let mut messages = 0;
    loop {
        let answering = pending.answering();
        let permit = queue.acquire(address).await?;
        let waker = Waker::from(woken.clone());
        let polled = tokio::task::spawn_blocking(move || {
            let poll = Pin::new(&mut handshake).poll(&mut Context::from_waker(&waker));
            (handshake, poll)
        });
        let (unfinished, poll) = polled.await.map_err(|_| OpenError::Ended)?;
        drop((permit, answering));
        match poll {
            Poll::Ready(done) => return Ok(done?),
            Poll::Pending => handshake = unfinished,
        }
        woken.0.notified().await;
        messages += 1;
        if messages >= PROMPT_MESSAGES {
            let doublings = (messages - PROMPT_MESSAGES).min(MAX_DOUBLINGS);
            tokio::time::sleep(FIRST_PAUSE * (1 << doublings)).await;
        }
    }
}

/// Wakes the task that waits for the client's bytes.
#[derive(Default)]
struct Woken(Notify);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}
