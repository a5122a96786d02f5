//! A store that refuses everything, for processes that share nothing or use another process's store.

use std::time::Duration;

use futures_util::FutureExt;

use crate::store::{LeaseId, Outcome, Page, Range, Revision, Store, StoreError, StoreFuture, Txn, Watch};

/// Refuses every operation with this reason.
pub struct DisabledStore(pub String);

impl DisabledStore {
    fn unavailable<T: Send + 'static>(&self) -> StoreFuture<'_, T> {
        std::future::ready(Err(StoreError::Unavailable(self.0.clone()))).boxed()
    }
}

impl Store for DisabledStore {
    fn txn(&self, _txn: Txn) -> StoreFuture<'_, Outcome> {
        self.unavailable()
    }

    fn range(&self, _range: Range) -> StoreFuture<'_, Page> {
        self.unavailable()
    }

    fn watch(&self, _prefix: String, _from: Revision) -> StoreFuture<'_, Watch> {
        self.unavailable()
    }

    fn grant(&self, _ttl: Duration) -> StoreFuture<'_, LeaseId> {
        self.unavailable()
    }

    fn keep_alive(&self, _lease: LeaseId) -> StoreFuture<'_, ()> {
        self.unavailable()
    }

    fn revoke(&self, _lease: LeaseId) -> StoreFuture<'_, ()> {
        self.unavailable()
    }

    fn compact(&self, _before: Revision) -> StoreFuture<'_, ()> {
        self.unavailable()
    }
}
