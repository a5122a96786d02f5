//! The accept loop: bounded connections, strict timeouts.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use roverline_protocol::limits;
use roverline_source::clock::monotonic;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::access::transport::Transport;
use crate::api::health::LocalAddress;
use crate::api::response::HttpResponse;
use crate::connection::stream::ClientStream;
use crate::dialect;
use crate::endpoint::Endpoint;
use crate::server::head_arrival::{discard, wait_for_head};
use crate::server::http;
use crate::server::path_prefix;
use crate::server::pending::{PendingConnection, PendingConnections};
use crate::server::tls::{self, OpenError, Opened, Tls};
use crate::server::write_timeout::WriteTimeoutStream;

/// Kernel send buffer of a client's socket: small, so that data read after a stall is fresh.
const SOCKET_SEND_BUFFER_BYTES: usize = 64 << 10;
/// Unsent bytes in the kernel's socket buffer above which no more are written.
const SOCKET_UNSENT_BYTES: u32 = 16 << 10;
/// Connections accepted in a row. Then those that are there have their turn: of more at once, each would lose its
/// connection to a newcomer before its request had been looked for.
const ACCEPTED_IN_A_ROW: u32 = 32;
/// How long an HTTP connection may be reused.
const HTTP_CONNECTION_MS: u64 = 60_000;

/// Accepts connections until the endpoint stops or drains.
pub async fn accept_loop(
    endpoint: Arc<Endpoint>,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
) -> Arc<PendingConnections> {
    let pending: Arc<PendingConnections> = Arc::default();
    endpoint.counters.dialects.declare(dialect::all());
    let mut drain = endpoint.draining();
    let mut in_a_row = 0;
    loop {
        let (stream, peer) = tokio::select! {
            biased;
            () = endpoint.stop_token().cancelled() => break,
            // Connections left in the backlog are for the process that takes over.
            _ = drain.changed() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Most likely out of file descriptors, which clients free when they leave.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        endpoint.counters.connections.fetch_add(1, Ordering::Relaxed);
        tune(&stream);
        let evicted = &endpoint.counters.fairness.evicted_connections;
        let entry = pending.admit(peer.ip(), monotonic(), evicted);
        tokio::spawn(serve_connection(endpoint.clone(), stream, tls.clone(), peer, entry));
        in_a_row += 1;
        if in_a_row == ACCEPTED_IN_A_ROW {
            in_a_row = 0;
            // Until what the sockets have received is known.
            tokio::task::yield_now().await;
        }
    }
    pending
}

fn tune(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let set = stream.set_nodelay(true).and_then(|()| socket.set_send_buffer_size(SOCKET_SEND_BUFFER_BYTES));
    // Urgent data cannot overtake data that is in the kernel but not yet on the wire.
    let set = set.and_then(|()| socket.set_tcp_notsent_lowat(SOCKET_UNSENT_BYTES));
    if let Err(error) = set {
        tracing::debug!(%error, "socket options not set");
    }
}

async fn serve_connection(
    endpoint: Arc<Endpoint>,
    stream: TcpStream,
    tls: Option<Arc<Tls>>,
    peer: SocketAddr,
    pending: PendingConnection,
) {
    let local = stream.local_addr().map(LocalAddress).ok();
    // A TLS handshake and the first request have the time of one request.
    let deadline = Instant::now() + Duration::from_millis(limits::HANDSHAKE_TIMEOUT_MS);
    let opened = tokio::select! {
        biased;
        opened = first_request(&endpoint, stream, tls.as_deref(), (peer, &pending), deadline) => opened,
        _ = pending.evicted() => None,
    };
    let Some(Opened { stream, transport, needs_tls }) = opened else { return };
    let encrypted = transport.encrypted;
    let requests = Requests {
        endpoint: &endpoint,
        tls: tls.as_deref(),
        peer,
        local,
        transport: Arc::new(transport),
        needs_tls,
        pending: &pending,
        any: AtomicBool::new(false),
    };
    let stall_timeout = Duration::from_millis(limits::HTTP_STALL_MS);
    let stream = TokioIo::new(WriteTimeoutStream::new(stream, stall_timeout));
    let service = service_fn(|request| requests.answer(request));
    let mut connection = pin!(http1_builder().serve_connection(stream, service).with_upgrades());
    let ended = tokio::select! {
        // In this order: a request that has arrived is answered, even if a newcomer needs its slot.
        biased;
        ended = connection.as_mut() => ended,
        was_busy = pending.evicted() => {
            if was_busy {
                connection.as_mut().graceful_shutdown();
                tokio::time::timeout(stall_timeout, connection).await.unwrap_or(Ok(()))
            } else {
                Ok(())
            }
        }
        () = requests.none_by(deadline), if encrypted => {
            endpoint.counters.bad_input.fetch_add(1, Ordering::Relaxed);
            return;
        }
        () = tokio::time::sleep(Duration::from_millis(HTTP_CONNECTION_MS)) => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(stall_timeout, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended
        && (error.is_parse() || error.is_parse_too_large() || error.is_timeout())
    {
        endpoint.counters.bad_input.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%peer, %error, "not HTTP");
    }
}

/// HTTP/1.1 with the limits of this server.
fn http1_builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(limits::HANDSHAKE_TIMEOUT_MS))
        .max_headers(limits::HTTP_HEADERS)
        .max_buf_size(limits::HTTP_HEAD_BYTES);
    builder
}

