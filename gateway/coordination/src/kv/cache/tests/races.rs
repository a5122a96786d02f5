//! Caches of several processes over one store, with watches that hang and end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::{mpsc, watch};

use crate::kv::cache::*;
use crate::kv::tests::{Folder, author, bytes};
use crate::store::{Store, StoreFuture, Watch};
use crate::test_support::{eventually, leave_to_store};

fn test_limits() -> CacheLimits {
    CacheLimits { confirm: Duration::from_millis(20), ..CacheLimits::default() }
}

fn cache(store: Arc<dyn Store>) -> Arc<Cache> {
    Arc::new(Cache::with_limits(Kv::new(store), test_limits()))
}

async fn put(cache: &Cache, key: &str, value: &str) -> Item {
    cache.put(key, bytes(value), &Expect::Any, None, &author("ann")).await.unwrap()
}

async fn text(cache: &Cache, key: &str) -> (String, bool) {
    let read = cache.get(key).await.unwrap();
    let text = read.item.map_or_else(String::new, |item| String::from_utf8_lossy(&item.value).into_owned());
    (text, read.cached)
}

/// Waits until the condition holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    eventually(what, async || holds().await.then_some(())).await;
}

/// A store whose watches can be made to hang and to end.
struct FaultyStore {
    store: Arc<dyn Store>,
    hang: watch::Sender<bool>,
    cut: watch::Sender<u64>,
    /// Makes the next watch begin at a compacted revision.
    early: AtomicBool,
}

impl FaultyStore {
    fn new(store: Arc<dyn Store>) -> Arc<FaultyStore> {
        let (hang, cut) = (watch::Sender::new(false), watch::Sender::new(0));
        Arc::new(FaultyStore { store, hang, cut, early: AtomicBool::new(false) })
    }
}

impl Store for FaultyStore {
    leave_to_store!(txn, range, leases, compact);

