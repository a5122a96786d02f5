//! Opens the byte stream to an endpoint: TCP in production, in memory in tests.

use std::io;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, lookup_host};

/// Kernel receive buffer of a client's socket: small, so that little is stale after a pause.
const SOCKET_RECEIVE_BUFFER_BYTES: usize = 128 << 10;

/// A byte stream that a WebSocket can run over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Opens a stream to `host:port`. Tests supply their own.
pub(crate) type Dialer = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> + Send + Sync>;

/// Dials TCP, trying each address of the host until one answers.
pub(crate) fn tcp() -> Dialer {
    Arc::new(|authority| Box::pin(connect(authority)))
}

async fn connect(authority: String) -> io::Result<Box<dyn Stream>> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in lookup_host(authority).await? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // Before connecting: the window scale is negotiated in the handshake.
        SockRef::from(&socket).set_recv_buffer_size(SOCKET_RECEIVE_BUFFER_BYTES)?;
        match socket.connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(Box::new(stream));
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}
