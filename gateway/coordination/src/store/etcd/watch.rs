//! Watches that survive the failure of members: one endless watch, over one member after the other.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::limits;
use crate::store::etcd::cluster::Cluster;
use crate::store::etcd::keys::{entry, from_etcd_key, number, revision, span};
use crate::store::etcd::member::{Member, TransportError};
use crate::store::etcd::proto::{Event, EventType, WatchCreateRequest, WatchRequest, WatchResponse};
use crate::store::{Change, Revision, StoreError};

type WatchSender = mpsc::Sender<Result<Vec<Change>, StoreError>>;

/// Why a watch over one member has ended.
enum WatchEnd {
    /// The watcher was dropped.
    ReceiverGone,
    /// The requested history is compacted.
    Compacted(Revision),
    /// Another member has to be used.
    Broken,
}

/// Feeds one watcher until it is dropped or falls behind the retained history.
pub(super) async fn run(cluster: Arc<Cluster>, prefix: String, from: Revision, sender: WatchSender) {
    let mut from = Revision(from.0.max(1));
    loop {
        let until = Instant::now() + Duration::from_millis(limits::ETCD_TIMEOUT_MS);
        let member = tokio::select! {
            () = sender.closed() => return,
            member = cluster.member(until) => member,
        };
        if let Ok(member) = member {
            match watch_member(&cluster, &member, &prefix, &mut from, &sender).await {
                WatchEnd::ReceiverGone => return,
                WatchEnd::Compacted(kept) => {
                    // The watcher may be gone.
                    let _ = sender.send(Err(StoreError::Compacted(kept))).await;
                    return;
                }
                WatchEnd::Broken => {}
            }
        }
        // The watch continues after the last delivered revision, so nothing is skipped.
        tokio::time::sleep(Duration::from_millis(limits::ETCD_SEARCH_MS)).await;
    }
}

/// Watches over one member. `from` is then the first revision that was not delivered.
async fn watch_member(
    cluster: &Arc<Cluster>,
    member: &Arc<Member>,
    prefix: &str,
    from: &mut Revision,
    sender: &WatchSender,
) -> WatchEnd {
    let (key, range_end) = span(cluster.prefix(), prefix);
    let create = WatchCreateRequest {
        key,
        range_end,
        // Starts one revision earlier and drops that one: for the very revision of a compaction etcd keeps
        // no deletions, and does not report it.
        start_revision: number(from.0).saturating_sub(1).max(1),
        progress_notify: true,
        fragment: true,
    };
    let mut current = cluster.follow();
    let moved = current.wait_for(|now| now.as_ref().is_none_or(|now| !Arc::ptr_eq(now, member)));
    tokio::select! {
        biased;
        () = sender.closed() => WatchEnd::ReceiverGone,
        end = stream_changes(cluster, member, create, from, sender) => end,
        _ = moved => WatchEnd::Broken,
    }
}

/// Creates the watch on one member and delivers its changes until it ends.
async fn stream_changes(
    cluster: &Arc<Cluster>,
    member: &Member,
    create: WatchCreateRequest,
    from: &mut Revision,
    sender: &WatchSender,
) -> WatchEnd {
    let Ok(token) = cluster.token(member).await else { return WatchEnd::Broken };
    let request = WatchRequest { create: Some(create) };
    let mut responses = match member.send("Watch/Watch", &request, token, true).await {
        Ok(responses) => responses,
        Err(failed) => return broken(cluster, &failed),
    };
    let mut changes = RevisionAssembler::default();
    loop {
        let response: WatchResponse = match responses.next().await {
            Ok(Some(response)) => response,
            Ok(None) => return WatchEnd::Broken,
            Err(failed) => return broken(cluster, &failed),
        };
        if response.compact_revision > 0 {
            return WatchEnd::Compacted(revision(response.compact_revision).next());
        }
        if response.canceled {
            tracing::debug!(reason = response.cancel_reason, "a watch is cancelled");
            return WatchEnd::Broken;
        }
        let is_progress = response.events.is_empty() && !response.created && !response.fragment;
        let ready = changes.push(cluster.prefix(), *from, &response.events, response.fragment);
        if is_progress && let Some(header) = &response.header {
            *from = revision(header.revision).next().max(*from);
        }
        let Some(last) = ready.last().map(Change::revision) else { continue };
        if sender.send(Ok(ready)).await.is_err() {
            return WatchEnd::ReceiverGone;
        }
        *from = last.next();
    }
}

fn broken(cluster: &Cluster, failed: &TransportError) -> WatchEnd {
    if matches!(failed, TransportError::Status(16, _)) {
        cluster.discard_token();
    }
    tracing::debug!(?failed, "a watch is broken");
    WatchEnd::Broken
}

/// Joins fragments into whole revisions.
#[derive(Default)]
struct RevisionAssembler {
    pending: Vec<Change>,
}

impl RevisionAssembler {
    /// Adds events, and returns the changes of complete revisions from `from` on.
    fn push(&mut self, prefix: &str, from: Revision, events: &[Event], more_comes: bool) -> Vec<Change> {
        let changes = events.iter().filter_map(|event| change(prefix, event));
        self.pending.extend(changes.filter(|change| change.revision() >= from));
        if !more_comes {
            return std::mem::take(&mut self.pending);
        }
        // The last revision may continue in the next fragment.
        let last = self.pending.last().map(Change::revision);
        let whole = self.pending.partition_point(|change| Some(change.revision()) < last);
        let rest = self.pending.split_off(whole);
        std::mem::replace(&mut self.pending, rest)
    }
}

fn change(prefix: &str, event: &Event) -> Option<Change> {
    let theirs = event.kv.as_ref()?;
    if event.kind == i32::from(EventType::Delete) {
        return Some(Change::Delete {
            key: from_etcd_key(prefix, &theirs.key),
            revision: revision(theirs.mod_revision),
        });
    }
    Some(Change::Put(entry(prefix, theirs)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::etcd::proto::KeyValue;

    fn event(key: &'static str, at: i64) -> Event {
        let kv = KeyValue { key: key.into(), mod_revision: at, ..KeyValue::default() };
        Event { kind: EventType::Put.into(), kv: Some(kv) }
    }

    #[test]
    fn revisions_that_come_in_pieces_are_told_whole() {
        let mut assembler = RevisionAssembler::default();
        let ready = |changes: Vec<Change>| changes.iter().map(|c| c.revision().0).collect::<Vec<_>>();
        let from = Revision(2);
        let first = assembler.push("p/", from, &[event("p/a", 1), event("p/a", 2), event("p/a", 3)], true);
        assert_eq!(ready(first), [2], "3 may go on, and 1 is not asked for");
        assert_eq!(ready(assembler.push("p/", from, &[event("p/b", 3)], true)), [0; 0]);
        assert_eq!(
            ready(assembler.push("p/", from, &[event("p/c", 3), event("p/a", 4)], false)),
            [3, 3, 3, 4]
        );
        assert_eq!(ready(assembler.push("p/", from, &[], false)), [0; 0]);
    }
}