    fn watch(&self, prefix: String, from: Revision) -> StoreFuture<'_, Watch> {
        Box::pin(async move {
            let from = if self.early.swap(false, Ordering::SeqCst) { Revision(1) } else { from };
            let mut inner = self.store.watch(prefix, from).await?;
            let (tell, told) = mpsc::channel(16);
            let (mut hang, mut cut) = (self.hang.subscribe(), self.cut.subscribe());
            cut.mark_unchanged();
            tokio::spawn(async move {
                loop {
                    let next = tokio::select! {
                        next = inner.next() => next,
                        _ = cut.changed() => return,
                    };
                    let Some(next) = next else { return };
                    tokio::select! {
                        _ = hang.wait_for(|hang| !hang) => {}
                        _ = cut.changed() => return,
                    }
                    if tell.send(next).await.is_err() {
                        return;
                    }
                }
            });
            Ok(Watch::from_channel(told))
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn states_follow_who_writes_and_reads() {
    let folder = Folder::new();
    let (one, other) = (cache(folder.store()), cache(folder.store()));
    // A cache drops what it wrote before its watch began.
    for cache in [&one, &other] {
        assert_eq!(text(cache, "a").await.0, "");
        until("follows", async || cache.metrics().coherent).await;
    }
    put(&one, "a", "1").await;
    assert_eq!(one.entry("a").unwrap().state, CacheState::Modified);
    until("served from here", async || text(&one, "a").await == ("1".to_owned(), true)).await;
    until("read there", async || text(&other, "a").await == ("1".to_owned(), true)).await;
    assert_eq!(other.entry("a").unwrap().state, CacheState::Shared);
    assert_eq!(one.entry("a").unwrap().state, CacheState::Modified);
    put(&other, "a", "2").await;
    assert_eq!(other.entry("a").unwrap().state, CacheState::Modified);
    until("told", async || one.entry("a").unwrap().state == CacheState::Invalid).await;
    assert_eq!(one.metrics().invalidations, 1);
    assert_eq!(text(&one, "a").await, ("2".to_owned(), false));
    let entry = one.entry("a").unwrap();
    assert_eq!((entry.state, entry.version, entry.bytes), (CacheState::Shared, 2, 1));
    other.delete("a", &Expect::Any, &author("bob")).await.unwrap();
    assert_eq!(text(&other, "a").await.0, "");
    until("gone", async || text(&one, "a").await.0.is_empty()).await;
    let metrics = one.metrics();
    assert!(metrics.hits >= 1 && metrics.misses >= 2 && metrics.coherent, "{metrics:?}");
}

/// A cache whose watch hangs since `a` was 1, and its store; another cache has written 2.
async fn behind_by_a_write(folder: &Folder) -> (Arc<Cache>, Arc<FaultyStore>) {
    let faulty = FaultyStore::new(folder.store());
    let (one, other) = (cache(faulty.clone()), cache(folder.store()));
    put(&one, "a", "1").await;
    until("served from here", async || text(&one, "a").await.1).await;
    faulty.hang.send_replace(true);
    put(&other, "a", "2").await;
    (one, faulty)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_write_shows_what_is_there() {
    let folder = Folder::new();
    let (one, _) = behind_by_a_write(&folder).await;
    let refused = one.put("a", bytes("x"), &Expect::Version(1), None, &author("ann")).await;
    assert!(matches!(refused, Err(KvError::Conflict { version: 2, .. })), "{refused:?}");
    assert_eq!(text(&one, "a").await.0, "2", "or it would be tried with the old version for ever");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_hangs_costs_freshness_only_up_to_the_bound() {
    let folder = Folder::new();
    let (one, faulty) = behind_by_a_write(&folder).await;
    let over = Instant::now();
    let mut stale = 0;
    while over.elapsed() < test_limits().stale * 2 {
        let asked = over.elapsed();
        let (value, cached) = text(&one, "a").await;
        assert!(value == "2" || (cached && asked < test_limits().stale), "{value} {asked:?} later");
        stale += u32::from(value == "1");
        // Reads at the pace of a busy client.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    println!("{stale} reads within the bound were old");
    assert!(!one.metrics().coherent && one.metrics().age.unwrap() >= test_limits().stale);
    assert_eq!(one.get_linearizable("a").await.unwrap().item.unwrap().value, "2");
    faulty.hang.send_replace(false);
    until("served from here again", async || text(&one, "a").await == ("2".to_owned(), true)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lease_holds_is_not_served_past_the_bound() {
    let folder = Folder::new();
    let faulty = FaultyStore::new(folder.store());
    let one = cache(faulty.clone());
    put(&one, "b", "x").await;
    let ttl = Duration::from_secs(2);
    one.put("a", bytes("1"), &Expect::Any, Some(ttl), &author("ann")).await.unwrap();
    until("served from here", async || text(&one, "a").await.1).await;
    // The watch does not report the end of the lease, and no other write reveals it.
    faulty.hang.send_replace(true);
    until("gone from the store", async || one.kv.get("a", None).await.unwrap().0.is_none()).await;
    let over = Instant::now();
    until("gone", async || {
        let asked = over.elapsed();
        let (value, cached) = text(&one, "a").await;
        assert!(value.is_empty() || (cached && asked < test_limits().stale), "{value} {asked:?} later");
        value.is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_loss_and_a_compaction_it_begins_anew() {
    let folder = Folder::new();
    let faulty = FaultyStore::new(folder.store());
    let (one, other) = (cache(faulty.clone()), cache(folder.store()));
    for n in 0..20 {
        put(&other, "a", &n.to_string()).await;
        if n % 5 == 0 {
            until("served from here", async || text(&one, "a").await.1).await;
            put(&other, "b", "x").await;
            let newest = put(&other, "b", "y").await.modified;
            faulty.compact(newest).await.unwrap();
            // The next watch begins at a compacted revision and fails; the one after it works.
            faulty.early.store(true, Ordering::SeqCst);
            faulty.cut.send_modify(|cut| *cut += 1);
            put(&other, "a", &format!("{n}, later")).await;
            until("seen", async || text(&one, "a").await.0 == format!("{n}, later")).await;
        }
    }
    until("served from here at last", async || text(&one, "a").await == ("19".to_owned(), true)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_processes_see_nothing_stale_and_nothing_backward() {
    const KEYS: u64 = 3;
    let folder = Folder::new();
    let faulty = [FaultyStore::new(folder.store()), FaultyStore::new(folder.store())];
    let caches = [cache(faulty[0].clone()), cache(faulty[1].clone())];
    // The newest acknowledged revision of each key.
    let newest: Arc<Vec<AtomicU64>> = Arc::new((0..KEYS).map(|_| AtomicU64::new(0)).collect());
    let done = Arc::new(AtomicBool::new(false));
    let mut tasks = tokio::task::JoinSet::new();
    for (n, cache) in caches.iter().cloned().enumerate() {
        let (newest, done) = (newest.clone(), done.clone());
        tasks.spawn(async move {
            for round in 0..150_u64 {
                let key = round % KEYS;
                let item = put(&cache, &format!("k{key}"), &format!("{n}-{round}")).await;
                newest[key as usize].fetch_max(item.modified.0, Ordering::SeqCst);
                let read = cache.get(&format!("k{key}")).await.unwrap().item.unwrap();
                assert!(read.modified >= item.modified, "its own write was not seen");
            }
            done.store(true, Ordering::SeqCst);
        });
    }
    let served: Arc<[Vec<AtomicU64>; 2]> =
        Arc::new(std::array::from_fn(|_| (0..KEYS).map(|_| AtomicU64::new(0)).collect()));
    let hits = Arc::new(AtomicU64::new(0));
    for reader in 0..4_usize {
        let (cache, newest, done) = (caches[reader % 2].clone(), newest.clone(), done.clone());
        let (served, hits) = (served.clone(), hits.clone());
        tasks.spawn(async move {
            let mut key = 0;
            let mut before = vec![(Instant::now(), vec![0; KEYS as usize])];
            while !done.load(Ordering::SeqCst) {
                key = (key + 1) % KEYS as usize;
                // The newest revision that this process has served before the read.
                let least = served[reader % 2][key].load(Ordering::SeqCst);
                let asked = Instant::now();
                before.push((asked, newest.iter().map(|one| one.load(Ordering::SeqCst)).collect()));
                let read = cache.get(&format!("k{key}")).await.unwrap();
                let modified = read.item.map_or(0, |item| item.modified.0);
                assert!(modified >= least, "k{key}: {modified} after {least}");
                served[reader % 2][key].fetch_max(modified, Ordering::SeqCst);
                hits.fetch_add(u64::from(read.cached), Ordering::Relaxed);
                // Everything acknowledged before the staleness bound is visible.
                let bound = test_limits().stale;
                let old = before.iter().rposition(|(at, _)| asked.duration_since(*at) >= bound);
                if let Some(old) = old {
                    assert!(modified >= before[old].1[key], "k{key} is too old");
                    before.drain(..old);
                }
                // Reads at the pace of a busy client.
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        });
    }
    let (one, end) = (faulty[0].clone(), done.clone());
    tasks.spawn(async move {
        while !end.load(Ordering::SeqCst) {
            // The rhythm of the faults.
            tokio::time::sleep(Duration::from_millis(40)).await;
            one.hang.send_modify(|hang| *hang = !*hang);
            tokio::time::sleep(Duration::from_millis(15)).await;
            one.cut.send_modify(|cut| *cut += 1);
        }
        one.hang.send_replace(false);
    });
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    for cache in &caches {
        println!("{:?}", cache.metrics());
    }
    assert!(hits.load(Ordering::SeqCst) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stays_within_its_limits() {
    let folder = Folder::new();
    let limits = CacheLimits { entries: 8, bytes: 64 << 10, ..test_limits() };
    let cache = Cache::with_limits(Kv::new(folder.store()), limits);
    put(&cache, "k00", "x").await;
    until("it listens", async || cache.metrics().coherent).await;
    for n in 0..30 {
        put(&cache, &format!("k{n:02}"), "x").await;
    }
    let metrics = cache.metrics();
    assert_eq!((metrics.entries, metrics.evictions), (8, 22));
    assert!(cache.entry("k29").is_some() && cache.entry("k00").is_none());
    let large = "x".repeat(30 << 10);
    for n in 0..4 {
        put(&cache, &format!("large{n}"), &large).await;
    }
    let metrics = cache.metrics();
    assert!(metrics.bytes <= 64 << 10 && metrics.entries == 2, "{metrics:?}");
    // A value larger than the cache is read from the store.
    put(&cache, "huge", &"x".repeat(100 << 10)).await;
    assert_eq!(text(&cache, "huge").await.0.len(), 100 << 10);
    for n in 0..30 {
        assert_eq!(text(&cache, &format!("k{n:02}")).await.0, "x");
    }
    // Keys that do not exist take no more space.
    for n in 0..100 {
        assert_eq!(text(&cache, &format!("none{n}")).await.0, "");
    }
    assert!(cache.metrics().bytes <= 64 << 10 && cache.entries().len() <= 8);
}

#[tokio::test]
async fn without_a_store_it_says_so_and_holds_nothing() {
    let cache = Cache::new(Kv::new(Arc::new(crate::store::DisabledStore("no store".to_owned()))));
    let refused = cache.get("a").await;
    assert!(matches!(refused, Err(KvError::Store(StoreError::Unavailable(_)))), "{refused:?}");
    assert_eq!((cache.metrics().age, cache.metrics().coherent), (None, false));
}

/// Prints latencies: `cargo test --release -p roverline-coordination figures -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "prints figures"]
async fn figures_of_reading() {
    let folder = Folder::new();
    let cache = cache(folder.store());
    for n in 0..1_000 {
        put(&cache, &format!("figures/{n}"), "a value").await;
    }
    until("served from here", async || text(&cache, "figures/1").await.1).await;
    let (mut held, mut through) = (Vec::new(), Vec::new());
    for n in 0..100_000_u32 {
        let key = format!("figures/{}", n % 1_000);
        let started = Instant::now();
        let read = cache.get(&key).await.unwrap();
        if read.cached { &mut held } else { &mut through }.push(started.elapsed());
    }
    for n in 0..5_000_u32 {
        let started = Instant::now();
        cache.get_linearizable(&format!("figures/{}", n % 1_000)).await.unwrap();
        through.push(started.elapsed());
    }
    for (what, mut took) in [("held", held), ("read through", through)] {
        took.sort_unstable();
        let at = |percent: usize| took[(took.len() - 1) * percent / 100];
        println!("{what}: {} reads, p50 {:?}, p99 {:?}, worst {:?}", took.len(), at(50), at(99), at(100));
    }
}
