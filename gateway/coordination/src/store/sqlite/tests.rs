//! Tests specific to SQLite: several processes, and damaged or foreign files.

mod bounds;
mod restore;

use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use bytes::Bytes;

use crate::limits;
use crate::store::sqlite::*;
use crate::store::{Compare, Op, tests as conformance};

/// A temporary directory, removed at the end of the test.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn open(&self) -> SqliteStore {
        SqliteStore::open(self.0.path())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("roverline.db")
    }
}

fn put(key: &str, value: &'static str) -> Txn {
    let op = Op::Put { key: key.to_owned(), value: Bytes::from_static(value.as_bytes()), lease: None };
    Txn { success: vec![op], ..Txn::default() }
}

fn all() -> Range {
    Range { limit: 100, ..Range::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms_alone_and_shared() {
    let folder = Folder::new();
    let (one, other) = (folder.open(), folder.open());
    conformance::suite(&one, &other).await;
    let alone = Folder::new();
    let store = alone.open();
    conformance::suite(&store, &store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_create_a_key_one_does() {
    let folder = Folder::new();
    let stores: Vec<_> = (0..4).map(|_| std::sync::Arc::new(folder.open())).collect();
    for round in 0..20 {
        let create = |store: &std::sync::Arc<SqliteStore>| {
            let (store, key) = (store.clone(), format!("race/{round}"));
            let txn = Txn { compares: vec![Compare::Absent(key.clone())], ..put(&key, "mine") };
            tokio::spawn(async move { store.txn(txn).await.unwrap().succeeded })
        };
        let racers: Vec<_> = stores.iter().map(create).collect();
        let mut winners = 0;
        for racer in racers {
            winners += u32::from(racer.await.unwrap());
        }
        assert_eq!(winners, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_when_it_is_opened_again() {
    let folder = Folder::new();
    let revision = folder.open().txn(put("a", "1")).await.unwrap().revision;
    let page = folder.open().range(all()).await.unwrap();
    assert_eq!((page.entries.len(), page.revision), (1, revision));
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_do_not_survive_a_restart_of_the_computer() {
    let folder = Folder::new();
    {
        let store = folder.open();
        let lease = store.grant(Duration::from_secs(600)).await.unwrap();
        let op = Op::Put { key: "a".to_owned(), value: Bytes::new(), lease: Some(lease) };
        store.txn(Txn { success: vec![op], ..Txn::default() }).await.unwrap();
        assert_eq!(store.range(all()).await.unwrap().entries.len(), 1);
    }
    let connection = rusqlite::Connection::open(folder.file()).unwrap();
    connection.execute("UPDATE state SET boot = 'another'", []).unwrap();
    drop(connection);
    let store = folder.open();
    store.txn(put("b", "1")).await.unwrap();
    let page = store.range(all()).await.unwrap();
    assert_eq!(page.entries.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), ["b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_none_or_is_newer_is_refused_with_the_reason() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path()).unwrap();
    std::fs::write(folder.file(), "this is no database, and longer than a header is".repeat(100)).unwrap();
    let refused = folder.open().txn(put("a", "1")).await.err().unwrap().to_string();
    assert!(refused.contains("not a database"), "{refused}");
    std::fs::remove_file(folder.file()).unwrap();
    folder.open().txn(put("a", "1")).await.unwrap();
    rusqlite::Connection::open(folder.file()).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let refused = folder.open().txn(put("a", "1")).await.err().unwrap().to_string();
    assert!(refused.contains("newer than this program"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wal_cut_in_the_middle_of_a_frame_costs_only_what_was_not_acknowledged() {
    let folder = Folder::new();
    let store = folder.open();
    for n in 0..20 {
        store.txn(put(&format!("k{n:02}"), "x")).await.unwrap();
    }
    // The state after a crash: the file, and a WAL whose last frame is incomplete.
    let wal = |file: PathBuf| file.with_extension("db-wal");
    let crashed = |change: &dyn Fn(std::fs::File, u64)| {
        let copy = Folder::new();
        std::fs::create_dir_all(copy.path()).unwrap();
        std::fs::copy(folder.file(), copy.file()).unwrap();
        std::fs::copy(wal(folder.file()), wal(copy.file())).unwrap();
        let log = std::fs::OpenOptions::new().write(true).open(wal(copy.file())).unwrap();
        let length = log.metadata().unwrap().len();
        change(log, length);
        copy
    };
    let begun = crashed(&|log, length| log.write_all_at(&[0x55; 100], length).unwrap());
    let entries = begun.open().range(all()).await.unwrap().entries.len();
    assert_eq!(entries, 20, "a frame that was begun behind them changes nothing");
    let cut = crashed(&|log, length| log.set_len(length - 100).unwrap());
    let store = cut.open();
    assert!(store.range(all()).await.unwrap().entries.len() >= 19);
    store.txn(put("after", "x")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_too_long_for_a_socket_is_polled() {
    let folder = Folder::new();
    let deep = folder.path().join("x".repeat(120));
    let (one, other) = (SqliteStore::open(&deep), SqliteStore::open(&deep));
    let mut watch = other.watch("a".to_owned(), Revision(1)).await.unwrap();
    one.txn(put("a", "1")).await.unwrap();
    let told = tokio::time::timeout(Duration::from_secs(10), watch.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(told.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_past_is_as_it_was() {
    let folder = Folder::new();
    let store = folder.open();
    let mut then = Vec::new();
    for n in 0_u32..120 {
        // Any order that creates, changes and deletes keys, some of them repeatedly.
        let key = format!("k/{}", n.wrapping_mul(2_654_435_761) >> 29);
        let txn = match n % 3 {
            0 if n > 6 => Txn { success: vec![Op::Delete(key)], ..Txn::default() },
            _ => put(&key, ["one", "two", "three"][n as usize % 3]),
        };
        store.txn(txn).await.unwrap();
        then.push(store.range(all()).await.unwrap());
    }
    store.compact(Revision(10)).await.unwrap();
    for page in then.iter().filter(|page| page.revision >= Revision(10)) {
        for backward in [false, true] {
            let past = store.range(Range { at: Some(page.revision), backward, ..all() }).await.unwrap();
            let mut expected = page.entries.clone();
            if backward {
                expected.reverse();
            }
            assert_eq!((past.entries, past.revision), (expected, page.revision));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_seen_before_anything_is_believed() {
    let folder = Folder::new();
    let store = folder.open();
    for n in 0..500 {
        store.txn(put(&format!("k{n:03}"), "x")).await.unwrap();
    }
    let copy = folder.path().join("copy");
    backup::StoreFile::open(&folder.file()).unwrap().copy(&copy, &mut |_, _| {}).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&copy).unwrap();
    file.write_all_at(&[0xa5; 6_000], 20_000).unwrap();
    let seen = backup::StoreFile::open(&copy).and_then(|file| file.check());
    assert!(seen.as_ref().map_or(true, |wrong| !wrong.is_empty()), "{seen:?}");
    assert!(backup::StoreFile::open(&folder.path().join("none")).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stands_still_within_a_write_does_not_keep_others_waiting() {
    let folder = Folder::new();
    let store = folder.open();
    store.txn(put("a", "1")).await.unwrap();
    // The locks that it holds: the write lock and SQLite's own.
    let turn = std::fs::File::options().write(true).open(folder.path().join("roverline.turn")).unwrap();
    rustix::fs::flock(&turn, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let other = rusqlite::Connection::open(folder.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begun = std::time::Instant::now();
    let many = (0..20).map(|_| store.txn(put("a", "2")));
    for refused in futures_util::future::join_all(many).await {
        let StoreError::Unavailable(why) = refused.unwrap_err() else { panic!("by its reason") };
        assert!(why.contains("stands still"), "{why}");
    }
    assert!(begun.elapsed() >= Duration::from_millis(limits::STORE_WRITE_LOCK_MS));
    // Readers do not notice, neither open ones nor new ones.
    assert_eq!(store.range(all()).await.unwrap().entries[0].value, "1");
    let late = folder.open();
    assert_eq!(late.range(all()).await.unwrap().entries[0].value, "1");
    let writer = late.writer.clone();
    let waits = tokio::spawn(async move { late.txn(put("b", "late")).await });
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !writer.is_blocked() {
        assert!(std::time::Instant::now() < deadline, "it does not wait for the lock");
        tokio::task::yield_now().await;
    }
    other.execute_batch("ROLLBACK").unwrap();
    rustix::fs::flock(&turn, rustix::fs::FlockOperation::Unlock).unwrap();
    waits.await.unwrap().unwrap();
    let outcome = store.txn(put("a", "3")).await.unwrap();
    // The refused transaction never took effect.
    let page = store.range(all()).await.unwrap();
    assert_eq!(outcome.revision, Revision(3));
    assert_eq!((page.entries[0].version, page.entries[0].value.as_ref()), (2, b"3".as_ref()));
}
