//! How much each author has written in the current minute: bytes, or entries.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Authors counted at a time; beyond that, all begin again.
const PACED_ENTRIES: usize = 4_096;
const MINUTE: Duration = Duration::from_secs(60);

/// Bytes written since the beginning of each author's minute.
#[derive(Debug, Default)]
pub(crate) struct Pace(HashMap<Arc<str>, (Duration, u64)>);

impl Pace {
    /// Counts what is about to be written, unless it is too much; then returns when the next minute begins.
    pub(crate) fn take(
        &mut self,
        owner: &Arc<str>,
        amount: u64,
        most: u64,
        now: Duration,
    ) -> Result<(), Duration> {
        if self.0.len() >= PACED_ENTRIES && !self.0.contains_key(owner) {
            self.0.retain(|_, (begun, _)| now.saturating_sub(*begun) < MINUTE);
            if self.0.len() >= PACED_ENTRIES {
                self.0.clear();
            }
        }
        let (begun, written) = self.0.entry(owner.clone()).or_insert((now, 0));
        let age = now.saturating_sub(*begun);
        if age >= MINUTE {
            (*begun, *written) = (now, 0);
        } else if written.saturating_add(amount) > most {
            return Err(MINUTE - age);
        }
        *written = written.saturating_add(amount);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_later_it_begins_again() {
        let (mut pace, ada) = (Pace::default(), Arc::from("ada"));
        let mut take = |bytes, s| pace.take(&ada, bytes, 100, Duration::from_secs(s));
        assert_eq!((take(60, 1), take(41, 21)), (Ok(()), Err(Duration::from_secs(40))));
        assert_eq!((take(40, 30), take(1, 60), take(100, 61)), (Ok(()), Err(Duration::from_secs(1)), Ok(())));
    }
}
