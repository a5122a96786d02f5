//! Bounds on the work done at once, and independence of reads, writes and history.

use crate::store::sqlite::db::{self, Db};
use crate::store::sqlite::tests::*;
use crate::test_support::eventually;

fn big(key: &str) -> Txn {
    let value = Bytes::from(vec![7; crate::limits::STORE_VALUE_BYTES]);
    Txn { success: vec![Op::Put { key: key.to_owned(), value, lease: None }], ..Txn::default() }
}

fn rows(db: &Db, which: &str) -> Vec<(i64, String)> {
    let query = format!("SELECT revision, key FROM changes WHERE {which} ORDER BY revision, key");
    let mut rows = db.connection.prepare(&query).unwrap();
    let row = |row: &rusqlite::Row<'_>| {
        Ok((row.get(0)?, String::from_utf8_lossy(row.get_ref(1)?.as_bytes()?).into_owned()))
    };
    rows.query_map([], row).unwrap().map(Result::unwrap).collect()
}

#[test]
fn pages_and_batches_end_when_they_are_large() {
    let folder = Folder::new();
    let mut db = db::open(&folder.file()).unwrap();
    for n in 0..10 {
        db.txn(&big(&format!("k{n}"))).unwrap();
    }
    let most = crate::limits::STORE_PAGE_BYTES / crate::limits::STORE_VALUE_BYTES + 1;
    for (at, backward) in [(None, false), (None, true), (Some(Revision(10)), false)] {
        let (mut after, mut keys) = (None, Vec::new());
        loop {
            let page = db.range(&Range { after: after.clone(), at, backward, ..all() }).unwrap();
            assert!((1..=most).contains(&page.entries.len()), "{}", page.entries.len());
            keys.extend(page.entries.into_iter().map(|entry| entry.key));
            if !page.more {
                break;
            }
            after = keys.last().cloned();
        }
        keys.sort();
        assert_eq!(keys, (0..10).map(|n| format!("k{n}")).collect::<Vec<_>>());
    }
    // A revision with several changes is never split.
    let success = (0..7).flat_map(|n| big(&format!("m{n}")).success).collect();
    db.txn(&Txn { success, ..Txn::default() }).unwrap();
    db.txn(&big("n")).unwrap();
    let (mut from, mut told) = (Revision(1), Vec::new());
    while from <= Revision(12) {
        let (changes, next) = db.changes("", from).unwrap();
        assert!(next > from && (1..=most + 6).contains(&changes.len()), "{from:?}: {}", changes.len());
        assert!(changes.iter().all(|change| (from..next).contains(&change.revision())));
        told.extend(changes.iter().map(|change| change.revision().0));
        from = next;
    }
    let expected: Vec<u64> = (1..=10).chain([11; 7]).chain([12]).collect();
    assert_eq!(told, expected);
}

