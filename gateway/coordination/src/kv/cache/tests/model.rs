//! Model test of the cache against a linear history: in every interleaving of reads, writes, changes, lost
//! watches and evictions, a served value is recent enough, and reads never go backwards.

use proptest::prelude::*;

use crate::kv::cache::*;
use crate::kv::{Author, KvChange};
use crate::store::LeaseId;

const KEYS: [&str; 3] = ["a", "b", "c"];
const STALE_NS: u64 = 100;

#[derive(Clone, Debug)]
enum Step {
    /// Another process writes, writes with a lease, or deletes, or a lease ends.
    Commit(usize, Kind),
    /// The watch delivers this many revisions.
    Deliver(usize),
    Begin(usize),
    /// The store serves one of the pending reads.
    Snapshot(usize),
    ReadDone(usize),
    /// The store executes one of the pending writes.
    Write(usize, Kind),
    WriteDone(usize),
    Get(usize),
    Probe,
    Tick(u64),
    Lose,
    Restart,
    List,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Put,
    Leased,
    Delete,
    Expire,
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![3 => Just(Kind::Put), 1 => Just(Kind::Leased), 1 => Just(Kind::Delete), 1 => Just(Kind::Expire)]
}

fn steps() -> impl Strategy<Value = Step> {
    let key = 0..KEYS.len();
    prop_oneof![
        4 => (key.clone(), kinds()).prop_map(|(key, kind)| Step::Commit(key, kind)),
        5 => (1..4_usize).prop_map(Step::Deliver),
        6 => key.clone().prop_map(Step::Begin),
        6 => any::<usize>().prop_map(Step::Snapshot),
        6 => any::<usize>().prop_map(Step::ReadDone),
        3 => (any::<usize>(), kinds()).prop_map(|(which, kind)| Step::Write(which, kind)),
        3 => any::<usize>().prop_map(Step::WriteDone),
        9 => key.prop_map(Step::Get),
        5 => Just(Step::Probe),
        4 => (1..150_u64).prop_map(Step::Tick),
        1 => Just(Step::Lose),
        3 => Just(Step::Restart),
        1 => Just(Step::List),
    ]
}

struct Fact {
    key: usize,
    item: Option<Item>,
    kind: Kind,
    at_ns: u64,
}

/// A pending read or write, with the store's answer if there is one.
struct Pending {
    key: usize,
    started_ns: u64,
    at: Option<Revision>,
    writes: bool,
}

struct World {
    table: Table,
    facts: Vec<Fact>,
    pending: Vec<Pending>,
    told: usize,
    watching: bool,
    now_ns: u64,
    /// The oldest position of each key that may still be served.
    served: [u64; 3],
}

impl World {
    fn new() -> World {
        let limits = CacheLimits {
            entries: 2,
            bytes: 4_096,
            stale: Duration::from_nanos(STALE_NS),
            confirm: Duration::ZERO,
        };
        let table = Table::new(limits);
        let (facts, pending) = (Vec::new(), Vec::new());
        World { table, facts, pending, told: 0, watching: false, now_ns: 1_000, served: [0; 3] }
    }

    /// The last change of a key up to a revision.
    fn last(&self, key: usize, upto: u64) -> (u64, Option<&Item>) {
        let upto = usize::try_from(upto).unwrap();
        let found = self.facts[..upto].iter().rposition(|fact| fact.key == key);
        found.map_or((0, None), |at| (at as u64 + 1, self.facts[at].item.as_ref()))
    }

    fn newest(&self) -> u64 {
        self.facts.len() as u64
    }

