//! Backup and restore.

use crate::store::sqlite::tests::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_one_moment_and_can_be_put_back() {
    let folder = Folder::new();
    let store = std::sync::Arc::new(folder.open());
    for n in 0..300 {
        store.txn(put(&format!("k{n:03}"), "before")).await.unwrap();
    }
    // During concurrent writes.
    let writer = store.clone();
    let writing = tokio::spawn(async move {
        for n in 0..50 {
            writer.txn(put(&format!("k{n:03}"), "meanwhile")).await.unwrap();
        }
    });
    let open = backup::StoreFile::open(&folder.file()).unwrap();
    let copy = folder.path().join("copy");
    let mut told = Vec::new();
    open.copy(&copy, &mut |done, total| told.push((done, total))).unwrap();
    assert!(told.last().is_some_and(|(done, total)| done == total && *total > 0));
    assert!(open.copy(&copy, &mut |_, _| {}).unwrap_err().to_string().contains("exists"));
    writing.await.unwrap();
    drop(open);
    let newest = store.txn(put("k000", "after")).await.unwrap().revision;
    // In use, then no longer.
    assert!(backup::in_use(folder.path()).unwrap());
    drop(store);
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while backup::in_use(folder.path()).unwrap() {
        assert!(std::time::Instant::now() < deadline, "its threads do not end");
    }
    let copied = backup::StoreFile::open(&copy).unwrap();
    assert_eq!(copied.check().unwrap(), [""; 0]);
    let kept = folder.path().join("kept.db");
    backup::restore(&copied, folder.path(), &kept, &mut |_, _| {}).unwrap();
    let mut count = 0;
    backup::StoreFile::open(&kept).unwrap().visit_entries("k", &mut |_, _| count += 1).unwrap();
    assert_eq!(count, 300);
    let store = folder.open();
    let page = store.range(Range { limit: 400, ..Range::default() }).await.unwrap();
    assert_eq!(page.entries.len(), 300);
    assert!(page.entries[299].value == "before" && page.entries[0].value != "after");
    let next = store.txn(put("k000", "later")).await.unwrap().revision;
    assert!(next > newest, "no token comes twice: {next:?} {newest:?}");
    // Also over a store that cannot be read, whose counters are unknown.
    drop(store);
    while backup::in_use(folder.path()).unwrap() {}
    std::fs::write(folder.file(), "this is no database, and longer than a header is".repeat(100)).unwrap();
    let wreck = folder.path().join("wreck.db");
    backup::restore(&copied, folder.path(), &wreck, &mut |_, _| {}).unwrap();
    assert!(wreck.exists());
    let store = folder.open();
    assert_eq!(store.range(Range { limit: 400, ..Range::default() }).await.unwrap().entries.len(), 300);
    let far = store.txn(put("k000", "again")).await.unwrap().revision;
    assert!(far.0 > next.0 + (1 << 31) && far.0 < 1 << 43, "{far:?}");
    // A watcher that starts where the copy ends gets across the gap.
    let mut watch = store.watch("k".to_owned(), Revision(302)).await.unwrap();
    let mut newest = None;
    while newest != Some(far) {
        let changes = tokio::time::timeout(Duration::from_secs(10), watch.next()).await;
        newest = changes.unwrap().unwrap().unwrap().last().map(Change::revision);
    }
}

/// A store with one key, and a copy of it.
async fn copied(folder: &Folder) -> backup::StoreFile {
    folder.open().txn(put("a", "copied")).await.unwrap();
    let copy = folder.path().join("copy");
    backup::StoreFile::open(&folder.file()).unwrap().copy(&copy, &mut |_, _| {}).unwrap();
    backup::StoreFile::open(&copy).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_and_no_lease_comes_twice_though_others_write_meanwhile() {
    let folder = Folder::new();
    let copy = copied(&folder).await;
    let store = std::sync::Arc::new(folder.open());
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let writer = store.clone();
    let writing = tokio::spawn(async move {
        let mut highest = Vec::new();
        while !*stopped.borrow() {
            let revision = writer.txn(put("a", "meanwhile")).await.unwrap().revision;
            assert!(highest.last().is_none_or(|last| *last < revision), "{revision:?} after {highest:?}");
            highest.push(revision);
        }
        highest.len()
    });
    let lease = store.grant(Duration::from_secs(60)).await.unwrap();
    let (directory, kept) = (folder.path().to_owned(), folder.path().join("kept.db"));
    tokio::task::spawn_blocking(move || backup::restore(&copy, &directory, &kept, &mut |_, _| {}))
        .await
        .unwrap()
        .unwrap();
    store.txn(put("b", "after")).await.unwrap();
    stop.send(true).unwrap();
    assert!(writing.await.unwrap() > 0);
    let later = store.grant(Duration::from_secs(60)).await.unwrap();
    assert!(later.0 > lease.0 + (1 << 31), "{later:?} {lease:?}");
    let left = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().contains("restore")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_prepared_leaves_the_store_as_it_is() {
    let folder = Folder::new();
    let copy = copied(&folder).await;
    drop(copy);
    let file = folder.path().join("copy");
    // So high that tokens above it would not be exact.
    rusqlite::Connection::open(&file)
        .unwrap()
        .execute("UPDATE state SET revision = ?1", [(1_i64 << 43) - 1])
        .unwrap();
    let store = folder.open();
    store.txn(put("a", "newer")).await.unwrap();
    let copy = backup::StoreFile::open(&file).unwrap();
    let refused =
        backup::restore(&copy, folder.path(), &folder.path().join("kept.db"), &mut |_, _| {}).unwrap_err();
    assert!(refused.to_string().contains("used up"), "{refused}");
    assert_eq!(store.range(all()).await.unwrap().entries[0].value, "newer");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_was_nobody_knows_what_has_been() {
    let (folder, fresh) = (Folder::new(), Folder::new());
    let copy = copied(&folder).await;
    backup::restore(&copy, fresh.path(), &fresh.path().join("kept.db"), &mut |_, _| {}).unwrap();
    let store = fresh.open();
    assert_eq!(store.range(all()).await.unwrap().entries[0].value, "copied");
    assert!(store.txn(put("a", "new")).await.unwrap().revision > Revision(1 << 32));
}
