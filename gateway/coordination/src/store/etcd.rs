//! The store on a cluster of etcd 3.4 or newer, for a team on several computers.
//!
//! Revisions are the cluster's own, so other users of the cluster also consume some. A lease has a time to
//! live in whole seconds: up to one second longer than requested, and at least one and a half election
//! timeouts of the cluster. After an election every lease restarts with its full time to live.

mod cluster;
mod config;
mod keys;
mod member;
mod proto;
mod retry;
#[cfg(test)]
mod tests;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use prost::Message;
use tokio::sync::{Semaphore, mpsc};

use crate::limits;
use crate::store::etcd::cluster::Cluster;
use crate::store::etcd::config::EtcdConfig;
pub use crate::store::etcd::config::EtcdConfigError;
use crate::store::etcd::keys::{entry, number, revision};
use crate::store::etcd::proto::{
    CompactionRequest, EmptyResponse, Header, LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse,
    LeaseRequest, RangeRequest, RangeResponse, SortOrder, TxnResponse,
};
use crate::store::etcd::retry::{CallError, Idempotency};
use crate::store::{
    LeaseId, Op, Outcome, Page, Range, Revision, Store, StoreError, StoreFuture, Txn, Watch, check_key,
    lease_ttl_ms,
};

/// Batches of changes that are buffered for one watcher.
const WATCH_QUEUE: usize = 4;

/// A cluster of etcd.
pub struct EtcdStore {
    cluster: Arc<Cluster>,
    /// Limits the calls that wait for an answer.
    permits: Semaphore,
}

impl EtcdStore {
    /// Checks the address of a cluster without connecting.
    pub fn check(config: &str) -> Result<(), EtcdConfigError> {
        EtcdConfig::parse(config).map(drop)
    }

    /// The cluster at `etcd://[user@]a:2379,b:2379[/prefix]`, or `etcds://...?ca=FILE[&cert=FILE&key=FILE]`.
    /// While it cannot be reached, operations fail with the reason. Needs a tokio runtime.
    pub fn open(config: &str) -> Result<EtcdStore, EtcdConfigError> {
        let config = EtcdConfig::parse(config)?;
        Ok(EtcdStore { cluster: Cluster::new(config), permits: Semaphore::new(limits::STORE_WAITING_CALLS) })
    }

    async fn call<R: Message + Default>(
        &self,
        method: &'static str,
        request: &impl Message,
        idempotency: Idempotency,
    ) -> Result<R, CallError> {
        let _permit = self.permits.try_acquire().map_err(|_| CallError::Status {
            code: 8,
            words: "too many requests".to_owned(),
            lost: false,
        })?;
        retry::call(&self.cluster, method, request, idempotency).await
    }

    /// The newest revision.
    async fn newest(&self) -> Result<Revision, StoreError> {
        let key = keys::to_etcd_key(self.cluster.prefix(), "x");
        let request = RangeRequest { key, count_only: true, ..RangeRequest::default() };
        let answer: RangeResponse = self.call("KV/Range", &request, Idempotency::Idempotent).await?;
        Ok(at(answer.header.as_ref()))
    }

    async fn page(&self, range: Range) -> Result<Page, StoreError> {
        let prefix = self.cluster.prefix();
        let (key, range_end) = keys::page(prefix, &range);
        if key >= range_end {
            // etcd does not treat this as an empty range, and there is nothing to read.
            let newest = self.newest().await?;
            return Ok(Page { entries: Vec::new(), revision: range.at.unwrap_or(newest), more: false });
        }
        let order = if range.backward { SortOrder::Descend } else { SortOrder::None };
        let mut limit = range.limit.clamp(1, limits::STORE_PAGE_ENTRIES);
        loop {
            let request = RangeRequest {
                key: key.clone(),
                range_end: range_end.clone(),
                limit: limit as i64,
                // A cluster is empty at revision 1, as it is before; 0 means the newest revision.
                revision: range.at.map_or(0, |at| number(at.0).max(1)),
                sort_order: order.into(),
                count_only: false,
            };
            let answer: RangeResponse = match self.call("KV/Range", &request, Idempotency::Idempotent).await {
                // With a smaller limit the page is incomplete, so `more` is set.
                Err(CallError::TooBig) if limit > 1 => {
                    limit = limit.div_ceil(8);
                    continue;
                }
                Err(refused) if refused.is_future() => return Err(StoreError::Future(self.newest().await?)),
                Err(refused) if refused.is_compacted() => return Err(self.compacted().await),
                answer => answer?,
            };
            let mut bytes = 0;
            let fits = |theirs: &&proto::KeyValue| {
                let fits = bytes < limits::STORE_PAGE_BYTES;
                bytes += theirs.value.len();
                fits
            };
            let entries: Vec<_> =
                answer.kvs.iter().take_while(fits).map(|theirs| entry(prefix, theirs)).collect();
            let more = answer.more || entries.len() < answer.kvs.len();
            return Ok(Page { entries, revision: range.at.unwrap_or(at(answer.header.as_ref())), more });
        }
    }