    fn commit(&mut self, key: usize, kind: Kind) {
        let (modified, old) = self.last(key, self.newest());
        let leased = old.is_some_and(|item| item.lease.is_some());
        let modified = Revision(modified.max(self.newest()) + 1);
        let possible = match kind {
            Kind::Put | Kind::Leased => true,
            Kind::Delete => old.is_some(),
            Kind::Expire => leased,
        };
        if !possible {
            return;
        }
        let item = matches!(kind, Kind::Put | Kind::Leased).then(|| Item {
            key: KEYS[key].into(),
            value: Bytes::from(modified.0.to_string()),
            version: 1,
            created: modified,
            modified,
            lease: (kind == Kind::Leased).then_some(LeaseId(1)),
            author: Author { by: "".into(), client: None, at_ns: 0 },
        });
        self.facts.push(Fact { key, item, kind, at_ns: self.now_ns });
    }

    /// A served value must not be older than an earlier one.
    fn serve(&mut self, key: usize, position: u64) {
        assert!(position >= self.served[key], "{}: {position} after {}", KEYS[key], self.served[key]);
        self.served[key] = position;
    }

    fn get(&mut self, key: usize) {
        let Some(item) = self.table.get(KEYS[key], self.now_ns) else { return };
        let fact = &self.facts[usize::try_from(item.modified.0).unwrap() - 1];
        assert_eq!((fact.key, fact.item.as_ref()), (key, Some(&item)));
        let later = &self.facts[usize::try_from(item.modified.0).unwrap()..];
        if let Some(over) = later.iter().find(|fact| fact.key == key) {
            let age_ns = self.now_ns - over.at_ns;
            assert!(age_ns < STALE_NS, "{} was over {age_ns} ago", KEYS[key]);
        }
        self.serve(key, item.modified.0);
    }

    fn deliver(&mut self, revisions: usize) {
        if !self.watching {
            return;
        }
        let upto = (self.told + revisions).min(self.facts.len());
        let changes: Vec<KvChange> = (self.told..upto)
            .map(|at| match &self.facts[at].item {
                Some(item) => KvChange::Put(item.clone()),
                None => {
                    let key = KEYS[self.facts[at].key].to_owned();
                    KvChange::Delete { key, revision: Revision(at as u64 + 1) }
                }
            })
            .collect();
        self.told = upto;
        self.table.apply(&changes, Revision(upto as u64));
    }

    fn list(&mut self) {
        let at = self.newest();
        let items: Vec<Item> = (0..3).filter_map(|key| self.last(key, at).1.cloned()).collect();
        self.table.on_list("", ("", None), &items, Revision(at));
        for key in 0..3 {
            let (position, _) = self.last(key, at);
            self.serve(key, position);
        }
    }

    /// Selects one of the pending operations to which the step applies.
    fn pick(&self, which: usize, fits: impl Fn(&Pending) -> bool) -> Option<usize> {
        let fitting: Vec<usize> = (0..self.pending.len()).filter(|at| fits(&self.pending[*at])).collect();
        (!fitting.is_empty()).then(|| fitting[which % fitting.len()])
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Commit(key, kind) => self.commit(key, kind),
            Step::Deliver(revisions) => self.deliver(revisions),
            Step::Begin(key) => {
                self.table.begin(KEYS[key]);
                self.pending.push(Pending { key, started_ns: self.now_ns, at: None, writes: false });
            }
            Step::Snapshot(which) => {
                if let Some(at) = self.pick(which, |one| one.at.is_none()) {
                    self.pending[at].at = Some(Revision(self.newest()));
                }
            }
            Step::Write(which, kind) => {
                let before = self.newest();
                let Some(at) = self.pick(which, |one| one.at.is_none()) else { return };
                self.commit(self.pending[at].key, if kind == Kind::Expire { Kind::Put } else { kind });
                if self.newest() > before {
                    (self.pending[at].at, self.pending[at].writes) = (Some(Revision(self.newest())), true);
                }
            }
            Step::ReadDone(which) => {
                let Some(at) = self.pick(which, |one| one.at.is_some() && !one.writes) else { return };
                let Pending { key, started_ns, at, .. } = self.pending.remove(at);
                let at = at.unwrap();
                let (position, item) = self.last(key, at.0);
                let item = item.cloned();
                if self.table.on_read(KEYS[key], item.as_ref(), at, started_ns) == ReadDecision::Serve {
                    self.serve(key, position);
                }
            }
            Step::WriteDone(which) => {
                let Some(at) = self.pick(which, |one| one.writes) else { return };
                let Pending { key, started_ns, at, .. } = self.pending.remove(at);
                let at = at.unwrap();
                let item = self.last(key, at.0).1.cloned();
                self.table.on_write(KEYS[key], item.as_ref(), at, started_ns);
                // Reads must see it from now on.
                self.served[key] = self.served[key].max(at.0);
            }
            Step::Get(key) => self.get(key),
            Step::Probe => {
                // The end of a lease is not a write.
                let written = self.facts.iter().rposition(|fact| fact.kind != Kind::Expire);
                let written = Revision(written.map_or(0, |at| at as u64 + 1));
                if self.watching {
                    self.table.probe(written, self.now_ns);
                }
            }
            Step::Tick(ns) => self.now_ns += ns,
            Step::Lose => {
                self.watching = false;
                self.table.on_watch_lost();
            }
            Step::Restart => {
                self.told = self.facts.len();
                self.watching = true;
                self.table.restart(Revision(self.told as u64));
            }
            Step::List => self.list(),
        }
        let (entries, bytes) = self.table.size();
        assert!(entries <= 2 && bytes <= 4_096);
    }
}

