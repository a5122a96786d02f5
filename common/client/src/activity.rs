//! When an endpoint was heard last, to the byte: on a slow radio a long frame arrives for seconds,
//! and that is no silence.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::dial::Stream;

/// The time of the last byte, shared by the connection that reads and the manager that judges.
#[derive(Clone, Debug)]
pub(crate) struct Ear {
    start: Instant,
    heard_us: Arc<AtomicU64>,
}

impl Ear {
    /// Times are told since `start`.
    pub(crate) fn new(start: Instant) -> Ear {
        Ear { start, heard_us: Arc::default() }
    }

    /// When the last byte came; zero before the first.
    pub(crate) fn heard_at(&self) -> Duration {
        Duration::from_micros(self.heard_us.load(Ordering::Relaxed))
    }

    fn heard(&self) {
        let now_us = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.heard_us.store(now_us, Ordering::Relaxed);
    }
}

/// A stream at which somebody listens.
pub(crate) struct Heard {
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) ear: Ear,
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.ear.heard();
        }
        read
    }
}

impl AsyncWrite for Heard {
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
