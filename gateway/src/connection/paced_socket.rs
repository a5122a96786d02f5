//! A socket below TLS, from which a task reads a bounded amount before others have their turn. One record may be
//! tiny and yet cost a computation (a change of keys takes 30 bytes), so a client could hold the thread with them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes read in a row: 550 changes of keys, about a millisecond.
const BYTES_IN_A_ROW: usize = 16 << 10;

/// The socket, and what was read from it in a row.
#[derive(Debug)]
pub struct PacedSocket {
    socket: TcpStream,
    in_a_row: usize,
}

impl PacedSocket {
    /// Paces this socket.
    pub fn new(socket: TcpStream) -> PacedSocket {
        PacedSocket { socket, in_a_row: 0 }
    }

    /// The socket itself.
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }
}

impl AsyncRead for PacedSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.in_a_row >= BYTES_IN_A_ROW {
            self.in_a_row = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(context, buffer);
        match read {
            Poll::Ready(_) => self.in_a_row += buffer.filled().len() - before,
            Poll::Pending => self.in_a_row = 0,
        }
        read
    }
}

impl AsyncWrite for PacedSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_task_yields_after_what_it_reads_in_a_row() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        client.write_all(&[7; 2 * BYTES_IN_A_ROW]).await.unwrap();
        drop(client);
        server.readable().await.unwrap();
        let mut paced = PacedSocket::new(server);
        let mut bytes = vec![0; BYTES_IN_A_ROW];
        paced.read_exact(&mut bytes).await.unwrap();
        let mut read = Box::pin(paced.read_to_end(&mut bytes));
        assert!(futures_util::poll!(&mut read).is_pending(), "others have their turn");
        assert_eq!(read.await.unwrap(), BYTES_IN_A_ROW, "and nothing is lost");
    }
}
