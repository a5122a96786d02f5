//! What a process has in memory.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::lifecycle::tests::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_memory_is_what_the_store_has() {
    let folder = Folder::new();
    let (writer, reader) = (folder.open(), folder.open());
    let following = reader.clone();
    let follow = tokio::spawn(async move { following.follow().await });
    let mut speaker = writer.speaker("p", Duration::from_secs(60)).unwrap();
    let (mut dice, mut newest) = (5_u64, Revision(0));
    for n in 0..200 {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let roll = (dice >> 33) as usize;
        let name = if roll.is_multiple_of(2) {
            Name::robot(format!("r{}", roll % 5))
        } else {
            Name::endpoint(format!("e{}", roll % 5))
        };
        let address = ["a", "b", "c"][roll / 7 % 3];
        let done = match roll / 31 % 6 {
            0 => {
                writer.register(&name, &rover(address, roll.is_multiple_of(3).then_some(60_000)), at(n)).await
            }
            1 => writer.failure(&name, at(n)).await,
            2 => writer.advance(&name, State::Active, at(n)).await,
            3 => {
                speaker.speak(&BTreeSet::from([name])).await.unwrap();
                continue;
            }
            _ => writer.transition(&name, State::ALL[roll / 101 % 7], at(n)).await,
        };
        match done {
            Ok(view) => newest = newest.max(view.modified),
            Err(LifecycleError::Invalid(_) | LifecycleError::NotKnown(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    timeout(PATIENCE, reader.caught_up(newest)).await.unwrap();
    let scan = writer.scan().await.unwrap();
    until("the same", || reader.with(|model| views(model) == views(&scan)).unwrap_or_default()).await;
    reader.with(|model| assert_indexes(model, &views(&scan)));
    follow.abort();
}

/// Whatever is selected is what a look at all of them finds.
fn assert_indexes(model: &Model, all: &[View]) {
    let options =
        |words: &[&str]| words.iter().map(|&word| Some(word.to_owned())).chain([None]).collect::<Vec<_>>();
    for kind in [None, Some(Kind::Robot), Some(Kind::Endpoint)] {
        for state in State::ALL.map(Some).into_iter().chain([None]) {
            for address in options(&["a", "b", "none"]) {
                for type_name in options(&["rover", "none"]) {
                    let address = address.clone();
                    let wanted = Selection { kind, state, type_name, address };
                    let found: Vec<View> =
                        all.iter().filter(|view| wanted.wants(&view.name, &view.record)).cloned().collect();
                    assert_eq!(
                        model.select(&wanted, None, usize::MAX),
                        (found.clone(), found.len()),
                        "{wanted:?}"
                    );
                }
            }
        }
    }
}

proptest! {
    /// Changes in any order leave the indexes as a snapshot would make them.
    #[test]
    fn a_model_that_is_fed_is_one_that_is_read(
        steps in proptest::collection::vec((0..4_u8, 0..3_u8, 0..7_usize, 0..3_u8, 0..2_u8), 0..60),
    ) {
        let now = Instant::now();
        let mut model = Model::default();
        let mut kept: BTreeMap<String, Entry> = BTreeMap::new();
        for (n, (what, id, state, address, speaker)) in steps.into_iter().enumerate() {
            let name = Name::robot(format!("r{id}"));
            let revision = Revision(n as u64 + 1);
            let state = State::ALL[state];
            let address = ["a", "b"].get(usize::from(address)).map(|&address| address.to_owned());
            let record = Record {
                state, previous: state, fact: Fact::Moved, since_ns: 0, at_ns: 0, type_name: "rover".to_owned(), address,
                failures: 0, reason: String::new(), by: String::new(), manual: false, heartbeat_ms: None,
            };
            let key = if what < 2 { name.key() } else { name.beat(&format!("s{speaker}")) };
            let change = if what % 2 == 0 {
                let entry = Entry {
                    key: key.clone(), value: record.bytes(), created: revision, modified: revision, version: 1, lease: None,
                };
                kept.insert(key, entry.clone());
                Change::Put(entry)
            } else {
                kept.remove(&key);
                Change::Delete { key, revision }
            };
            model.apply(&[change], now);
        }
        let entries: Vec<Entry> = kept.into_values().collect();
        let read = Model::of(&entries, model.revision(), now);
        prop_assert_eq!(views(&model), views(&read));
        assert_indexes(&model, &views(&read));
        // Nothing is left of what was.
        prop_assert_eq!(model.indexed(), read.indexed());
    }
}
