//! Byte-level activity tracking: when an endpoint last sent a byte. On a slow radio a long frame
//! takes seconds to arrive, and that must not count as silence.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::dial::Stream;

/// Time of the last received byte, shared by the connection (writer) and the manager (reader).
#[derive(Clone, Debug)]
pub(crate) struct ActivityClock {
    start: Instant,
    last_byte_us: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
}

impl ActivityClock {
    /// Times are measured from `start`.
    pub(crate) fn new(start: Instant) -> ActivityClock {
        ActivityClock { start, last_byte_us: Arc::default(), bytes: Arc::default() }
    }

    /// When the last byte arrived; zero before the first.
    pub(crate) fn last_byte_at(&self) -> Duration {
        Duration::from_micros(self.last_byte_us.load(Ordering::Relaxed))
    }

    /// Bytes that arrived so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn record(&self, bytes: usize) {
        let now_us = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.last_byte_us.store(now_us, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// A stream that records when bytes arrive.
pub(crate) struct MonitoredStream {
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) activity: ActivityClock,
}

impl AsyncRead for MonitoredStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let arrived = buffer.filled().len() - before;
        if arrived > 0 {
            self.activity.record(arrived);
        }
        read
    }
}

impl AsyncWrite for MonitoredStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
