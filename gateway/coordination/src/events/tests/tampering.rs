//! Every manipulation of a log behind its back is detected and located.

use bytes::Bytes;

use crate::events::entry::{HEAD, checkpoint_key, log_key};
use crate::events::seal::Signer;
use crate::events::tests::*;

/// A snapshot of a log with 40 events from two nodes, and the trusted keys.
struct Case {
    folder: Folder,
    source: Snapshot,
    trust: TrustedKeys,
    kept: Seal,
}

impl Case {
    async fn new() -> Case {
        let folder = Folder::new();
        let nodes = [folder.events("one"), folder.events("two")];
        for n in 0..40 {
            let stream = format!("s{}", n % 3);
            nodes[n % 2].append(new(&stream, "x", n as i64), Expected::Any).await.unwrap();
        }
        let store = folder.store();
        let source = Snapshot::of(&*store).await.unwrap();
        let trust = trust(&folder.keys()).unwrap();
        let kept = nodes[0].head().await.unwrap().unwrap();
        let case = Case { folder, source, trust, kept };
        assert_eq!(case.findings(), []);
        case
    }

    fn findings(&self) -> Vec<(u64, Violation)> {
        let report = verify(&self.source, Some(&self.trust), std::slice::from_ref(&self.kept)).unwrap();
        report.findings.into_iter().map(|finding| (finding.seq, finding.fault)).collect()
    }

    fn value(&mut self, key: &str) -> &mut Bytes {
        &mut self.source.entries.iter_mut().find(|(found, _)| found == key).unwrap().1
    }

    fn event(&mut self, seq: u64) -> &mut Bytes {
        self.value(&log_key(seq))
    }

    fn edit(&mut self, key: &str, from: &str, to: &str) {
        let value = self.value(key);
        let text = std::str::from_utf8(value).unwrap();
        assert!(text.contains(from), "{text}");
        *value = text.replacen(from, to, 1).into();
    }

    fn remove(&mut self, gone: impl Fn(&str) -> bool) {
        self.source.entries.retain(|(key, _)| !gone(key));
    }

    /// Removes all events after this one with their index entries, as if they had never existed.
    fn cut_behind(&mut self, seq: u64) {
        for n in seq + 1..=40 {
            let event = Stored::read(self.event(n)).unwrap().event;
            let mut keys: Vec<String> = event.index().into_iter().map(|(key, _)| key).collect();
            keys.extend([log_key(n), checkpoint_key(n)]);
            self.remove(|key| keys.iter().any(|gone| gone == key));
        }
        for stream in 0..3 {
            let versions = (1..=seq).filter(|n| (n - 1) % 3 == stream).count();
            *self.value(&entry::tip_key(&format!("s{stream}"))) = versions.to_string().into();
        }
    }

