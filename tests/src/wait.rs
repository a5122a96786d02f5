//! Waiting for something to be so, with a bound.

use std::time::{Duration, Instant};

/// Waits until `is_so`, asking often; panics with `what` when it takes longer than `patience`.
/// Returns how long it took.
pub fn eventually(what: &str, patience: Duration, mut is_so: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < patience, "not within {patience:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
    start.elapsed()
}

/// `future`, or a panic with `what` when it takes longer than `patience`.
pub async fn within<T>(what: &str, patience: Duration, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(patience, future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {patience:?}: {what}"),
    }
}
