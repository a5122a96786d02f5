//! A frame as the outbox queues it.

use std::sync::Arc;

use bytes::Bytes;

use crate::trace::sample_trace::DeliveryTrace;

/// A frame, and the trace of its delivery if its sample is traced.
#[derive(Clone, Debug)]
pub struct QueuedFrame {
    /// The message's bytes.
    pub bytes: Bytes,
    /// What records when it is sent.
    pub trace: Option<Arc<DeliveryTrace>>,
}

impl QueuedFrame {
    /// The number of bytes.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
}

impl From<Bytes> for QueuedFrame {
    fn from(bytes: Bytes) -> QueuedFrame {
        QueuedFrame { bytes, trace: None }
    }
}
