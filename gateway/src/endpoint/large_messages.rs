//! Large messages of observers' sessions: to read one takes milliseconds of the thread that serves all clients. They
//! take turns, first come, first served, with a pause after each that is several times as long as the message
//! took. So all of them together have a part of the thread, however many sessions send them.

use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

/// A larger message takes its turn.
pub const LARGE_MESSAGE_BYTES: usize = 16 << 10;
/// The pause after a message, in multiples of the time that it took: a fifth of the thread is for them.
const PAUSE_FACTOR: u32 = 4;
/// The longest pause: a message may have waited for something else while it was handled.
const LARGE_MESSAGE_PAUSE_MS: u64 = 1_000;
/// How long a message waits for its turn.
const LARGE_MESSAGE_WAIT_MS: u64 = 5_000;

/// Keys in one message of an observer: a resume has two for each of its cursors.
pub const OBSERVER_MESSAGE_KEYS: usize = 20_000;

/// Whether a text of JSON has too many keys for an observer. Each costs an allocation, and a hundred bytes for its
/// six.
pub fn has_too_many_keys(text: &str) -> bool {
    let (mut keys, mut in_string, mut escaped) = (0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b':' if !in_string => keys += 1,
            _ => {}
        }
    }
    keys > OBSERVER_MESSAGE_KEYS
}

/// When the next large message may be read.
pub struct LargeMessages(Mutex<Instant>);

impl Default for LargeMessages {
    fn default() -> LargeMessages {
        LargeMessages(Mutex::new(Instant::now()))
    }
}

impl LargeMessages {
    /// Waits for the turn of a message, which lasts until the guard is dropped; `None` if it would wait for long.
    pub async fn acquire(&self) -> Option<LargeMessagePermit<'_>> {
        let wait = async {
            let next = self.0.lock().await;
            tokio::time::sleep_until(*next).await;
            LargeMessagePermit { next, begun: Instant::now() }
        };
        tokio::time::timeout(Duration::from_millis(LARGE_MESSAGE_WAIT_MS), wait).await.ok()
    }
}

/// The turn of a message.
pub struct LargeMessagePermit<'a> {
    next: MutexGuard<'a, Instant>,
    begun: Instant,
}

impl Drop for LargeMessagePermit<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        let pause = (now - self.begun) * PAUSE_FACTOR;
        *self.next = now + pause.min(Duration::from_millis(LARGE_MESSAGE_PAUSE_MS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_counted_and_not_what_is_in_texts() {
        let message = |keys: usize| format!("{{{}}}", vec![r#""a":"b:c\"d:""#; keys].join(","));
        assert!(!has_too_many_keys(&message(OBSERVER_MESSAGE_KEYS)));
        assert!(has_too_many_keys(&message(OBSERVER_MESSAGE_KEYS + 1)));
        assert!(!has_too_many_keys(&format!("[\"{}\"]", ":".repeat(100_000))));
    }

    #[tokio::test(start_paused = true)]
    async fn they_take_turns_with_pauses() {
        let all = LargeMessages::default();
        let begun = Instant::now();
        for n in 0..4 {
            let permit = all.acquire().await.unwrap();
            assert_eq!(begun.elapsed(), Duration::from_millis(50 * n));
            tokio::time::advance(Duration::from_millis(10)).await;
            drop(permit);
        }
        let permit = all.acquire().await.unwrap();
        assert!(all.acquire().await.is_none(), "nobody waits for long");
        drop(permit);
        assert!(all.acquire().await.is_some());
    }
}
