//! A store whose operations are spans of the trace of the request that caused them. What no traced request caused,
//! such as the caches' own reading, makes none.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use roverline_protocol::trace::TARGET;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::store::{LeaseId, Outcome, Page, Range, Revision, Store, StoreFuture, Txn, Watch};

/// The store, and its name in spans (`db.system.name` of OpenTelemetry's semantic conventions).
pub(crate) struct TracedStore {
    store: Arc<dyn Store>,
    system: &'static str,
}

impl TracedStore {
    pub(crate) fn new(store: Arc<dyn Store>, system: &'static str) -> TracedStore {
        TracedStore { store, system }
    }

    /// Runs an operation within a span of its own, if the request is traced.
    fn traced<'a, T: Send + 'a>(
        &self,
        operation: &'static str,
        key: Option<&str>,
        running: StoreFuture<'a, T>,
    ) -> StoreFuture<'a, T> {
        let is_traced = Span::current().metadata().is_some_and(|metadata| metadata.target() == TARGET);
        if !is_traced {
            return running;
        }
        let span = tracing::error_span!(
            target: TARGET,
            "store",
            otel.name = format!("{} {operation}", self.system),
            otel.kind = "client",
            otel.status_code = Empty,
            otel.status_description = Empty,
            db.system.name = self.system,
            db.operation.name = operation,
            roverline.key = key,
        );
        let inner = span.clone();
        let recorded = async move {
            let result = running.await;
            if let Err(error) = &result {
                inner.record("otel.status_code", "ERROR");
                inner.record("otel.status_description", error.to_string());
            }
            result
        };
        recorded.instrument(span).boxed()
    }
}

impl Store for TracedStore {
    fn txn(&self, txn: Txn) -> StoreFuture<'_, Outcome> {
        let key = txn.compares.first().map(|compare| compare.key().to_owned());
        self.traced("txn", key.as_deref(), self.store.txn(txn))
    }

    fn range(&self, range: Range) -> StoreFuture<'_, Page> {
        let prefix = range.prefix.clone();
        self.traced("range", Some(&prefix), self.store.range(range))
    }

    fn watch(&self, prefix: String, from: Revision) -> StoreFuture<'_, Watch> {
        self.traced("watch", Some(&prefix.clone()), self.store.watch(prefix, from))
    }

    fn grant(&self, ttl: Duration) -> StoreFuture<'_, LeaseId> {
        self.traced("grant", None, self.store.grant(ttl))
    }

    fn keep_alive(&self, lease: LeaseId) -> StoreFuture<'_, ()> {
        self.traced("keep alive", None, self.store.keep_alive(lease))
    }

    fn revoke(&self, lease: LeaseId) -> StoreFuture<'_, ()> {
        self.traced("revoke", None, self.store.revoke(lease))
    }

    fn compact(&self, before: Revision) -> StoreFuture<'_, ()> {
        self.traced("compact", None, self.store.compact(before))
    }
}
