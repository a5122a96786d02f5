//! How a stream to an endpoint comes about.

use std::io;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use roverline_protocol::limits;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, lookup_host};

/// What a WebSocket runs over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Opens a stream to `host:port`. Tests have their own.
pub(crate) type Dialer = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> + Send + Sync>;

/// Over TCP, to the first address of the host that answers.
pub(crate) fn tcp() -> Dialer {
    Arc::new(|authority| Box::pin(connect(authority)))
}

async fn connect(authority: String) -> io::Result<Box<dyn Stream>> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in lookup_host(authority).await? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // Before connecting: the window is agreed upon then.
        SockRef::from(&socket).set_recv_buffer_size(limits::SOCKET_RECEIVE_BUFFER_BYTES)?;
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