    fn signer(&self, node: &str) -> Signer {
        let secret = std::fs::read_to_string(self.folder.keys().join(format!("{node}.key"))).unwrap();
        Signer::new(node, &entry::unhex(secret.trim()).unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_event_is_found() {
    let mut case = Case::new().await;
    case.edit(&log_key(17), "{\"n\":16}", "{\"n\":99}");
    assert_eq!(case.findings(), [(17, Violation::Edited)]);
    // With its hash.
    let event = Stored::read(case.event(17)).unwrap();
    let (hash, value) = Stored::seal(&event.event, event.prev).unwrap();
    assert_ne!(hash, event.hash);
    *case.event(17) = value;
    assert_eq!(case.findings(), [(18, Violation::Spliced)], "what comes next does not follow");
    // The newest event with its hash: no event follows, but the head has signed it.
    let mut case = Case::new().await;
    let mut event = Stored::read(case.event(40)).unwrap();
    event.event.data = json!("another");
    *case.event(40) = Stored::seal(&event.event, event.prev).unwrap().1;
    let found = case.findings();
    assert!(matches!(found[..], [(3..=40, Violation::Edited)]), "{found:?}");
    // Changes of white space, and invalid JSON.
    for (from, to) in [("{\"seq\"", "{ \"seq\""), ("{\"seq\"", "[\"seq\""), (" ", "")] {
        let mut case = Case::new().await;
        case.edit(&log_key(5), from, to);
        assert_eq!(case.findings()[0], (5, Violation::Edited));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_hash_is_found() {
    let mut case = Case::new().await;
    let other = Stored::read(case.event(3)).unwrap().hash.to_string();
    let event = Stored::read(case.event(20)).unwrap();
    case.edit(&log_key(20), &event.hash.to_string(), &other);
    assert_eq!(case.findings(), [(20, Violation::Edited)]);
    let mut case = Case::new().await;
    let event = Stored::read(case.event(20)).unwrap();
    case.edit(&log_key(20), &event.prev.to_string(), &other);
    assert_eq!(case.findings(), [(20, Violation::Edited)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_was_written_anew_is_found() {
    let mut case = Case::new().await;
    let mut prev = Stored::read(case.event(24)).unwrap().hash;
    for seq in 25..=40 {
        let mut event = Stored::read(case.event(seq)).unwrap().event;
        if seq == 25 {
            event.data = json!({"n": "never happened"});
        }
        let (hash, value) = Stored::seal(&event, prev).unwrap();
        (*case.event(seq), prev) = (value, hash);
    }
    let found = case.findings();
    assert!(matches!(found[0], (3..=25, Violation::Edited)), "{found:?}");
    // With a new head, signed by a key that was slipped in.
    let foreign = Signer::new("one", &[7; 32]);
    let head = foreign.sign(Seal { hash: prev, ..case.kept.clone() });
    *case.value(HEAD) = head.bytes();
    case.source.entries.push((foreign.entry(), foreign.public().into()));
    let found = case.findings();
    assert!(
        found.contains(&(0, Violation::UnknownKey)) && found.contains(&(40, Violation::UnknownKey)),
        "{found:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_events_are_found() {
    for (first, last) in [(1, 1), (10, 10), (10, 14), (39, 39)] {
        let mut case = Case::new().await;
        case.remove(|key| (first..=last).any(|seq| key == log_key(seq)));
        assert_eq!(case.findings(), [(first, Violation::Deleted)]);
    }
    // Later events moved up, which still contain their numbers.
    let mut case = Case::new().await;
    for seq in 10..40 {
        *case.event(seq) = case.event(seq + 1).clone();
    }
    case.remove(|key| key == log_key(40));
    let found = case.findings();
    assert_eq!(found[0], (10, Violation::Reordered));
    assert!(found.contains(&(40, Violation::Truncated)), "{found:?}");
    // From the beginning, as if retention had removed them, but without a valid signature.
    let mut case = Case::new().await;
    case.remove(|key| (1..=5).any(|seq| key == log_key(seq)));
    let fifth = Stored::read(Case::new().await.event(5)).unwrap();
    let floor = Seal { kind: SealKind::Floor, seq: 5, hash: fifth.hash, ..case.kept.clone() };
    case.source.entries.insert(0, (entry::FLOOR.to_owned(), floor.bytes()));
    let found = case.findings();
    assert!(
        found.contains(&(5, Violation::BadSignature)) && found.contains(&(1, Violation::Deleted)),
        "{found:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn reordered_events_are_found() {
    let mut case = Case::new().await;
    let (a, b) = (case.event(12).clone(), case.event(30).clone());
    (*case.event(12), *case.event(30)) = (b, a);
    assert_eq!(case.findings(), [(12, Violation::Reordered), (30, Violation::Reordered)]);
    let mut case = Case::new().await;
    let (a, b) = (case.event(12).clone(), case.event(13).clone());
    (*case.event(12), *case.event(13)) = (b, a);
    assert_eq!(case.findings(), [(12, Violation::Reordered), (13, Violation::Reordered)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_cut_off_is_found() {
    let mut case = Case::new().await;
    case.cut_behind(30);
    assert_eq!(case.findings(), [(31, Violation::Truncated)]);
    // With the head: an earlier head was signed as well, so only the external checkpoint reveals it.
    let mut case = Case::new().await;
    case.cut_behind(30);
    let event = Stored::read(case.event(30)).unwrap();
    let bytes = (1..=30).map(|seq| case.event(seq).len() as u64).sum();
    let old = Seal { seq: 30, hash: event.hash, bytes, ..case.kept.clone() };
    *case.value(HEAD) = case.signer("one").sign(old).bytes();
    assert_eq!(case.findings(), [(31, Violation::Truncated)]);
    assert!(verify(&case.source, Some(&case.trust), &[]).unwrap().is_sound(), "without it nothing shows");
    // Without a head, and without anything.
    let mut case = Case::new().await;
    case.remove(|key| key == HEAD);
    assert_eq!(case.findings(), [(40, Violation::Truncated)]);
    case.remove(|_| true);
    assert_eq!(case.findings(), [(1, Violation::Truncated)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_another_log_are_found() {
    let (mut case, mut other) = (Case::new().await, Case::new().await);
    *case.event(22) = other.event(22).clone();
    assert_eq!(case.findings()[0], (22, Violation::Spliced));
    // Another event at the end, correctly linked, which no head covers.
    let mut case = Case::new().await;
    let last = Stored::read(case.event(40)).unwrap();
    let event = Event { seq: 41, version: last.event.version + 1, id: "new".to_owned(), ..last.event };
    let value = Stored::seal(&event, last.hash).unwrap().1;
    case.source.entries.push((log_key(41), value));
    assert_eq!(case.findings()[0].0, 41);
    assert!(case.findings().contains(&(41, Violation::Spliced)));
    // A complete log, signed by a trusted node, is still not the log of the checkpoint.
    let mut all = Case::new().await;
    all.trust = case.trust.clone();
    let other_keys = trust(&all.folder.keys()).unwrap();
    let mut both = other_keys;
    for node in ["one", "two"] {
        let public = case.signer(node).public();
        assert!(both.add(node, &public));
    }
    all.trust = both;
    all.kept = case.kept.clone();
    assert_eq!(all.findings(), [(40, Violation::Spliced)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn exchanged_keys_and_broken_signatures_are_found() {
    let mut case = Case::new().await;
    let (one, two) = (case.signer("one"), case.signer("two"));
    *case.value(&one.entry()) = two.public().into();
    *case.value(&two.entry()) = one.public().into();
    assert_eq!(case.findings(), [(0, Violation::BadSignature), (0, Violation::BadSignature)]);
    let mut case = Case::new().await;
    case.edit(HEAD, &case.kept.signature.clone()[..8], "00000000");
    assert!(case.findings().contains(&(40, Violation::BadSignature)));
    let mut case = Case::new().await;
    case.edit(HEAD, "\"seq\":40", "\"seq\":39");
    assert!(case.findings().contains(&(39, Violation::BadSignature)));
    // A consistent log, signed with unknown keys.
    let (case, other) = (Case::new().await, Case::new().await);
    let found = verify(&other.source, Some(&case.trust), &[]).unwrap().findings;
    assert!(found.iter().any(|finding| finding.fault == Violation::UnknownKey), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_that_lead_elsewhere_are_found() {
    let mut case = Case::new().await;
    case.remove(|key| key == entry::index_key(entry::STREAM, "s0", 7));
    assert_eq!(case.findings(), [(7, Violation::Index)]);
    let mut case = Case::new().await;
    case.source.entries.push((entry::index_key(entry::TYPE, "y", 7), Bytes::new()));
    assert_eq!(case.findings(), [(7, Violation::Index)]);
    let mut case = Case::new().await;
    *case.value(&entry::tip_key("s1")) = Bytes::from_static(b"99");
    assert_eq!(case.findings(), [(0, Violation::Index)]);
    let mut case = Case::new().await;
    case.remove(|key| key == entry::tip_key("s2"));
    assert_eq!(case.findings(), [(0, Violation::Index)]);
}
