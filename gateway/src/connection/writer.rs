//! The writer task of one client's socket: vectored writes of whole batches, with a time limit.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::timeout;

use crate::connection::outbox::{NextStep, Outbox};
use crate::limits;

const BATCH_BYTES: usize = 64 << 10;
/// While the socket is slow, batches are smaller: frames that were taken can no longer be overtaken.
const SLOW_BATCH_BYTES: usize = 4 << 10;

/// Writes until the outbox is closed, the client is gone, or it has read nothing for too long.
pub(crate) async fn run(mut socket: OwnedWriteHalf, outbox: Arc<Outbox>) {
    let mut batch = Vec::with_capacity(64);
    let mut batch_bytes = BATCH_BYTES;
    loop {
        let next = outbox.take(&mut batch, batch_bytes).await;
        if next == NextStep::Abort {
            tracing::warn!("a client does not take its answers: cut off");
            break;
        }
        let stall_timeout = match next {
            NextStep::Close => Duration::from_millis(500),
            _ => Duration::from_millis(limits::CLIENT_STALL_MS),
        };
        let slow = batch_bytes < BATCH_BYTES;
        match write_batch(&socket, &mut batch, slow, stall_timeout, &outbox).await {
            Ok(true) if next == NextStep::Continue => batch_bytes = SLOW_BATCH_BYTES,
            Ok(false) if next == NextStep::Continue => batch_bytes = (batch_bytes * 2).min(BATCH_BYTES),
            _ => break,
        }
    }
    let _ = timeout(Duration::from_millis(500), socket.shutdown()).await;
    outbox.ended.notify_one();
}

/// Writes as much as the socket accepts now. A single frame, the usual case, uses the cheaper system call.
fn try_write(socket: &OwnedWriteHalf, frames: &[Bytes], slow: bool) -> io::Result<usize> {
    if slow {
        // A write extends the last unsent segment up to 64 KB, whatever `SOCKET_UNSENT_BYTES` says. Only a
        // poll respects that limit (Linux, tcp_sendmsg).
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
    let mut descriptors = [PollFd::new(socket, PollFlags::OUT)];
    match poll(&mut descriptors, Some(&Timespec::default()))? {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        _ => Ok(()),
    }
}

/// `stall_timeout` bounds each wait for the socket to become writable. Returns whether it had to wait.
async fn write_batch(
    socket: &OwnedWriteHalf,
    batch: &mut Vec<Bytes>,
    slow: bool,
    stall_timeout: Duration,
    outbox: &Outbox,
) -> io::Result<bool> {
    let (mut first, mut waited) = (0, false);
    while first < batch.len() {
        let mut written = match try_write(socket, &batch[first..], slow || waited) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                waited = true;
                outbox.set_blocked_since(Some(roverline_source::clock::monotonic()));
                timeout(stall_timeout, socket.writable()).await??;
                outbox.set_blocked_since(None);
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
