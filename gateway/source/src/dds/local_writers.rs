//! Our own writers, as the reader thread sees them.

use std::collections::VecDeque;
use std::sync::OnceLock;

use bytes::Bytes;
use parking_lot::Mutex;
use roverline_protocol::{Guid, SampleId};

use crate::RawSample;
use crate::clock::unix_ns;
use crate::dds::catalog::Offer;
use crate::dds::engine::Written;
use crate::dds::engine::wait_set::Trigger;

/// Our own messages that may wait for the reader thread.
const MAX_ECHO: usize = 256;

/// Our own writers, as the reader thread sees them. Discovery does not list them, and whether a
/// participant receives its own samples depends on the network. So the publishing side records what it
/// wrote, and this endpoint's clients see it under the same identity as clients of the other endpoints.
#[derive(Default)]
pub(super) struct LocalWriters {
    state: Mutex<LocalWritersState>,
    waker: OnceLock<Trigger>,
}

#[derive(Default)]
struct LocalWritersState {
    offers: Vec<Offer>,
    offers_changed: bool,
    echo: VecDeque<(String, RawSample)>,
}

impl LocalWriters {
    /// Sets the waker of the reader thread. Without one, nothing is recorded.
    pub(super) fn wake_with(&self, waker: Trigger) {
        let _ = self.waker.set(waker);
    }

    /// Our writers, as other participants see them.
    pub(super) fn offers(&self) -> Vec<Offer> {
        self.state.lock().offers.clone()
    }

    /// The Guids of our writers.
    pub(super) fn ids(&self) -> Vec<Guid> {
        self.state.lock().offers.iter().map(|offer| offer.writer).collect()
    }

    /// Takes whether the set of writers changed, and what was written since the last call.
    pub(super) fn take_changes(&self) -> (bool, VecDeque<(String, RawSample)>) {
        let mut state = self.state.lock();
        (std::mem::take(&mut state.offers_changed), std::mem::take(&mut state.echo))
    }

    /// Records that the set of served services changed.
    pub(super) fn notify_changed(&self) {
        self.state.lock().offers_changed = true;
        self.wake();
    }

    /// Replaces a writer by another, or one of them by nothing.
    pub(super) fn replace_offer(&self, replaced: Option<Guid>, offer: Option<Offer>) {
        let mut state = self.state.lock();
        state.offers.retain(|known| Some(known.writer) != replaced);
        state.offers.extend(offer);
        state.offers_changed = true;
        drop(state);
        self.wake();
    }

    /// Records a message that was written.
    pub(super) fn record_write(&self, topic: String, written: Written, payload: Bytes) {
        if self.waker.get().is_none() {
            return;
        }
        let Written { identity, source_time_ns } = written;
        let seq = u64::try_from(identity.sequence_number).unwrap_or(0);
        let id = SampleId { source: identity.writer, seq };
        let receive_time_ns = unix_ns();
        let mut state = self.state.lock();
        if state.echo.len() == MAX_ECHO {
            state.echo.pop_front();
        }
        state.echo.push_back((topic, RawSample { id, source_time_ns, receive_time_ns, payload }));
        drop(state);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.fire();
        }
    }
}
