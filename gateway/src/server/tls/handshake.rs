//! The TLS handshake, computed on another thread: signing takes from 50 microseconds to several milliseconds,
//! which the other clients of this thread would wait.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

use crate::connection::client_address::ClientAddress;
use crate::server::pending::PendingConnection;
use crate::server::tls::OpenError;
use crate::server::tls::handshake_queue::HandshakeQueue;

/// Performs the server's side of the handshake. `queue` bounds what is computed at a time; nobody has a permit
/// while the client's bytes are awaited. While it waits for a permit, the endpoint is slow and not the client.
pub(super) async fn accept(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    queue: &HandshakeQueue,
    address: ClientAddress,
    place: &PendingConnection,
) -> Result<TlsStream<TcpStream>, OpenError> {
    let woken = Arc::new(Woken::default());
    let mut handshake = TlsAcceptor::from(config).accept(stream);
    loop {
        let answering = place.answering();
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