#[test]
fn the_past_is_forgotten_in_parts_that_are_what_the_whole_would_be() {
    let folder = Folder::new();
    let mut db = db::open(&folder.file()).unwrap();
    db.connection.pragma_update(None, "synchronous", "OFF").unwrap();
    let many = crate::limits::STORE_COMPACTED_ENTRIES as u64 * 2 + 100;
    for n in 0..many {
        let key = format!("k/{}", n % 7);
        let txn = match n % 10 {
            9 => Txn { success: vec![Op::Delete(key)], ..Txn::default() },
            _ => put(&key, "x"),
        };
        db.txn(&txn).unwrap();
    }
    let newest = db.newest().unwrap();
    for before in [newest.0 / 2, newest.0 - 5] {
        // The specification: before this revision, only the newest change of each key stays, unless it is a
        // deletion.
        let rest = rows(
            &db,
            &format!(
                "NOT (revision < {before} AND (value IS NULL OR EXISTS (SELECT 1 FROM changes newer
                 WHERE newer.key = changes.key AND newer.revision > changes.revision
                 AND newer.revision < {before})))"
            ),
        );
        let mut parts = 1;
        while db.compact(Revision(before)).unwrap() {
            parts += 1;
        }
        assert!(parts > 1, "in one part");
        assert_eq!(rows(&db, "1"), rest);
        assert!(!db.compact(Revision(before / 2)).unwrap(), "nothing is left to do");
        assert!(db.range(&Range { at: Some(Revision(before - 1)), ..all() }).is_ok());
        assert!(db.range(&Range { at: Some(Revision(before - 2)), ..all() }).is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_present_does_not_wait_for_the_past() {
    let folder = Folder::new();
    let store = folder.open();
    let revision = store.txn(put("a", "1")).await.unwrap().revision;
    let (release, held) = std::sync::mpsc::sync_channel::<()>(1);
    let history = store.history.clone();
    let holding = tokio::spawn(async move {
        history
            .submit(move |_| {
                let _ = held.recv();
                Ok(())
            })
            .await
    });
    let at = Range { at: Some(revision), ..all() };
    // Queued behind a slow job.
    let mut then = store.range(at);
    while tokio::time::timeout(Duration::from_millis(300), &mut then).await.is_ok() {
        // The slow job did not come first.
        assert!(!holding.is_finished(), "the past is read elsewhere");
        then = store.range(Range { at: Some(revision), ..all() });
    }
    assert_eq!(store.range(all()).await.unwrap().entries.len(), 1);
    let mut watch = store.watch(String::new(), Revision(1)).await.unwrap();
    let told = tokio::time::timeout(Duration::from_secs(10), watch.next()).await.unwrap();
    assert_eq!(told.unwrap().unwrap().len(), 1);
    release.send(()).unwrap();
    holding.await.unwrap().unwrap();
    // Done, or rejected after waiting.
    assert!(matches!(then.await, Ok(_) | Err(StoreError::Busy)));
}

#[tokio::test(flavor = "multi_thread")]
async fn long_values_are_not_read_where_they_are_asked_for() {
    let folder = Folder::new();
    let mut db = db::open(&folder.file()).unwrap();
    db.txn(&big("long")).unwrap();
    db.txn(&put("short", "x")).unwrap();
    let inline_reader = InlineReader::default();
    inline_reader.open(&folder.file());
    let one = |prefix: &str| Range { prefix: prefix.to_owned(), limit: 1, ..Range::default() };
    assert!(matches!(inline_reader.range(&one("long")), InlineRead::Fallback));
    // On a busy machine a read may count as slow and pause the inline reader.
    eventually("a short one is read", async || match inline_reader.range(&one("short")) {
        InlineRead::Read(page) if page.entries.len() == 1 => Some(()),
        _ => None,
    })
    .await;
}

#[test]
fn leases_that_are_due_end_though_what_noticed_it_is_refused() {
    let folder = Folder::new();
    let mut db = db::open(&folder.file()).unwrap();
    let synced =
        |db: &Db| -> i64 { db.connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap() };
    let refuse: [fn(&mut Db, LeaseId) -> StoreError; 3] = [
        |db, lease| db.keep_alive(lease).unwrap_err(),
        |db, lease| db.revoke(lease).unwrap_err(),
        |db, lease| {
            let put = |key: &str, lease| Op::Put { key: key.to_owned(), value: Bytes::new(), lease };
            let success = vec![put("forgotten", None), put("refused", Some(lease))];
            db.txn(&Txn { success, ..Txn::default() }).unwrap_err()
        },
    ];
    for refuse in refuse {
        let lease = db.grant(60_000).unwrap();
        let op = Op::Put { key: "held".to_owned(), value: Bytes::new(), lease: Some(lease) };
        let held = db.txn(&Txn { success: vec![op], ..Txn::default() }).unwrap().revision;
        db.keep_alive(lease).unwrap();
        assert_eq!((db.newest().unwrap(), synced(&db)), (held, 2), "all that is told is synced");
        db.changed = false;
        db.connection.execute("UPDATE leases SET ends_ms = 0", []).unwrap();
        assert_eq!(refuse(&mut db, lease), StoreError::LeaseEnded);
        assert_eq!((db.newest().unwrap(), synced(&db), db.changed), (held.next(), 2, true));
        assert_eq!(db.range(&all()).unwrap().entries, []);
    }
    // Nor does it appear later, with revisions that the refused transactions would have had.
    for _ in 0..2 {
        db.txn(&put("later", "1")).unwrap();
    }
    let later: Vec<_> = db.range(&all()).unwrap().entries.into_iter().map(|entry| entry.key).collect();
    assert_eq!(later, ["later"]);
    // If no lease is due, a refusal changes nothing.
    let newest = db.newest().unwrap();
    assert_eq!(db.keep_alive(LeaseId(9_999)), Err(StoreError::LeaseEnded));
    assert_eq!((db.newest().unwrap(), synced(&db)), (newest, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_commit_is_told_whoever_saw_it_first() {
    let folder = Folder::new();
    let (told, mut tells) = tokio::sync::mpsc::channel(1_024);
    let writer = Worker::start("store-writer", folder.file(), move |revision, ours| {
        let _ = told.try_send((revision, ours));
    });
    let mut others = db::open(&folder.file()).unwrap();
    let first = writer.submit(|db| db.txn(&put("a", "1"))).await.unwrap().revision;
    let second = others.txn(&put("a", "2")).unwrap().revision;
    let lease = writer.submit(|db| db.grant(60_000)).await.unwrap();
    writer.submit(move |db| db.keep_alive(lease)).await.unwrap();
    let third = writer.submit(|db| db.txn(&put("a", "3"))).await.unwrap().revision;
    let mut ours = Vec::new();
    while ours.last() != Some(&third) {
        let (revision, is_ours) = tells.recv().await.unwrap();
        assert!(revision >= first);
        if is_ours {
            ours.push(revision);
        }
    }
    assert_eq!((ours, second), (vec![first, third], first.next()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_rings_and_is_not_found_by_the_poll() {
    let folder = Folder::new();
    // A path too long for a socket: the baseline, where commits are found by polling.
    let polled = commits_seen_elsewhere(&folder.path().join("x".repeat(120))).await;
    let notified = commits_seen_elsewhere(&folder.path().join("short")).await;
    assert!(notified < polled / 2, "{notified:?}, with polling {polled:?}");
}

/// How long it takes until another store has seen ten commits, one after the other.
async fn commits_seen_elsewhere(directory: &Path) -> Duration {
    let (one, other) = (SqliteStore::open(directory), SqliteStore::open(directory));
    one.txn(put("a", "0")).await.unwrap();
    let mut watch = other.watch(String::new(), Revision(1)).await.unwrap();
    watch.next().await.unwrap().unwrap();
    let started = tokio::time::Instant::now();
    for _ in 0..10 {
        one.txn(put("a", "1")).await.unwrap();
        watch.next().await.unwrap().unwrap();
    }
    started.elapsed()
}

#[test]
fn a_socket_that_cannot_be_is_tried_under_one_name() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _runtime = runtime.enter();
    let folder = Folder::new();
    let refused = change_notify::bind(&folder.path().join("x".repeat(120))).err().unwrap();
    assert_ne!(refused.kind(), std::io::ErrorKind::AddrInUse);
    let bells = folder.path().join("bells");
    let taken: Vec<_> =
        (0..crate::limits::STORE_PEERS).map(|_| change_notify::bind(&bells).unwrap()).collect();
    let refused = change_notify::bind(&bells).err().unwrap();
    assert_eq!(refused.kind(), std::io::ErrorKind::AddrInUse);
    drop(taken);
}

#[test]
fn a_connection_keeps_few_pages_in_memory() {
    let folder = Folder::new();
    for db in [db::open(&folder.file()).unwrap(), db::open_to_read(&folder.file()).unwrap()] {
        let kib: i64 = db.connection.pragma_query_value(None, "cache_size", |row| row.get(0)).unwrap();
        assert_eq!(kib, -512);
    }
}
