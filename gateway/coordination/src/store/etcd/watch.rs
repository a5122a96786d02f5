//! Watching: over one member after the other, and as if it were one that never ends.

use std::sync::Arc;
use std::time::Duration;

use roverline_protocol::limits;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::store::etcd::cluster::Cluster;
use crate::store::etcd::keys::{entry, here, number, revision, span};
use crate::store::etcd::member::{Failed, Member};
use crate::store::etcd::proto::{Event, EventType, WatchCreateRequest, WatchRequest, WatchResponse};
use crate::store::{Change, Revision, StoreError};

type Tell = mpsc::Sender<Result<Vec<Change>, StoreError>>;

/// Why one member is watched no longer.
enum End {
    /// Nobody listens.
    Unheard,
    /// The past that was asked for is gone.
    Compacted(Revision),
    /// Another member has to be asked.
    Broken,
}

/// Tells one watcher what changes, until it is gone or has fallen too far behind.
pub(super) async fn follow(cluster: Arc<Cluster>, prefix: String, from: Revision, tell: Tell) {
    let mut from = Revision(from.0.max(1));
    loop {
        let until = Instant::now() + Duration::from_millis(limits::ETCD_PATIENCE_MS);
        let member = tokio::select! {
            () = tell.closed() => return,
            member = cluster.member(until) => member,
        };
        if let Ok(member) = member {
            match over(&cluster, &member, &prefix, &mut from, &tell).await {
                End::Unheard => return,
                End::Compacted(kept) => {
                    // If nobody listens any more, nobody has to know.
                    let _ = tell.send(Err(StoreError::Compacted(kept))).await;
                    return;
                }
                End::Broken => {}
            }
        }
        // Nothing is skipped: it goes on where it was.
        tokio::time::sleep(Duration::from_millis(limits::ETCD_SEARCH_MS)).await;
    }
}

/// Over one member. `from` is then the first revision that was not told.
async fn over(
    cluster: &Arc<Cluster>,
    member: &Arc<Member>,
    prefix: &str,
    from: &mut Revision,
    tell: &Tell,
) -> End {
    let (key, range_end) = span(cluster.prefix(), prefix);
    let create = WatchCreateRequest {
        key,
        range_end,
        // One earlier, and that one is not told: of the very revision that was compacted at, etcd keeps
        // no deletions, and does not say so.
        start_revision: number(from.0).saturating_sub(1).max(1),
        progress_notify: true,
        fragment: true,
    };
    let mut current = cluster.follow();
    let moved = current.wait_for(|now| now.as_ref().is_none_or(|now| !Arc::ptr_eq(now, member)));
    let watch = async {
        let Ok(token) = cluster.token(member).await else { return End::Broken };
        let request = WatchRequest { create: Some(create) };
        let mut answers = match member.send("Watch/Watch", &request, token, true).await {
            Ok(answers) => answers,
            Err(failed) => return broken(cluster, &failed),
        };
        let mut changes = Whole::default();
        loop {
            let answer: WatchResponse = match answers.next().await {
                Ok(Some(answer)) => answer,
                Ok(None) => return End::Broken,
                Err(failed) => return broken(cluster, &failed),
            };
            if answer.compact_revision > 0 {
                return End::Compacted(revision(answer.compact_revision).next());
            }
            if answer.canceled {
                tracing::debug!(reason = answer.cancel_reason, "a watch is cancelled");
                return End::Broken;
            }
            let is_progress = answer.events.is_empty() && !answer.created && !answer.fragment;
            let told = changes.take(cluster.prefix(), *from, &answer.events, answer.fragment);
            if is_progress && let Some(header) = &answer.header {
                *from = revision(header.revision).next().max(*from);
            }
            let Some(last) = told.last().map(Change::revision) else { continue };
            if tell.send(Ok(told)).await.is_err() {
                return End::Unheard;
            }
            *from = last.next();
        }
    };
    tokio::select! {
        biased;
        () = tell.closed() => End::Unheard,
        end = watch => end,
        _ = moved => End::Broken,
    }
}

fn broken(cluster: &Cluster, failed: &Failed) -> End {
    if matches!(failed, Failed::Status(16, _)) {
        cluster.forget_token();
    }
    tracing::debug!(?failed, "a watch is broken");
    End::Broken
}

/// Puts together what came in pieces, and hands on whole revisions.
#[derive(Default)]
struct Whole {
    pending: Vec<Change>,
}

impl Whole {
    /// What is whole now, from this revision on.
    fn take(&mut self, prefix: &str, from: Revision, events: &[Event], more_comes: bool) -> Vec<Change> {
        let changes = events.iter().filter_map(|event| change(prefix, event));
        self.pending.extend(changes.filter(|change| change.revision() >= from));
        if !more_comes {
            return std::mem::take(&mut self.pending);
        }
        // More of the last one may follow.
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
            key: here(prefix, &theirs.key),
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
        let mut whole = Whole::default();
        let told = |changes: Vec<Change>| changes.iter().map(|c| c.revision().0).collect::<Vec<_>>();
        let from = Revision(2);
        let first = whole.take("p/", from, &[event("p/a", 1), event("p/a", 2), event("p/a", 3)], true);
        assert_eq!(told(first), [2], "3 may go on, and 1 is not asked for");
        assert_eq!(told(whole.take("p/", from, &[event("p/b", 3)], true)), [0; 0]);
        assert_eq!(told(whole.take("p/", from, &[event("p/c", 3), event("p/a", 4)], false)), [3, 3, 3, 4]);
        assert_eq!(told(whole.take("p/", from, &[], false)), [0; 0]);
    }
}
