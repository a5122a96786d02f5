//! Test helpers: conditions with a deadline.

use std::time::Duration;

use roverline_test_support::wait::poll_async;

/// Longer than a condition takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Probes until there is a result, at most for [`DEADLINE`].
pub(crate) async fn eventually<T>(what: &str, probe: impl AsyncFnMut() -> Option<T>) -> T {
    let found = poll_async(DEADLINE, probe).await;
    found.unwrap_or_else(|| panic!("not within {DEADLINE:?}: {what}"))
}
