//! The writer task of one client's socket: vectored writes of whole batches, with a time limit.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use roverline_source::clock::monotonic;
use tokio::time::timeout;

use crate::connection::outbox::{Batch, NextStep, Outbox};
use crate::connection::stream::WriteHalf;
use crate::limits;

const BATCH_BYTES: usize = 64 << 10;
/// While the socket is slow, batches are smaller: frames that were taken can no longer be overtaken.
const SLOW_BATCH_BYTES: usize = 4 << 10;
/// One batch in so many is timed: two readings of the clock for each would cost as much as 2 % of a delivery.
const TIMED_BATCHES_MULTIPLE: u32 = 16;

/// Writes until the outbox is closed, the client is gone, or it has read nothing for too long.
pub(crate) async fn run(mut socket: WriteHalf, outbox: Arc<Outbox>) {
    let mut batch = Batch::default();
    let (mut batch_bytes, mut batches) = (BATCH_BYTES, 0u32);
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
        batches = batches.wrapping_add(1);
        let timed_since = batches.is_multiple_of(TIMED_BATCHES_MULTIPLE).then(monotonic);
        let written = write_batch(&socket, &mut batch, slow, stall_timeout, &outbox).await;
        if let Some(since) = timed_since {
            outbox.record_write(monotonic().saturating_sub(since));
        }
        match written {
            Ok(true) if next == NextStep::Continue => batch_bytes = SLOW_BATCH_BYTES,
            Ok(false) if next == NextStep::Continue => batch_bytes = (batch_bytes * 2).min(BATCH_BYTES),
            _ => break,
        }
    }
    let _ = timeout(Duration::from_millis(500), socket.shutdown()).await;
    outbox.ended.notify_one();
}

/// `stall_timeout` bounds each wait for the socket to become writable. Returns whether it had to wait.
async fn write_batch(
    socket: &WriteHalf,
    batch: &mut Batch,
    slow: bool,
    stall_timeout: Duration,
    outbox: &Outbox,
) -> io::Result<bool> {
    let (mut first, mut waited) = (0, false);
    loop {
        let frames = &mut batch.frames;
        let rest = &frames[first..];
        let wrote = if rest.is_empty() {
            socket.try_flush().map(|()| None)
        } else {
            socket.try_write(rest, slow || waited).map(Some)
        };
        let mut written = match wrote {
            Ok(None) => break,
            Ok(Some(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(Some(written)) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                waited = true;
                outbox.set_blocked_since(Some(monotonic()));
                timeout(stall_timeout, socket.writable()).await??;
                outbox.set_blocked_since(None);
                continue;
            }
            Err(error) => return Err(error),
        };
        while first < frames.len() && written >= frames[first].len() {
            written -= frames[first].len();
            first += 1;
        }
        if written > 0 {
            frames[first].advance(written);
        }
    }
    batch.written(monotonic);
    Ok(waited)
}
