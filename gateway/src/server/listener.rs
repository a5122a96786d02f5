//! The accept loop of a port: bounded, patient with nobody.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use roverline_protocol::limits;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{AcquireError, Notify, OwnedSemaphorePermit, Semaphore};

use crate::endpoint::Endpoint;
use crate::server::http;
use crate::server::write_timeout::{Patient, Progress};

/// Connections that were accepted and are not sessions yet.
pub struct Pending(Arc<Semaphore>);

impl Pending {
    /// Waits until each of them is a session, or gone.
    pub(crate) async fn settled(&self) {
        let _ = self.0.acquire_many(limits::PENDING_CONNECTIONS as u32).await;
    }
}

/// Accepts until the endpoint stops or drains.
pub async fn accept_loop(endpoint: Arc<Endpoint>, listener: TcpListener) -> Pending {
    let pending = Arc::new(Semaphore::new(limits::PENDING_CONNECTIONS));
    let crowd: Arc<Notify> = Arc::default();
    let (mut stop, mut drain) = (endpoint.stopping(), endpoint.draining());
    loop {
        // A permit first: when too many connections dawdle, new ones wait in the kernel's backlog.
        let accept = async {
            let permit = place(&pending, &crowd).await;
            (permit, listener.accept().await)
        };
        let (permit, (stream, peer)) = tokio::select! {
            biased;
            _ = stop.changed() => break,
            // What waits in the backlog is for the process that takes over.
            _ = drain.changed() => break,
            (permit, accepted) = accept => match accepted {
                Ok(accepted) => (permit, accepted),
                Err(error) => {
                    // Out of file descriptors, most likely: it passes when clients leave.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        endpoint.counters.connections.fetch_add(1, Ordering::Relaxed);
        tune(&stream);
        let (endpoint, crowd) = (endpoint.clone(), crowd.clone());
        tokio::spawn(async move {
            serve_connection(endpoint, stream, peer, &crowd).await;
            drop(permit);
        });
    }
    Pending(pending)
}

/// A place for a connection. While there is none, those that hold one are asked to be quick.
async fn place(pending: &Arc<Semaphore>, crowd: &Notify) -> Result<OwnedSemaphorePermit, AcquireError> {
    let pause = Duration::from_millis(limits::HTTP_CROWDED_MS / 4);
    loop {
        match tokio::time::timeout(pause, pending.clone().acquire_owned()).await {
            Ok(permit) => return permit,
            Err(_) => crowd.notify_waiters(),
        }
    }
}

/// Returns when others wait for the place of a connection that does nothing.
async fn in_the_way(crowd: &Notify, progress: Progress) {
    loop {
        crowd.notified().await;
        if progress.idle() > Duration::from_millis(limits::HTTP_CROWDED_MS) {
            return;
        }
    }
}

fn tune(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let set =
        stream.set_nodelay(true).and_then(|()| socket.set_send_buffer_size(limits::SOCKET_SEND_BUFFER_BYTES));
    // What is in the kernel and not yet on the wire cannot be overtaken by what is more urgent.
    let set = set.and_then(|()| socket.set_tcp_notsent_lowat(limits::SOCKET_UNSENT_BYTES));
    if let Err(error) = set {
        tracing::debug!(%error, "socket options not set");
    }
}

async fn serve_connection(
    endpoint: Arc<Endpoint>,
    stream: TcpStream,
    peer: std::net::SocketAddr,
    crowd: &Notify,
) {
    let service_endpoint = endpoint.clone();
    let first = AtomicBool::new(true);
    let service = service_fn(move |request| {
        let first = first.swap(false, Ordering::Relaxed);
        http::handle(service_endpoint.clone(), request, peer, first)
    });
    let patience = Duration::from_millis(limits::HTTP_STALL_MS);
    let stream = Patient::new(stream, patience);
    let progress = stream.progress();
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_millis(limits::HANDSHAKE_TIMEOUT_MS))
            .max_headers(limits::HTTP_HEADERS)
            .max_buf_size(limits::HTTP_HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        // Places are few, and nobody keeps one for good: after its answer it may come again.
        () = in_the_way(crowd, progress) => Ok(()),
        () = tokio::time::sleep(Duration::from_millis(limits::HTTP_CONNECTION_MS)) => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(patience, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended
        && (error.is_parse() || error.is_parse_too_large() || error.is_timeout())
    {
        endpoint.counters.bad_input.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%peer, %error, "not HTTP");
    }
}