/// The requests of one connection, and what is known about their client.
struct Requests<'a> {
    endpoint: &'a Arc<Endpoint>,
    tls: Option<&'a Tls>,
    /// The socket's other end: the client, or a proxy.
    peer: SocketAddr,
    local: Option<LocalAddress>,
    transport: Arc<Transport>,
    /// Whether this client has to use TLS, and does not.
    needs_tls: bool,
    pending: &'a PendingConnection,
    /// Whether there has been a request.
    any: AtomicBool,
}

impl Requests<'_> {
    async fn answer(&self, mut request: Request<Incoming>) -> Result<HttpResponse, Infallible> {
        let first = !self.any.swap(true, Ordering::Relaxed);
        if let Some(local) = self.local {
            request.extensions_mut().insert(local);
        }
        request.extensions_mut().insert(self.transport.clone());
        let _answering = self.pending.answering();
        path_prefix::strip(&self.endpoint.path_prefix, request.uri_mut());
        if self.needs_tls && http::is_refused_without_tls(&request) {
            return Ok(http::needs_tls(self.endpoint, &request));
        }
        let names = self.tls.map(Tls::names).unwrap_or_default();
        let client = self.endpoint.access.peer(self.peer, request.headers(), &names, monotonic());
        self.pending.belongs_to(client.ip());
        http::handle(self.endpoint.clone(), request, client, first).await
    }

    /// Returns at the deadline if no request has come by then.
    async fn none_by(&self, deadline: Instant) {
        tokio::time::sleep_until(deadline).await;
        if self.any.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }
}

/// The client's stream, when its first request can be read; `None` if there is none in time.
async fn first_request(
    endpoint: &Endpoint,
    stream: TcpStream,
    tls: Option<&Tls>,
    client: (SocketAddr, &PendingConnection),
    deadline: Instant,
) -> Option<Opened> {
    let opened = open(endpoint, stream, tls, client, deadline).await?;
    let ClientStream::Left(stream) = &opened.stream else { return Some(opened) };
    match tokio::time::timeout_at(deadline, wait_for_head(stream)).await {
        Ok(Ok(())) => return Some(opened),
        Ok(Err(error)) => tracing::debug!(peer = %client.0, %error, "closed before its request was read"),
        Err(_) => {
            discard(stream);
            endpoint.counters.bad_input.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(peer = %client.0, "no request in time");
        }
    }
    None
}

/// The client's stream, after a TLS handshake if it begins one; `None` if it does not succeed in time.
async fn open(
    endpoint: &Endpoint,
    stream: TcpStream,
    tls: Option<&Tls>,
    (peer, pending): (SocketAddr, &PendingConnection),
    deadline: Instant,
) -> Option<Opened> {
    let counters = &endpoint.counters;
    match tokio::time::timeout_at(deadline, tls::open(tls, stream, peer, pending)).await {
        Ok(Ok(opened)) => {
            counters.tls.completed.fetch_add(u64::from(opened.transport.encrypted), Ordering::Relaxed);
            return Some(opened);
        }
        Ok(Err(OpenError::Busy | OpenError::TooMany)) => {
            counters.tls.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Ok(Err(error)) => tracing::debug!(%error, "no TLS connection"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
    counters.tls.failed.fetch_add(1, Ordering::Relaxed);
    counters.bad_input.fetch_add(1, Ordering::Relaxed);
    None
}
