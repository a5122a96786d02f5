//! Conformance suite for stores; every store runs all of it.

use std::time::Duration;

use crate::limits;
use crate::store::*;

const PATIENCE: Duration = Duration::from_secs(10);

fn put(key: &str, value: &str) -> Op {
    Op::Put { key: key.to_owned(), value: Bytes::copy_from_slice(value.as_bytes()), lease: None }
}

fn held(key: &str, lease: LeaseId) -> Op {
    Op::Put { key: key.to_owned(), value: Bytes::from_static(b"held"), lease: Some(lease) }
}

fn always(success: Vec<Op>) -> Txn {
    Txn { success, ..Txn::default() }
}

fn under(prefix: &str) -> Range {
    Range { prefix: prefix.to_owned(), limit: 100, ..Range::default() }
}

async fn pairs(store: &dyn Store, range: Range) -> Vec<(String, String)> {
    let entries = store.range(range).await.unwrap().entries;
    entries.into_iter().map(|e| (e.key, String::from_utf8_lossy(&e.value).into_owned())).collect()
}

async fn next(watch: &mut Watch) -> Vec<Change> {
    let next = tokio::time::timeout(PATIENCE, watch.next());
    next.await.expect("nothing is told").expect("the watch ended").unwrap()
}

/// Runs all tests over two views of one store: the first is written, both are read.
pub(super) async fn suite(store: &dyn Store, other: &dyn Store) {
    versions_and_revisions(store).await;
    transactions(store).await;
    pages(store).await;
    scans(store).await;
    the_past(store).await;
    leases(store, other).await;
    watches(store, other).await;
    refusals(store).await;
}

async fn versions_and_revisions(store: &dyn Store) {
    let first = store.txn(always(vec![put("v/a", "1"), put("v/b", "1")])).await.unwrap();
    let second = store.txn(always(vec![put("v/a", "2")])).await.unwrap();
    assert_eq!(second.revision, first.revision.next());
    let page = store.range(under("v/")).await.unwrap();
    assert!(page.revision >= second.revision);
    let a = &page.entries[0];
    assert_eq!((a.created, a.modified, a.version), (first.revision, second.revision, 2));
    // Deleted and created again, it counts as a new key.
    store.txn(always(vec![Op::Delete("v/a".to_owned())])).await.unwrap();
    let again = store.txn(always(vec![put("v/a", "3")])).await.unwrap().revision;
    let a = store.range(under("v/a")).await.unwrap().entries.remove(0);
    assert_eq!((a.created, a.modified, a.version), (again, again, 1));
    // A transaction that changes nothing has no revision of its own.
    let nothing = store.txn(always(vec![Op::Delete("v/none".to_owned())])).await.unwrap();
    assert_eq!(nothing.revision, again);
}

async fn transactions(store: &dyn Store) {
    let create = Txn {
        compares: vec![Compare::Absent("t/a".to_owned())],
        success: vec![put("t/a", "mine")],
        failure: vec![Op::Get("t/a".to_owned())],
    };
    let made = store.txn(create.clone()).await.unwrap();
    assert!(made.succeeded);
    let late = store.txn(create).await.unwrap();
    assert!(!late.succeeded);
    let entry = late.got[0].clone().unwrap();
    assert_eq!((&entry.value[..], entry.created), (&b"mine"[..], made.revision));
    let holds = [
        (Compare::Version("t/a".to_owned(), 1), true),
        (Compare::Version("t/a".to_owned(), 2), false),
        (Compare::Created("t/a".to_owned(), made.revision), true),
        (Compare::Modified("t/a".to_owned(), Revision(0)), false),
        (Compare::Value("t/a".to_owned(), Bytes::from_static(b"mine")), true),
        (Compare::Value("t/none".to_owned(), Bytes::from_static(b"")), false),
        (Compare::Absent("t/a".to_owned()), false),
    ];
    for (compare, expected) in holds {
        let txn = Txn { compares: vec![compare.clone()], ..Txn::default() };
        assert_eq!(store.txn(txn).await.unwrap().succeeded, expected, "{compare:?}");
    }
    // Reads see the state before the transaction.
    let both = always(vec![put("t/a", "new"), Op::Get("t/a".to_owned()), Op::Get("t/none".to_owned())]);
    let got = store.txn(both).await.unwrap().got;
    assert_eq!(got[0].as_ref().map(|entry| &entry.value[..]), Some(&b"mine"[..]));
    assert_eq!((got.len(), &got[1]), (2, &None));
}

