//! The last samples of one topic, for clients that come back.

use std::time::Duration;

use crate::limits;

/// What a ring may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingLimits {
    /// Bytes of all samples.
    pub bytes: usize,
    /// Samples.
    pub samples: usize,
    /// Age beyond which a sample goes.
    pub age: Duration,
}

impl Default for RingLimits {
    fn default() -> Self {
        RingLimits {
            bytes: limits::REPLAY_TOPIC_BYTES,
            samples: limits::REPLAY_TOPIC_SAMPLES,
            age: Duration::from_millis(limits::REPLAY_AGE_MS),
        }
    }
}

/// The last samples of one topic, of all its writers.
#[derive(Clone, Debug, Default)]
pub struct Ring<T> {
    /// To come.
    pub samples: Vec<T>,
}

/// What a client misses of one topic: what can be replayed, in order of arrival, and what cannot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay<T> {
    /// Samples, oldest first.
    pub samples: Vec<T>,
    /// Per writer: the newest the client has, and the oldest it will get.
    pub gaps: Vec<(crate::Guid, u64, u64)>,
}
