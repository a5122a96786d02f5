//! No store: where a team shares nothing, or shares it elsewhere.

use std::time::Duration;

use futures_util::FutureExt;

use crate::store::{Answer, LeaseId, Outcome, Page, Range, Revision, Store, StoreError, Txn, Watch};

/// Refuses everything, and says why.
pub struct Nowhere(pub String);

impl Nowhere {
    fn refuse<T: Send + 'static>(&self) -> Answer<'_, T> {
        std::future::ready(Err(StoreError::Unavailable(self.0.clone()))).boxed()
    }
}

impl Store for Nowhere {
    fn txn(&self, _txn: Txn) -> Answer<'_, Outcome> {
        self.refuse()
    }

    fn range(&self, _range: Range) -> Answer<'_, Page> {
        self.refuse()
    }

    fn watch(&self, _prefix: String, _from: Revision) -> Answer<'_, Watch> {
        self.refuse()
    }

    fn grant(&self, _ttl: Duration) -> Answer<'_, LeaseId> {
        self.refuse()
    }

    fn keep_alive(&self, _lease: LeaseId) -> Answer<'_, ()> {
        self.refuse()
    }

    fn revoke(&self, _lease: LeaseId) -> Answer<'_, ()> {
        self.refuse()
    }

    fn compact(&self, _before: Revision) -> Answer<'_, ()> {
        self.refuse()
    }
}
