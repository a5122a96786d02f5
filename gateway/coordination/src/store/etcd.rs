//! A cluster of etcd 3.4 or newer as the store, for a team on several computers.
//!
//! Revisions are the cluster's own: who else uses it has some of them. A lease lives for whole seconds,
//! so up to one longer than asked, and not less than one and a half elections of the cluster; after an
//! election each has its whole time again.

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
use roverline_protocol::limits;
use tokio::sync::{Semaphore, mpsc};

use crate::store::etcd::cluster::Cluster;
use crate::store::etcd::config::Place;
use crate::store::etcd::keys::{entry, number, revision};
use crate::store::etcd::proto::{
    CompactionRequest, Done, Header, LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse,
    LeaseRequest, RangeRequest, RangeResponse, SortOrder, TxnResponse,
};
use crate::store::etcd::retry::{Again, Refused};
use crate::store::{
    Answer, LeaseId, Op, Outcome, Page, Range, Revision, Store, StoreError, Txn, Watch, check_key,
};

/// Batches of changes that wait for one watcher.
const WATCH_QUEUE: usize = 4;

/// A cluster of etcd.
pub struct EtcdStore {
    cluster: Arc<Cluster>,
    /// Calls that may wait for an answer.
    room: Semaphore,
}

impl EtcdStore {
    /// Whether `place` says where a cluster is; the error is a sentence for whoever wrote it.
    pub fn check(place: &str) -> Result<(), String> {
        Place::parse(place).map(drop)
    }

    /// The cluster at `etcd://[user@]a:2379,b:2379[/prefix]`, or `etcds://...?ca=FILE[&cert=FILE&key=FILE]`.
    /// Where it cannot be reached, what is asked of it fails with the reason, until it can be. Needs tokio.
    pub fn open(place: &str) -> Result<EtcdStore, String> {
        let place = Place::parse(place)?;
        Ok(EtcdStore { cluster: Cluster::new(place), room: Semaphore::new(limits::STORE_WAITING_CALLS) })
    }

    async fn ask<R: Message + Default>(
        &self,
        method: &'static str,
        request: &impl Message,
        again: Again,
    ) -> Result<R, Refused> {
        let _room = self.room.try_acquire().map_err(|_| Refused::Status {
            code: 8,
            words: "too many requests".to_owned(),
            lost: false,
        })?;
        retry::call(&self.cluster, method, request, again).await
    }

    /// The newest revision.
    async fn newest(&self) -> Result<Revision, StoreError> {
        let key = keys::there(self.cluster.prefix(), "x");
        let request = RangeRequest { key, count_only: true, ..RangeRequest::default() };
        let answer: RangeResponse = self.ask("KV/Range", &request, Again::Yes).await?;
        Ok(at(answer.header.as_ref()))
    }

    async fn page(&self, range: Range) -> Result<Page, StoreError> {
        let prefix = self.cluster.prefix();
        let (key, range_end) = keys::page(prefix, &range);
        if key >= range_end {
            // To etcd that is not an empty range, and to us no reason to look.
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
                // At the first revision a cluster is empty, as it is before; 0 is now.
                revision: range.at.map_or(0, |at| number(at.0).max(1)),
                sort_order: order.into(),
                count_only: false,
            };
            let answer: RangeResponse = match self.ask("KV/Range", &request, Again::Yes).await {
                // Fewer of them: there is more, then.
                Err(Refused::TooBig) if limit > 1 => {
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

    /// Since when the past is kept. Only a watch is told that.
    async fn compacted(&self) -> StoreError {
        let (tell, mut changes) = mpsc::channel(1);
        let follow = watch::follow(self.cluster.clone(), "x".to_owned(), Revision(2), tell);
        let told = async {
            tokio::select! {
                () = follow => {}
                told = changes.recv() => return told,
            }
            changes.recv().await
        };
        match tokio::time::timeout(Duration::from_millis(limits::ETCD_READ_MS), told).await {
            Ok(Some(Err(compacted))) => compacted,
            _ => StoreError::Compacted(Revision(0)),
        }
    }
}

fn at(header: Option<&Header>) -> Revision {
    revision(header.map_or(0, |header| header.revision))
}

impl Store for EtcdStore {
    fn txn(&self, txn: Txn) -> Answer<'_, Outcome> {
        async move {
            txn.check()?;
            let reads = |ops: &[Op]| ops.iter().filter(|op| matches!(op, Op::Get(_))).count();
            let writes = reads(&txn.success) < txn.success.len() || reads(&txn.failure) < txn.failure.len();
            let again = if writes { Again::No } else { Again::Yes };
            let prefix = self.cluster.prefix();
            let answer: TxnResponse = self.ask("KV/Txn", &keys::transaction(prefix, &txn), again).await?;
            let asked = reads(if answer.succeeded { &txn.success } else { &txn.failure });
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
                got: answer.responses.iter().take(asked).map(read).collect(),
            })
        }
        .boxed()
    }

    fn range(&self, range: Range) -> Answer<'_, Page> {
        self.page(range).boxed()
    }

    fn watch(&self, prefix: String, from: Revision) -> Answer<'_, Watch> {
        async move {
            if !prefix.is_empty() {
                check_key(&prefix)?;
            }
            let (tell, changes) = mpsc::channel(WATCH_QUEUE);
            tokio::spawn(watch::follow(self.cluster.clone(), prefix, from, tell));
            Ok(Watch { changes })
        }
        .boxed()
    }

    fn grant(&self, ttl: Duration) -> Answer<'_, LeaseId> {
        async move {
            let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
            if !(limits::LEASE_MIN_MS..=limits::LEASE_MAX_MS).contains(&ttl_ms) {
                return Err(StoreError::Ttl);
            }
            let request = LeaseGrantRequest { ttl_s: number(ttl_ms.div_ceil(1_000)) };
            // One whose answer is lost holds nothing, and ends by itself.
            let granted: LeaseGrantResponse = self.ask("Lease/LeaseGrant", &request, Again::Yes).await?;
            Ok(LeaseId(granted.id.cast_unsigned()))
        }
        .boxed()
    }

    fn keep_alive(&self, lease: LeaseId) -> Answer<'_, ()> {
        async move {
            let request = LeaseRequest { id: number(lease.0) };
            let kept: LeaseKeepAliveResponse = self.ask("Lease/LeaseKeepAlive", &request, Again::Yes).await?;
            if kept.ttl_s > 0 { Ok(()) } else { Err(StoreError::LeaseEnded) }
        }
        .boxed()
    }

    fn revoke(&self, lease: LeaseId) -> Answer<'_, ()> {
        async move {
            let request = LeaseRequest { id: number(lease.0) };
            match self.ask::<Done>("Lease/LeaseRevoke", &request, Again::Yes).await {
                // The attempt before, of which nothing was heard, did it.
                Err(Refused::Status { lost: true, code, words })
                    if (Refused::Status { lost: true, code, words: words.clone() }).is_lease_ended() =>
                {
                    Ok(())
                }
                done => Ok(done.map(drop)?),
            }
        }
        .boxed()
    }

    fn compact(&self, before: Revision) -> Answer<'_, ()> {
        async move {
            // What etcd leaves of the revision that it compacts at is not all of it.
            let mut upto = before.0.saturating_sub(1);
            loop {
                if upto == 0 {
                    return Ok(());
                }
                let request = CompactionRequest { revision: number(upto) };
                match self.ask::<Done>("KV/Compact", &request, Again::Yes).await {
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
