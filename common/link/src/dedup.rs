//! Drops what another endpoint has delivered already.

use std::collections::HashMap;
use std::time::Duration;

use roverline_protocol::{Guid, SampleId};

/// Writers remembered.
const WRITERS: usize = 8_192;
/// A sequence number this far back is not an echo but a writer that began anew.
const WINDOW: u64 = 4_096;
/// The same for a writer that has been silent for this long.
const MEMORY: Duration = Duration::from_secs(5);

/// The newest sequence number of every writer. Endpoints deliver each writer in order, so what is
/// not newer was seen.
#[derive(Debug, Default)]
pub(crate) struct Dedup(HashMap<Guid, (u64, Duration)>);

impl Dedup {
    /// Whether this sample is new; remembers it.
    pub(crate) fn is_new(&mut self, id: SampleId, now: Duration) -> bool {
        if let Some((newest, at)) = self.0.get_mut(&id.source) {
            let echo = id.seq <= *newest && *newest - id.seq < WINDOW;
            if echo && now.saturating_sub(*at) < MEMORY {
                return false;
            }
            (*newest, *at) = (id.seq, now);
            return true;
        }
        if self.0.len() >= WRITERS {
            self.0.retain(|_, (_, at)| now.saturating_sub(*at) < MEMORY);
        }
        if self.0.len() < WRITERS {
            self.0.insert(id.source, (id.seq, now));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_is_dropped_and_a_restarted_writer_is_not() {
        let id = |seq| SampleId { source: Guid::from_name("/a"), seq };
        let at = Duration::from_secs;
        let mut dedup = Dedup::default();
        assert!(dedup.is_new(id(10_000), at(0)));
        assert!(!dedup.is_new(id(10_000), at(1)));
        assert!(!dedup.is_new(id(9_000), at(1)));
        assert!(dedup.is_new(id(10_001), at(1)));
        assert!(dedup.is_new(id(1), at(2)), "far back: began anew");
        assert!(dedup.is_new(id(1), at(60)), "long silent: began anew");
    }
}
