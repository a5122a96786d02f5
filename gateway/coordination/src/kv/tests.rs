//! Conformance suite for shared values, over every store.

use crate::kv::*;
use crate::limits;
use crate::store::SqliteStore;

const PATIENCE: Duration = Duration::from_secs(20);

/// A temporary directory, removed at the end of the test.
pub(super) struct Folder(tempfile::TempDir);

impl Folder {
    pub(super) fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    pub(super) fn store(&self) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(self.0.path()))
    }
}

pub(super) fn author(by: &str) -> Author {
    Author { by: by.into(), client: None, at_ns: 1_700_000_000_000_000_000 }
}

pub(super) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

async fn put(kv: &Kv, key: &str, value: &str, expect: &Expect) -> Result<Item, KvError> {
    kv.put(key, bytes(value), expect, None, &author("ann")).await
}

async fn value(kv: &Kv, key: &str) -> Option<String> {
    let item = kv.get(key, None).await.unwrap().0?;
    Some(String::from_utf8(item.value.to_vec()).unwrap())
}

fn conflict_of(result: Result<Item, KvError>) -> (u64, Revision) {
    match result {
        Err(KvError::Conflict { version, modified, .. }) => (version, modified),
        other => panic!("{other:?}"),
    }
}

/// Runs all tests over two views of one store.
pub(crate) async fn suite(store: Arc<dyn Store>, other: Arc<dyn Store>) {
    let (kv, other) = (Kv::new(store.clone()), Kv::new(other));
    versions(&kv, &other).await;
    by_value(&kv).await;
    of_many_who_count_none_is_lost(&kv, &other).await;
    deleting(&kv, &store).await;
    times_to_live(&kv, &other).await;
    lists(&kv).await;
    a_list_is_of_one_moment(&kv, &other).await;
    the_past_and_watches(&kv, &other).await;
    refusals(&kv).await;
}

async fn versions(kv: &Kv, other: &Kv) {
    let first = put(kv, "v/a", "1", &Expect::Version(0)).await.unwrap();
    assert_eq!((first.version, first.created, &*first.author.by), (1, first.modified, "ann"));
    assert_eq!(kv.get("v/a", None).await.unwrap().0.as_ref(), Some(&first));
    assert_eq!(conflict_of(put(other, "v/a", "x", &Expect::Version(0)).await), (1, first.modified));
    let second = put(other, "v/a", "2", &Expect::Version(1)).await.unwrap();
    assert_eq!((second.version, second.created), (2, first.created));
    assert_eq!(conflict_of(put(kv, "v/a", "x", &Expect::Version(1)).await), (2, second.modified));
    assert_eq!(conflict_of(put(kv, "v/a", "x", &Expect::Modified(first.modified)).await).0, 2);
    assert_eq!(conflict_of(put(kv, "v/none", "x", &Expect::Version(3)).await), (0, Revision(0)));
    assert_eq!(put(kv, "v/a", "3", &Expect::Any).await.unwrap().version, 3);
    assert_eq!((value(other, "v/a").await.as_deref(), value(kv, "v/none").await), (Some("3"), None));
    // A key is different from its prefixes.
    put(kv, "v/ab", "ab", &Expect::Any).await.unwrap();
    put(kv, "v", "v", &Expect::Any).await.unwrap();
    assert_eq!((value(kv, "v/").await, value(kv, "v").await.as_deref()), (None, Some("v")));
    // Versions may repeat, revisions do not.
    kv.delete("v/a", &Expect::Any, &author("bob")).await.unwrap();
    let again = put(kv, "v/a", "1", &Expect::Version(0)).await.unwrap();
    assert_eq!(again.version, first.version);
    assert_eq!(conflict_of(put(kv, "v/a", "x", &Expect::Modified(first.modified)).await).0, 1);
    put(kv, "v/a", "2", &Expect::Modified(again.modified)).await.unwrap();
}

async fn by_value(kv: &Kv) {
    assert_eq!(conflict_of(put(kv, "b", "x", &Expect::Value(bytes(""))).await).0, 0);
    put(kv, "b", "1", &Expect::Any).await.unwrap();
    assert_eq!(conflict_of(put(kv, "b", "x", &Expect::Value(bytes("2"))).await).0, 1);
    // The author does not matter.
    kv.put("b", bytes("1"), &Expect::Any, None, &author("zoe")).await.unwrap();
    put(kv, "b", "2", &Expect::Value(bytes("1"))).await.unwrap();
    assert_eq!(value(kv, "b").await.as_deref(), Some("2"));
}