async fn pages(store: &dyn Store) {
    let keys: Vec<String> = (0..7).map(|n| format!("p/{n}")).collect();
    store.txn(always(keys.iter().map(|key| put(key, "x")).collect())).await.unwrap();
    store.txn(always(vec![put("p", "not under it"), put("p0", "nor this")])).await.unwrap();
    let (mut after, mut seen, mut turns) = (None, Vec::new(), 0);
    loop {
        let page = store.range(Range { after: after.clone(), limit: 3, ..under("p/") }).await.unwrap();
        seen.extend(page.entries.iter().map(|entry| entry.key.clone()));
        turns += 1;
        if !page.more {
            break;
        }
        after = seen.last().cloned();
    }
    assert_eq!((seen, turns), (keys.clone(), 3));
    let backward = |after: Option<&str>, at| Range {
        after: after.map(str::to_owned),
        backward: true,
        limit: 3,
        at,
        ..under("p/")
    };
    let newest = store.range(under("p/")).await.unwrap().revision;
    for at in [None, Some(newest)] {
        let page = store.range(backward(None, at)).await.unwrap();
        assert_eq!((page.entries[0].key.as_str(), page.entries.len(), page.more), ("p/6", 3, true));
        let page = store.range(backward(Some("p/2"), at)).await.unwrap();
        let found: Vec<_> = page.entries.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!((found, page.more), (vec!["p/1", "p/0"], false));
    }
}

async fn scans(store: &dyn Store) {
    let count = limits::STORE_PAGE_BYTES / limits::STORE_VALUE_BYTES + 3;
    let keys: Vec<String> = (0..count).map(|n| format!("s/{n:03}")).collect();
    let last = keys.last().unwrap();
    for key in &keys {
        let value = Bytes::from(vec![7; limits::STORE_VALUE_BYTES]);
        store.txn(always(vec![Op::Put { key: key.clone(), value, lease: None }])).await.unwrap();
    }
    let whole = scan::scan(store, "s/", None).await.unwrap();
    assert_eq!(
        whole.entries.iter().map(|entry| &entry.key).collect::<Vec<_>>(),
        keys.iter().collect::<Vec<_>>()
    );
    // A deletion between the pages is not seen by a pinned scan.
    let mut pages = scan::Pages::pinned(store, "s/", None);
    let first = pages.next().await.unwrap().unwrap();
    assert!(first.more);
    let deleted = store.txn(always(vec![Op::Delete(last.clone())])).await.unwrap().revision;
    let mut found = first.entries.len();
    while let Some(page) = pages.next().await.unwrap() {
        assert_eq!(page.revision, first.revision);
        found += page.entries.len();
    }
    assert_eq!(found, count);
    assert_eq!(scan::scan(store, "s/", Some(first.revision)).await.unwrap().entries.len(), count);
    assert_eq!(scan::scan(store, "s/", None).await.unwrap().entries.len(), count - 1);
    let (gone, at) = scan::get(store, last, None).await.unwrap();
    assert!(gone.is_none() && at >= deleted);
    assert!(scan::get(store, last, Some(first.revision)).await.unwrap().0.is_some());
}

async fn the_past(store: &dyn Store) {
    let one = store.txn(always(vec![put("h/a", "1"), put("h/b", "1")])).await.unwrap().revision;
    let two = store.txn(always(vec![put("h/a", "2"), Op::Delete("h/b".to_owned())])).await.unwrap().revision;
    let at = |revision: Revision| Range { at: Some(revision), ..under("h/") };
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(pairs(store, at(one)).await, [pair("h/a", "1"), pair("h/b", "1")]);
    assert_eq!(pairs(store, at(two)).await, [pair("h/a", "2")]);
    let newest = store.range(under("h/")).await.unwrap().revision;
    assert_eq!(store.range(at(Revision(newest.0 + 9))).await, Err(StoreError::Future(newest)));
    store.compact(two).await.unwrap();
    assert_eq!(pairs(store, at(two)).await, [pair("h/a", "2")]);
    assert_eq!(pairs(store, under("v/b")).await, [pair("v/b", "1")], "the newest of each key stays");
    assert!(matches!(store.range(at(Revision(one.0 - 1))).await, Err(StoreError::Compacted(_))));
    let mut watch = store.watch("h/".to_owned(), one).await.unwrap();
    assert!(matches!(watch.next().await, Some(Err(StoreError::Compacted(_)))));
    assert!(watch.next().await.is_none());
}

