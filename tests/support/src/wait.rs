//! Waiting: for a condition with a deadline, or for a stated reason for a fixed time.

use std::time::{Duration, Instant};

/// Between two checks of a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Polls `condition` until it is true and returns how long that took; panics with `what` after `patience`.
pub fn eventually(what: &str, patience: Duration, mut condition: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    if poll(patience, || condition().then_some(())).is_none() {
        panic!("not within {patience:?}: {what}");
    }
    start.elapsed()
}

/// Polls `condition` for `duration`; panics with `what` as soon as it is false.
pub fn always(what: &str, duration: Duration, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    let violated = poll(duration, || (!condition()).then(|| start.elapsed()));
    if let Some(after) = violated {
        panic!("no longer after {after:?}: {what}");
    }
}

/// Polls `find` until it returns a value; `None` after `patience`.
pub fn poll<T>(patience: Duration, mut find: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = find() {
            return Some(found);
        }
        if start.elapsed() >= patience {
            return None;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Polls `find` like [`poll`], without blocking the runtime.
pub async fn poll_async<T>(patience: Duration, mut find: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let start = tokio::time::Instant::now();
    loop {
        if let Some(found) = find().await {
            return Some(found);
        }
        if start.elapsed() >= patience {
            return None;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Lets a fixed time pass. `_why` is the reason: a fault's duration, a rhythm, a measurement, or an
/// event that cannot be observed. Use [`eventually`] for everything that can be.
pub fn observe_for(duration: Duration, _why: &str) {
    std::thread::sleep(duration);
}

/// Lets a fixed time pass like [`observe_for`], without blocking the runtime.
pub async fn observe_for_async(duration: Duration, _why: &str) {
    tokio::time::sleep(duration).await;
}

/// The output of `future`; panics with `what` if it takes longer than `patience`.
pub async fn within<T>(what: &str, patience: Duration, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(patience, future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {patience:?}: {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(30);

    #[test]
    fn a_value_is_found_or_the_deadline_passes() {
        let mut calls = 0;
        let found = poll(Duration::from_secs(10), || {
            calls += 1;
            (calls == 3).then_some(calls)
        });
        assert_eq!(found, Some(3));
        assert_eq!(poll(SHORT, || None::<u8>), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_without_blocking() {
        let mut calls = 0;
        let found = poll_async(Duration::from_secs(10), async || {
            calls += 1;
            (calls == 3).then_some(calls)
        });
        assert_eq!(found.await, Some(3));
    }

    #[test]
    #[should_panic(expected = "not within 30ms: pigs fly")]
    fn a_missed_deadline_is_reported() {
        eventually("pigs fly", SHORT, || false);
    }

    #[test]
    #[should_panic(expected = "it stays")]
    fn a_condition_that_ends_is_reported() {
        let start = Instant::now();
        always("it stays", Duration::from_secs(10), || start.elapsed() < SHORT);
    }
}