async fn of_many_who_count_none_is_lost(kv: &Kv, other: &Kv) {
    put(kv, "n", "0", &Expect::Any).await.unwrap();
    let count = |kv: Kv, by_value: bool| {
        tokio::spawn(async move {
            for _ in 0..15 {
                loop {
                    let item = kv.get("n", None).await.unwrap().0.unwrap();
                    let next =
                        (std::str::from_utf8(&item.value).unwrap().parse::<u32>().unwrap() + 1).to_string();
                    let expect =
                        if by_value { Expect::Value(item.value) } else { Expect::Version(item.version) };
                    match put(&kv, "n", &next, &expect).await {
                        Ok(_) => break,
                        Err(KvError::Conflict { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        })
    };
    let counters: Vec<_> =
        (0..4).map(|n| count(if n < 2 { kv } else { other }.clone(), n % 2 == 0)).collect();
    for counter in counters {
        counter.await.unwrap();
    }
    assert_eq!(value(kv, "n").await.as_deref(), Some("60"));
}

async fn deleting(kv: &Kv, store: &Arc<dyn Store>) {
    let unknown = |key: &str| Err(KvError::Unknown(key.to_owned()));
    assert_eq!(kv.delete("d", &Expect::Any, &author("bob")).await, unknown("d"));
    assert_eq!(kv.delete("d", &Expect::Version(0), &author("bob")).await, unknown("d"));
    let item = put(kv, "d", "1", &Expect::Any).await.unwrap();
    for wrong in [Expect::Version(2), Expect::Version(0), Expect::Value(bytes("2"))] {
        let refused = kv.delete("d", &wrong, &author("bob")).await;
        assert!(matches!(refused, Err(KvError::Conflict { version: 1, .. })), "{wrong:?}");
    }
    let gone = kv.delete("d", &Expect::Version(item.version), &author("bob")).await.unwrap();
    assert_eq!(value(kv, "d").await, None);
    // The author of the deletion is in the same revision.
    let range = Range { prefix: ORDER.to_owned(), limit: 1, ..Range::default() };
    let last = store.range(range).await.unwrap().entries.remove(0);
    let what: LastWrite = serde_json::from_slice(&last.value).unwrap();
    assert_eq!((last.modified, what.key.as_str(), what.deleted, what.by.as_str()), (gone, "d", true, "bob"));
}

async fn times_to_live(kv: &Kv, other: &Kv) {
    // Longer than the pauses of a busy machine.
    let (short, long) = (Duration::from_secs(2), Duration::from_secs(60));
    let author = author("ann");
    let brief = kv.put("t/brief", bytes("x"), &Expect::Any, Some(short), &author).await.unwrap();
    assert!(brief.lease.is_some());
    kv.put("t/kept", bytes("x"), &Expect::Any, Some(short), &author).await.unwrap();
    kv.put("t/kept", bytes("y"), &Expect::Any, Some(long), &author).await.unwrap();
    let forever = kv.put("t/kept", bytes("z"), &Expect::Any, None, &author).await.unwrap();
    assert_eq!((forever.version, forever.lease), (3, None));
    // A refused write changes nothing.
    let refused = kv.put("t/kept", bytes("w"), &Expect::Version(1), Some(short), &author).await;
    assert_eq!(conflict_of(refused).0, 3);
    let mut watch = other.watch("t/", forever.modified.next()).await.unwrap();
    let told = tokio::time::timeout(PATIENCE, watch.next()).await.unwrap().unwrap().unwrap();
    assert!(matches!(&told[..], [KvChange::Delete { key, .. }] if key == "t/brief"), "{told:?}");
    assert_eq!((value(kv, "t/brief").await, value(kv, "t/kept").await.as_deref()), (None, Some("z")));
    for ttl in [Duration::ZERO, Duration::from_secs(366 * 86_400)] {
        let refused = kv.put("t/x", bytes("x"), &Expect::Any, Some(ttl), &author).await;
        assert_eq!(refused, Err(StoreError::Ttl.into()));
    }
    assert_eq!(value(kv, "t/x").await, None);
}

async fn lists(kv: &Kv) {
    let keys: Vec<String> = (0..40).map(|n| format!("l/{n:02}")).collect();
    for key in &keys {
        put(kv, key, key, &Expect::Any).await.unwrap();
    }
    let (mut after, mut seen, mut parts) = (None::<String>, Vec::new(), 0);
    loop {
        let part = kv.list("l/", after.as_deref(), None, 19).await.unwrap();
        seen.extend(part.items.iter().map(|item| item.key.to_string()));
        parts += 1;
        after = part.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((seen, parts), (keys, 3));
    // Large values are split into more pages.
    let large = Bytes::from(vec![b'x'; limits::KV_VALUE_BYTES]);
    for n in 0..18 {
        // One author may not keep all of them.
        let by = author(if n % 2 == 0 { "ann" } else { "bea" });
        kv.put(&format!("large/{n:02}"), large.clone(), &Expect::Any, None, &by).await.unwrap();
    }
    for n in 0..40 {
        put(kv, &format!("large/00/{n:02}"), "little", &Expect::Any).await.unwrap();
    }
    let (mut after, mut seen) = (None::<String>, Vec::new());
    loop {
        let part = kv.list("large/", after.as_deref(), None, 100).await.unwrap();
        let bytes: usize = part.items.iter().map(|item| item.value.len()).sum();
        assert!(!part.items.is_empty() && bytes <= crate::kv::KV_LIST_BYTES, "{bytes}");
        seen.extend(part.items.iter().map(|item| item.key.to_string()));
        after = part.next;
        if after.is_none() {
            break;
        }
    }
    assert!(seen.is_sorted() && seen.len() == 58, "{seen:?}");
    assert_eq!(kv.list("none", None, None, 9).await.unwrap().items, []);
}

async fn a_list_is_of_one_moment(kv: &Kv, other: &Kv) {
    for n in 0..60 {
        put(kv, &format!("m/{n:02}"), "0", &Expect::Any).await.unwrap();
    }
    let writer = other.clone();
    let writing = tokio::spawn(async move {
        for n in 1..=60 {
            // The first key is always ahead.
            put(&writer, "m/00", &n.to_string(), &Expect::Any).await.unwrap();
            put(&writer, "m/59", &n.to_string(), &Expect::Any).await.unwrap();
        }
    });
    while !writing.is_finished() {
        let listing = kv.list("m/", None, None, 100).await.unwrap();
        let number =
            |at: usize| std::str::from_utf8(&listing.items[at].value).unwrap().parse::<u32>().unwrap();
        assert_eq!(listing.items.len(), 60);
        assert!((number(59)..=number(59) + 1).contains(&number(0)), "{} {}", number(0), number(59));
    }
    writing.await.unwrap();
}

async fn the_past_and_watches(kv: &Kv, other: &Kv) {
    let one = put(kv, "h/a", "1", &Expect::Any).await.unwrap();
    let two = put(other, "h/a", "2", &Expect::Any).await.unwrap();
    let three = kv.delete("h/a", &Expect::Any, &author("bob")).await.unwrap();
    assert_eq!(kv.get("h/a", Some(one.modified)).await.unwrap().0.as_ref(), Some(&one));
    assert_eq!(kv.list("h/", None, Some(two.modified), 9).await.unwrap().items, std::slice::from_ref(&two));
    assert_eq!(kv.get("h/a", None).await.unwrap().0, None);
    let future = kv.get("h/a", Some(Revision(three.0 + 999))).await;
    assert!(matches!(future, Err(KvError::Store(StoreError::Future(_)))), "{future:?}");
    for kv in [kv, other] {
        let mut watch = kv.watch("h/", one.modified).await.unwrap();
        let mut told = Vec::new();
        while told.len() < 3 {
            told.extend(tokio::time::timeout(PATIENCE, watch.next()).await.unwrap().unwrap().unwrap());
        }
        let gone = KvChange::Delete { key: "h/a".to_owned(), revision: three };
        assert_eq!(told, [KvChange::Put(one.clone()), KvChange::Put(two.clone()), gone]);
    }
}

async fn refusals(kv: &Kv) {
    let before = kv.order().await.unwrap();
    let long = "x".repeat(limits::KV_KEY_BYTES + 1);
    for key in ["", "a\0b", "a\nb", &long] {
        assert_eq!(put(kv, key, "x", &Expect::Any).await, Err(KvError::Key));
        assert_eq!(kv.get(key, None).await, Err(KvError::Key));
        assert_eq!(kv.delete(key, &Expect::Any, &author("ann")).await, Err(KvError::Key));
    }
    let huge = Bytes::from(vec![0; limits::KV_VALUE_BYTES + 1]);
    let refused = kv.put("r", huge, &Expect::Any, None, &author("ann")).await;
    assert_eq!(refused, Err(KvError::Value(limits::KV_VALUE_BYTES + 1)));
    assert_eq!(kv.order().await.unwrap(), before, "nothing changed");
    // The largest value, the longest key and the longest name fit.
    let (key, most) = ("x".repeat(limits::KV_KEY_BYTES), Bytes::from(vec![0; limits::KV_VALUE_BYTES]));
    let name = Author { by: "\u{1}".repeat(limits::KV_AUTHOR_CHARS).into(), client: None, at_ns: i64::MIN };
    kv.put(&key, most.clone(), &Expect::Any, None, &name).await.unwrap();
    assert_eq!(kv.get(&key, None).await.unwrap().0.unwrap().value, most);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms_alone_and_shared() {
    let (folder, alone) = (Folder::new(), Folder::new());
    suite(folder.store(), folder.store()).await;
    let store = alone.store();
    suite(store.clone(), store).await;
}