fn run(steps: &[Step]) -> u64 {
    let mut world = World::new();
    world.step(&Step::Restart);
    for step in steps {
        world.step(step);
    }
    world.table.counts.hits
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]
    #[test]
    fn nothing_stale_and_nothing_backward(steps in proptest::collection::vec(steps(), 1..120)) {
        run(&steps);
    }
}

#[test]
fn the_model_is_not_idle() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let all = proptest::collection::vec(steps(), 100);
    let hits: u64 = (0..300).map(|_| run(&all.new_tree(&mut runner).unwrap().current())).sum();
    assert!(hits > 100, "{hits}");
}

fn item(key: &str, modified: u64) -> Item {
    Item {
        key: key.into(),
        value: Bytes::from_static(b"x"),
        version: 1,
        created: Revision(modified),
        modified: Revision(modified),
        lease: None,
        author: Author { by: "".into(), client: None, at_ns: 0 },
    }
}

/// A value read before a gap in the watch may have changed during the gap.
#[test]
fn what_was_read_before_a_gap_is_not_kept() {
    let mut table = Table::new(CacheLimits::default());
    table.restart(Revision(5));
    table.begin("a");
    // Read at 7; changed at 8, which is not reported.
    table.on_watch_lost();
    table.restart(Revision(9));
    table.probe(Revision(9), 10);
    assert_eq!(table.on_read("a", Some(&item("a", 6)), Revision(7), 5), ReadDecision::Serve);
    assert_eq!(table.get("a", 11), None);
    assert_eq!(table.on_read("a", Some(&item("a", 8)), Revision(9), 11), ReadDecision::Serve);
    assert_eq!(table.get("a", 12), Some(item("a", 8)));
    table.on_watch_lost();
    assert!(!table.coherent(13));
}

/// A value that changed while its slot was evicted is not cached either.
#[test]
fn what_was_read_before_its_slot_was_made_anew_is_not_kept() {
    let mut table = Table::new(CacheLimits { entries: 1, ..CacheLimits::default() });
    table.restart(Revision(5));
    table.begin("a");
    table.begin("b");
    table.apply(&[KvChange::Put(item("a", 6))], Revision(6));
    table.begin("a");
    table.probe(Revision(6), 10);
    assert_eq!(table.on_read("a", Some(&item("a", 3)), Revision(5), 5), ReadDecision::Serve);
    assert_eq!(table.get("a", 11), None);
}
