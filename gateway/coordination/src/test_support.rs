//! Test helpers: conditions with a deadline, and wrappers of stores.

use std::time::Duration;

use roverline_test_support::wait::poll_async;

/// Longer than a condition takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Probes until there is a result, at most for [`DEADLINE`].
pub(crate) async fn eventually<T>(what: &str, probe: impl AsyncFnMut() -> Option<T>) -> T {
    let found = poll_async(DEADLINE, probe).await;
    found.unwrap_or_else(|| panic!("not within {DEADLINE:?}: {what}"))
}

/// The methods of a store that a wrapper leaves to the store in its field `store`.
macro_rules! leave_to_store {
    (txn) => {
        fn txn(&self, txn: crate::store::Txn) -> crate::store::StoreFuture<'_, crate::store::Outcome> {
            self.store.txn(txn)
        }
    };
    (range) => {
        fn range(&self, range: crate::store::Range) -> crate::store::StoreFuture<'_, crate::store::Page> {
            self.store.range(range)
        }
    };
    (watch) => {
        fn watch(
            &self,
            prefix: String,
            from: crate::store::Revision,
        ) -> crate::store::StoreFuture<'_, crate::store::Watch> {
            self.store.watch(prefix, from)
        }
    };
    (leases) => {
        fn grant(&self, ttl: Duration) -> crate::store::StoreFuture<'_, crate::store::LeaseId> {
            self.store.grant(ttl)
        }

        fn keep_alive(&self, lease: crate::store::LeaseId) -> crate::store::StoreFuture<'_, ()> {
            self.store.keep_alive(lease)
        }

        fn revoke(&self, lease: crate::store::LeaseId) -> crate::store::StoreFuture<'_, ()> {
            self.store.revoke(lease)
        }
    };
    (compact) => {
        fn compact(&self, before: crate::store::Revision) -> crate::store::StoreFuture<'_, ()> {
            self.store.compact(before)
        }
    };
    ($($method:ident),+) => {
        $($crate::test_support::leave_to_store!($method);)+
    };
}
pub(crate) use leave_to_store;
