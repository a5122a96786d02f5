//! A client's byte stream: TCP, or TLS over it, with halves for the session's reader and writer.

use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use crate::connection::paced_socket::PacedSocket;

/// Bytes of one client that are encrypted and that its socket has not accepted yet. They cannot be overtaken.
const TLS_BUFFER_BYTES: usize = 64 << 10;
/// Frames of one write.
const SLICES: usize = 64;

/// A connection to a client: not encrypted, or after a TLS handshake.
pub type ClientStream = Either<TcpStream, Box<TlsStream<PacedSocket>>>;

/// A connection after its TLS handshake.
pub(crate) fn tls(mut stream: TlsStream<PacedSocket>) -> ClientStream {
    stream.get_mut().1.set_buffer_limit(Some(TLS_BUFFER_BYTES));
    Either::Right(Box::new(stream))
}

/// Halves that two tasks use.
pub(crate) fn split(stream: ClientStream) -> (ReadHalf, WriteHalf) {
    match stream {
        Either::Left(stream) => {
            let (read, write) = stream.into_split();
            (ReadHalf::Plain(read), WriteHalf::Plain(write))
        }
        Either::Right(stream) => {
            let shared = Arc::new(Mutex::new(*stream));
            (ReadHalf::Tls(shared.clone()), WriteHalf::Tls(shared))
        }
    }
}

/// The half that the session reads.
#[derive(Debug)]
pub enum ReadHalf {
    /// Not encrypted.
    Plain(OwnedReadHalf),
    /// Over TLS.
    Tls(Arc<Mutex<TlsStream<PacedSocket>>>),
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            ReadHalf::Plain(read) => Pin::new(read).poll_read(context, buffer),
            ReadHalf::Tls(stream) => Pin::new(&mut *stream.lock()).poll_read(context, buffer),
        }
    }
}

/// The half that the writer's task has. Its writes do not wait; [`WriteHalf::writable`] does.
#[derive(Debug)]
pub(crate) enum WriteHalf {
    /// Not encrypted.
    Plain(OwnedWriteHalf),
    /// Over TLS.
    Tls(Arc<Mutex<TlsStream<PacedSocket>>>),
}

impl WriteHalf {
    /// Writes as much as the socket accepts now. If it is `slow`, only if there is room below the limit for
    /// unsent bytes.
    pub(crate) fn try_write(&self, frames: &[Bytes], slow: bool) -> io::Result<usize> {
        match self {
            WriteHalf::Plain(socket) => {
                if slow {
                    check_room(socket.as_ref())?;
                }
                // A single frame, the usual case, uses the cheaper system call.
                match frames {
                    [frame] => socket.try_write(frame),
                    _ => with_slices(frames, |slices| socket.try_write_vectored(slices)),
                }
            }
            WriteHalf::Tls(stream) => {
                let mut stream = stream.lock();
                // Encrypted records are sent first, and nothing is added to them.
                send_records(&mut stream)?;
                if slow {
                    check_room(stream.get_ref().0.socket())?;
                }
                let mut session = stream.get_mut().1.writer();
                let written = with_slices(frames, |slices| session.write_vectored(slices))?;
                match send_records(&mut stream) {
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
                    _ => Ok(written),
                }
            }
        }
    }

    /// Sends what was written and is still in this process.
    pub(crate) fn try_flush(&self) -> io::Result<()> {
        match self {
            WriteHalf::Plain(_) => Ok(()),
            WriteHalf::Tls(stream) => send_records(&mut stream.lock()),
        }
    }

    /// Waits until the socket may accept more.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        match self {
            WriteHalf::Plain(socket) => socket.writable().await,
            WriteHalf::Tls(stream) => {
                std::future::poll_fn(|context| stream.lock().get_ref().0.socket().poll_write_ready(context))
                    .await
            }
        }
    }

    /// Ends the stream for the client.
    pub(crate) async fn shutdown(&mut self) -> io::Result<()> {
        std::future::poll_fn(|context| match self {
            WriteHalf::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            WriteHalf::Tls(stream) => {
                let mut stream = stream.lock();
                let ended = ready!(Pin::new(&mut *stream).poll_shutdown(context));
                Poll::Ready(ended)
            }
        })
        .await
    }
}

fn with_slices<T>(frames: &[Bytes], write: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
    let mut slices = [IoSlice::new(&[]); SLICES];
    for (slice, frame) in slices.iter_mut().zip(frames) {
        *slice = IoSlice::new(frame);
    }
    write(&slices[..frames.len().min(SLICES)])
}

/// A write extends the last unsent segment up to 64 KB, whatever limit the socket has for unsent bytes. Only a
/// poll respects that limit (Linux, tcp_sendmsg).
fn check_room(socket: &TcpStream) -> io::Result<()> {
    socket.try_io(Interest::WRITABLE, || {
        let mut descriptors = [PollFd::new(socket, PollFlags::OUT)];
        match poll(&mut descriptors, Some(&Timespec::default()))? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(()),
        }
    })
}

/// Sends encrypted records until none is left or the socket accepts no more.
fn send_records(stream: &mut TlsStream<PacedSocket>) -> io::Result<()> {
    let (socket, session) = stream.get_mut();
    while session.wants_write() {
        if session.write_tls(&mut SocketWriter(socket.socket()))? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}

/// Writes to a socket without waiting.
struct SocketWriter<'a>(&'a TcpStream);

impl io::Write for SocketWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
