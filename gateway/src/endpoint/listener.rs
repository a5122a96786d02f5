//! The accept loop of a port: bounded, patient with nobody.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use roverline_protocol::limits;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::{Endpoint, http};

/// Accepts until the endpoint stops.
pub async fn accept_loop(endpoint: Arc<Endpoint>, listener: TcpListener) {
    let pending = Arc::new(Semaphore::new(limits::PENDING_CONNECTIONS));
    let mut stop = endpoint.stopping();
    loop {
        // A permit first: when too many connections dawdle, new ones wait in the kernel's backlog.
        let Ok(permit) = pending.clone().acquire_owned().await else { return };
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: it passes when clients leave.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            _ = stop.changed() => return,
        };
        endpoint.counters.connections.fetch_add(1, Ordering::Relaxed);
        tune(&stream);
        let endpoint = endpoint.clone();
        tokio::spawn(async move {
            serve_connection(endpoint, stream, peer).await;
            drop(permit);
        });
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

async fn serve_connection(endpoint: Arc<Endpoint>, stream: TcpStream, peer: std::net::SocketAddr) {
    let service_endpoint = endpoint.clone();
    let service = service_fn(move |request| http::handle(service_endpoint.clone(), request, peer));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(limits::HANDSHAKE_TIMEOUT_MS))
        .max_headers(limits::HTTP_HEADERS)
        .max_buf_size(limits::HTTP_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if let Err(error) = connection.await
        && (error.is_parse() || error.is_parse_too_large() || error.is_timeout())
    {
        endpoint.counters.bad_input.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%peer, %error, "not HTTP");
    }
}