    /// The oldest revision that is retained. etcd reports it only to a watch.
    async fn compacted(&self) -> StoreError {
        let (sender, mut changes) = mpsc::channel(1);
        let watch = watch::run(self.cluster.clone(), "x".to_owned(), Revision(2), sender);
        let first = async {
            tokio::select! {
                () = watch => {}
                first = changes.recv() => return first,
            }
            changes.recv().await
        };
        match tokio::time::timeout(Duration::from_millis(limits::ETCD_READ_MS), first).await {
            Ok(Some(Err(compacted))) => compacted,
            _ => StoreError::Compacted(Revision(0)),
        }
    }
}

fn at(header: Option<&Header>) -> Revision {
    revision(header.map_or(0, |header| header.revision))
}

impl Store for EtcdStore {
    fn txn(&self, txn: Txn) -> StoreFuture<'_, Outcome> {
        async move {
            txn.check()?;
            let reads = |ops: &[Op]| ops.iter().filter(|op| matches!(op, Op::Get(_))).count();
            let writes = reads(&txn.success) < txn.success.len() || reads(&txn.failure) < txn.failure.len();
            let idempotency = if writes { Idempotency::NotIdempotent } else { Idempotency::Idempotent };
            let prefix = self.cluster.prefix();
            let answer: TxnResponse =
                self.call("KV/Txn", &keys::transaction(prefix, &txn), idempotency).await?;
            let read_count = reads(if answer.succeeded { &txn.success } else { &txn.failure });
            let read = |response: &proto::ResponseOp| {
                response
                    .range
                    .as_ref()
                    .and_then(|range| range.kvs.first())
                    .map(|theirs| entry(prefix, theirs))
            };
            Ok(Outcome {
                succeeded: answer.succeeded,
                revision: at(answer.header.as_ref()),
                got: answer.responses.iter().take(read_count).map(read).collect(),
            })
        }
        .boxed()
    }

    fn range(&self, range: Range) -> StoreFuture<'_, Page> {
        self.page(range).boxed()
    }

    fn watch(&self, prefix: String, from: Revision) -> StoreFuture<'_, Watch> {
        async move {
            if !prefix.is_empty() {
                check_key(&prefix)?;
            }
            let (sender, changes) = mpsc::channel(WATCH_QUEUE);
            tokio::spawn(watch::run(self.cluster.clone(), prefix, from, sender));
            Ok(Watch { changes })
        }
        .boxed()
    }

    fn grant(&self, ttl: Duration) -> StoreFuture<'_, LeaseId> {
        async move {
            let ttl_ms = lease_ttl_ms(ttl)?;
            let request = LeaseGrantRequest { ttl_s: number(ttl_ms.div_ceil(1_000)) };
            // A lease whose grant was lost has no keys, and ends by itself.
            let granted: LeaseGrantResponse =
                self.call("Lease/LeaseGrant", &request, Idempotency::Idempotent).await?;
            Ok(LeaseId(granted.id.cast_unsigned()))
        }
        .boxed()
    }

    fn keep_alive(&self, lease: LeaseId) -> StoreFuture<'_, ()> {
        async move {
            let request = LeaseRequest { id: number(lease.0) };
            let renewed: LeaseKeepAliveResponse =
                self.call("Lease/LeaseKeepAlive", &request, Idempotency::Idempotent).await?;
            if renewed.ttl_s > 0 { Ok(()) } else { Err(StoreError::LeaseEnded) }
        }
        .boxed()
    }

    fn revoke(&self, lease: LeaseId) -> StoreFuture<'_, ()> {
        async move {
            let request = LeaseRequest { id: number(lease.0) };
            match self.call::<EmptyResponse>("Lease/LeaseRevoke", &request, Idempotency::Idempotent).await {
                // The previous attempt, whose answer was lost, has revoked it.
                Err(CallError::Status { lost: true, code, words })
                    if (CallError::Status { lost: true, code, words: words.clone() }).is_lease_ended() =>
                {
                    Ok(())
                }
                done => Ok(done.map(drop)?),
            }
        }
        .boxed()
    }

    fn compact(&self, before: Revision) -> StoreFuture<'_, ()> {
        async move {
            // etcd keeps only some of the changes of the very revision that it compacts at.
            let mut upto = before.0.saturating_sub(1);
            loop {
                if upto == 0 {
                    return Ok(());
                }
                let request = CompactionRequest { revision: number(upto) };
                match self.call::<EmptyResponse>("KV/Compact", &request, Idempotency::Idempotent).await {
                    Err(refused) if refused.is_compacted() => return Ok(()),
                    Err(refused) if refused.is_future() => {
                        upto = upto.saturating_sub(1).min(self.newest().await?.0)
                    }
                    done => return Ok(done.map(drop)?),
                }
            }
        }
        .boxed()
    }
}