async fn leases(store: &dyn Store, other: &dyn Store) {
    // Longer than the pauses of a busy machine.
    let (short, long) = (Duration::from_secs(2), Duration::from_secs(60));
    let (brief, lasting) = (store.grant(short).await.unwrap(), store.grant(long).await.unwrap());
    assert_ne!(brief, lasting);
    store
        .txn(always(vec![held("l/brief", brief), held("l/brief2", brief), held("l/long", lasting)]))
        .await
        .unwrap();
    let from = store.range(under("l/")).await.unwrap().revision.next();
    let mut watch = other.watch("l/".to_owned(), from).await.unwrap();
    let gone = next(&mut watch).await;
    let keys: Vec<_> = gone.iter().map(|change| matches!(change, Change::Delete { .. })).collect();
    assert_eq!(keys, [true, true], "both at once");
    assert_eq!(gone[0].revision(), gone[1].revision());
    assert_eq!(store.keep_alive(brief).await, Err(StoreError::LeaseEnded));
    assert_eq!(store.revoke(brief).await, Err(StoreError::LeaseEnded));
    let late = store.txn(always(vec![put("l/x", "x"), held("l/y", brief)])).await;
    assert_eq!(late, Err(StoreError::LeaseEnded));
    assert_eq!(pairs(store, under("l/x")).await, [], "all or nothing");
    other.keep_alive(lasting).await.unwrap();
    // A key that is put again without the lease outlives it.
    store.txn(always(vec![put("l/kept", "x"), held("l/more", lasting)])).await.unwrap();
    store.txn(always(vec![put("l/more", "x")])).await.unwrap();
    other.revoke(lasting).await.unwrap();
    let left: Vec<_> = pairs(store, under("l/")).await.into_iter().map(|(key, _)| key).collect();
    assert_eq!(left, ["l/kept", "l/more"]);
    for ttl in [Duration::ZERO, Duration::from_secs(366 * 86_400)] {
        assert_eq!(store.grant(ttl).await, Err(StoreError::Ttl));
    }
}

async fn watches(store: &dyn Store, other: &dyn Store) {
    let first = store.txn(always(vec![put("w/a", "0"), put("elsewhere", "0")])).await.unwrap().revision;
    // From a past revision, in this process and in another one.
    let mut watches = [
        store.watch("w/".to_owned(), first).await.unwrap(),
        other.watch("w/".to_owned(), first).await.unwrap(),
    ];
    for n in 1..=50 {
        let writer = if n % 2 == 0 { store } else { other };
        writer.txn(always(vec![put("w/a", &n.to_string()), put("elsewhere", "x")])).await.unwrap();
    }
    for watch in &mut watches {
        let mut changes = Vec::new();
        while changes.len() < 51 {
            changes.extend(next(watch).await);
        }
        let told: Vec<u64> = changes.iter().map(|change| change.revision().0 - first.0).collect();
        assert_eq!(told, (0..=50).collect::<Vec<u64>>());
        let Change::Put(last) = &changes[50] else { panic!("{:?}", changes[50]) };
        assert_eq!((&last.value[..], last.version), (&b"50"[..], 51));
    }
}

async fn refusals(store: &dyn Store) {
    let before = store.range(under("")).await.unwrap().revision;
    let long = "x".repeat(crate::store::STORE_KEY_BYTES + 1);
    for key in ["", "a\0b", &long] {
        assert_eq!(store.txn(always(vec![put(key, "x")])).await, Err(StoreError::Key));
        let compares = vec![Compare::Absent(key.to_owned())];
        assert_eq!(store.txn(Txn { compares, ..Txn::default() }).await, Err(StoreError::Key));
    }
    let size = limits::STORE_VALUE_BYTES + 1;
    let huge = Op::Put { key: "r".to_owned(), value: Bytes::from(vec![0; size]), lease: None };
    assert_eq!(store.txn(always(vec![huge])).await, Err(StoreError::Value(size)));
    let twice = always(vec![put("r", "1"), Op::Delete("r".to_owned())]);
    assert_eq!(store.txn(twice).await, Err(StoreError::Twice("r".to_owned())));
    let many = always(vec![Op::Get("r".to_owned()); limits::STORE_TXN_ELEMENTS + 1]);
    assert_eq!(store.txn(many).await, Err(StoreError::Parts(limits::STORE_TXN_ELEMENTS + 1)));
    let unknown = always(vec![put("r/a", "x"), held("r/b", LeaseId(u64::MAX >> 1))]);
    assert_eq!(store.txn(unknown).await, Err(StoreError::LeaseEnded));
    assert_eq!(store.range(under("")).await.unwrap().revision, before, "nothing changed");
}
