//! List-watch: a snapshot, then every change after it, then a new snapshot whenever the watch is lost.
//! Kubernetes clients call this a reflector.

use std::ops::ControlFlow;
use std::time::Duration;

use crate::store::scan::{Snapshot, newest_revision, scan};
use crate::store::{Change, Store, StoreError, Watch};

/// The snapshot that a list-watch begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    /// Every entry under the prefix.
    Entries,
    /// Only the newest revision; [`Snapshot::entries`] stays empty.
    Revision,
}

/// One step of a list-watch.
#[derive(Debug)]
pub(crate) enum Update {
    /// Replaces everything known so far.
    Snapshot(Snapshot),
    /// The changes of the next revisions; whole revisions only.
    Changes(Vec<Change>),
}

/// Reads a snapshot and watches from the revision after it, so nothing is missed between the two.
pub(crate) async fn start(
    store: &dyn Store,
    prefix: &str,
    list: List,
) -> Result<(Snapshot, Watch), StoreError> {
    let snapshot = match list {
        List::Entries => scan(store, prefix, None).await?,
        List::Revision => Snapshot { revision: newest_revision(store, prefix).await?, ..Snapshot::default() },
    };
    let watch = store.watch(prefix.to_owned(), snapshot.revision.next()).await?;
    Ok((snapshot, watch))
}

/// Passes on changes until the watch is lost (an error) or `on_changes` breaks.
pub(crate) async fn each_change(
    watch: &mut Watch,
    mut on_changes: impl FnMut(Vec<Change>) -> ControlFlow<()> + Send,
) -> Result<(), StoreError> {
    while let Some(changes) = watch.next().await {
        if on_changes(changes?).is_break() {
            return Ok(());
        }
    }
    Err(StoreError::Unavailable("the watch was closed".to_owned()))
}

/// Runs a list-watch until `on_update` breaks. After a lost watch it waits for `retry` and starts again
/// with a new snapshot.
pub(crate) async fn run(
    store: &dyn Store,
    prefix: &str,
    list: List,
    retry: Duration,
    mut on_update: impl FnMut(Update) -> ControlFlow<()> + Send,
) {
    loop {
        let ended = match start(store, prefix, list).await {
            Ok((snapshot, mut watch)) => match on_update(Update::Snapshot(snapshot)) {
                ControlFlow::Break(()) => return,
                ControlFlow::Continue(()) => {
                    each_change(&mut watch, |changes| on_update(Update::Changes(changes))).await
                }
            },
            Err(error) => Err(error),
        };
        match ended {
            Ok(()) => return,
            Err(error) => tracing::debug!(%error, prefix, "watch lost; a new snapshot follows"),
        }
        tokio::time::sleep(retry).await;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::store::{Op, SqliteStore, Txn};

    fn put(key: &str) -> Txn {
        let op = Op::Put { key: key.to_owned(), value: Bytes::new(), lease: None };
        Txn { success: vec![op], ..Txn::default() }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_snapshot_comes_first_and_then_every_change() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path());
        store.txn(put("a/1")).await.unwrap();
        store.txn(put("b")).await.unwrap();
        let mut seen = Vec::new();
        let (snapshots, mut listed) = tokio::sync::mpsc::channel(1);
        let watching = run(&store, "a/", List::Entries, Duration::from_millis(1), |update| {
            match update {
                Update::Snapshot(snapshot) => {
                    seen.extend(snapshot.entries.into_iter().map(|entry| entry.key));
                    snapshots.try_send(()).unwrap();
                }
                Update::Changes(changes) => seen.extend(changes.iter().map(|change| change.key().to_owned())),
            }
            if seen.len() < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        let writing = async {
            listed.recv().await.unwrap();
            for key in ["a/2", "b", "a/3"] {
                store.txn(put(key)).await.unwrap();
            }
        };
        tokio::join!(watching, writing);
        assert_eq!(seen, ["a/1", "a/2", "a/3"]);
    }
}
