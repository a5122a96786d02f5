//! Sliding window: which of a writer's last samples were received, counted back from the newest.

/// Window size in samples.
pub(super) const SPAN: u64 = 1_024;
const WORDS: usize = (SPAN / 64) as usize;

/// Bit `n` says whether the sample `n` before the newest was received.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window([u64; WORDS]);

impl Window {
    /// A window in which only the newest was received.
    pub(super) fn new() -> Window {
        let mut words = [0; WORDS];
        words[0] = 1;
        Window(words)
    }

    /// Moves the newest forward by `ahead` and marks it as received.
    pub(super) fn advance(&mut self, ahead: u64) {
        let (words, bits) = ((ahead / 64) as usize, (ahead % 64) as u32);
        for at in (0..WORDS).rev() {
            let from = |back: usize| at.checked_sub(back).map_or(0, |source| self.0[source]);
            let carried = if bits == 0 { 0 } else { from(words.saturating_add(1)) >> (64 - bits) };
            self.0[at] = (from(words) << bits) | carried;
        }
        self.0[0] |= 1;
    }

    /// Whether the sample this far before the newest was received, or is outside the window.
    pub(super) fn has(&self, behind: u64) -> bool {
        self.0.get((behind / 64) as usize).is_none_or(|word| word & (1 << (behind % 64)) != 0)
    }

    /// Marks it as received.
    pub(super) fn set(&mut self, behind: u64) {
        if let Some(word) = self.0.get_mut((behind / 64) as usize) {
            *word |= 1 << (behind % 64);
        }
    }

    /// Distance from the newest to the oldest missing sample between received ones; `None` if none
    /// is missing.
    pub(super) fn oldest_hole(&self) -> Option<u64> {
        let mut beyond_oldest = false;
        for (at, word) in self.0.iter().enumerate().rev() {
            let mut missing = !word;
            if !beyond_oldest {
                if *word == 0 {
                    continue;
                }
                beyond_oldest = true;
                // Samples before the oldest received one were never wanted.
                let oldest = 63 - word.leading_zeros();
                missing &= (1u64 << oldest) - 1;
            }
            if missing != 0 {
                return Some(at as u64 * 64 + u64::from(63 - missing.leading_zeros()));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// It agrees with a set of numbers.
        #[test]
        fn is_a_set(steps in prop::collection::vec((0u64..400, 0u64..1_100), 1..60)) {
            let (mut window, mut newest, mut seen) = (Window::new(), 5_000u64, BTreeSet::from([5_000u64]));
            for (ahead, behind) in steps {
                if ahead > 0 {
                    window.advance(ahead);
                    newest += ahead;
                    seen.insert(newest);
                }
                if behind < SPAN {
                    window.set(behind);
                    seen.insert(newest - behind);
                }
                seen.retain(|seq| newest - seq < SPAN);
                let oldest = *seen.first().unwrap();
                let hole = (oldest..newest).find(|seq| !seen.contains(seq)).map(|seq| newest - seq);
                prop_assert_eq!(window.oldest_hole(), hole);
                prop_assert!((0..SPAN).all(|behind| window.has(behind) == seen.contains(&(newest - behind))));
            }
        }
    }
}
