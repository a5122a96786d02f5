//! The task that writes one client's socket: whole batches, gathered, with a limit on waiting.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use roverline_protocol::limits;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::timeout;

use crate::connection::outbox::{After, Outbox};

const BATCH_BYTES: usize = 64 << 10;
/// While the socket does not keep up, less is taken at once: what is taken cannot be overtaken.
const SLOW_BATCH_BYTES: usize = 4 << 10;

/// Writes until the outbox is closed, the client is gone, or it has read nothing for too long.
pub(crate) async fn run(mut socket: OwnedWriteHalf, outbox: Arc<Outbox>) {
    let mut batch = Vec::with_capacity(64);
    let mut batch_bytes = BATCH_BYTES;
    loop {
        let after = outbox.take(&mut batch, batch_bytes).await;
        if after == After::Abort {
            tracing::warn!("a client does not take its answers: cut off");
            break;
        }
        let patience = match after {
            After::Close => Duration::from_millis(500),
            _ => Duration::from_millis(limits::CLIENT_STALL_MS),
        };
        let slow = batch_bytes < BATCH_BYTES;
        match write_batch(&socket, &mut batch, slow, patience, &outbox).await {
            Ok(true) if after == After::Continue => batch_bytes = SLOW_BATCH_BYTES,
            Ok(false) if after == After::Continue => batch_bytes = (batch_bytes * 2).min(BATCH_BYTES),
            _ => break,
        }
    }
    let _ = timeout(Duration::from_millis(500), socket.shutdown()).await;
    outbox.ended.notify_one();
}

/// Writes what the socket takes now. A lone frame, which is the usual case, goes by the cheaper call.
fn try_write(socket: &OwnedWriteHalf, frames: &[Bytes], slow: bool) -> io::Result<usize> {
    if slow {
        // A write adds to the last segment that is not yet sent, as long as that has room: up to
        // 64 KB, whatever `SOCKET_UNSENT_BYTES` says. Only a poll holds to it (Linux, tcp_sendmsg).
        socket.as_ref().try_io(Interest::WRITABLE, || has_room(socket.as_ref()))?;
    }
    if let [frame] = frames {
        return socket.try_write(frame);
    }
    let mut slices = [IoSlice::new(&[]); 64];
    for (slice, frame) in slices.iter_mut().zip(frames) {
        *slice = IoSlice::new(frame);
    }
    socket.try_write_vectored(&slices[..frames.len().min(64)])
}

fn has_room(socket: &TcpStream) -> io::Result<()> {
    let mut asked = [PollFd::new(socket, PollFlags::OUT)];
    match poll(&mut asked, Some(&Timespec::default()))? {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        _ => Ok(()),
    }
}

/// `patience` bounds each wait for the socket to take anything at all. Returns whether it had to wait.
async fn write_batch(
    socket: &OwnedWriteHalf,
    batch: &mut Vec<Bytes>,
    slow: bool,
    patience: Duration,
    outbox: &Outbox,
) -> io::Result<bool> {
    let (mut first, mut waited) = (0, false);
    while first < batch.len() {
        let mut written = match try_write(socket, &batch[first..], slow || waited) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                waited = true;
                outbox.blocked(Some(roverline_source::clock::monotonic()));
                timeout(patience, socket.writable()).await??;
                outbox.blocked(None);
                continue;
            }
            Err(error) => return Err(error),
        };
        while first < batch.len() && written >= batch[first].len() {
            written -= batch[first].len();
            first += 1;
        }
        if written > 0 {
            batch[first].advance(written);
        }
    }
    batch.clear();
    Ok(waited)
}
