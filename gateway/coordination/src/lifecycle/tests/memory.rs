//! The in-memory replica and its indexes.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::lifecycle::tests::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_replica_matches_the_store() {
    let folder = Folder::new();
    let (writer, reader) = (folder.open(), folder.open());
    let following = reader.clone();
    let follow = tokio::spawn(async move { following.run_replica().await });
    let mut sender = writer.heartbeat_sender("p", Duration::from_secs(60)).unwrap();
    let (mut dice, mut newest) = (5_u64, Revision(0));
    for n in 0..200 {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let roll = (dice >> 33) as usize;
        let entity = if roll.is_multiple_of(2) {
            EntityId::robot(format!("r{}", roll % 5))
        } else {
            EntityId::endpoint(format!("e{}", roll % 5))
        };
        let address = ["a", "b", "c"][roll / 7 % 3];
        let done = match roll / 31 % 6 {
            0 => {
                writer
                    .register(&entity, &rover(address, roll.is_multiple_of(3).then_some(60_000)), at(n))
                    .await
            }
            1 => writer.failure(&entity, at(n)).await,
            2 => writer.advance(&entity, State::Active, at(n)).await,
            3 => {
                sender.beat(&BTreeSet::from([entity])).await.unwrap();
                continue;
            }
            _ => writer.transition(&entity, State::ALL[roll / 101 % 7], at(n)).await,
        };
        match done {
            Ok(view) => newest = newest.max(view.modified),
            Err(LifecycleError::InvalidTransition(_) | LifecycleError::Unknown(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    timeout(DEADLINE, reader.wait_for_revision(newest)).await.unwrap();
    let scan = writer.scan().await.unwrap();
    until("the same", || reader.with(|model| views(model) == views(&scan)).unwrap_or_default()).await;
    reader.with(|model| assert_indexes(model, &views(&scan)));
    follow.abort();
}

/// A selection equals a scan with a filter.
fn assert_indexes(model: &Model, all: &[View]) {
    let options =
        |words: &[&str]| words.iter().map(|&word| Some(word.to_owned())).chain([None]).collect::<Vec<_>>();
    for kind in [None, Some(EntityKind::Robot), Some(EntityKind::Endpoint)] {
        for state in State::ALL.map(Some).into_iter().chain([None]) {
            for address in options(&["a", "b", "none"]) {
                for type_name in options(&["rover", "none"]) {
                    let address = address.clone();
                    let selection = Selection { kind, state, type_name, address };
                    let found: Vec<View> = all
                        .iter()
                        .filter(|view| selection.matches(&view.entity, &view.record))
                        .cloned()
                        .collect();
                    assert_eq!(
                        model.select(&selection, None, usize::MAX),
                        (found.clone(), found.len()),
                        "{selection:?}"
                    );
                }
            }
        }
    }
}

proptest! {
    /// Changes in any order leave the same indexes as a snapshot.
    #[test]
    fn an_updated_model_equals_a_fresh_snapshot(
        steps in proptest::collection::vec((0..4_u8, 0..3_u8, 0..7_usize, 0..3_u8, 0..2_u8), 0..60),
    ) {
        let now = Instant::now();
        let mut model = Model::default();
        let mut kept: BTreeMap<String, Entry> = BTreeMap::new();
        for (n, (what, id, state, address, sender)) in steps.into_iter().enumerate() {
            let entity = EntityId::robot(format!("r{id}"));
            let revision = Revision(n as u64 + 1);
            let state = State::ALL[state];
            let address = ["a", "b"].get(usize::from(address)).map(|&address| address.to_owned());
            let record = Record {
                state, previous: state, transition: Transition::Moved, since_ns: 0, at_ns: 0, type_name: "rover".to_owned(), address,
                failures: 0, reason: String::new(), by: String::new(), manual: false, heartbeat_ms: None,
                client: None,
            };
            let key = if what < 2 { entity.key() } else { entity.heartbeat_key(&format!("s{sender}")) };
            let change = if what % 2 == 0 {
                let entry = Entry {
                    key: key.clone(), value: json::encode(&record), created: revision, modified: revision, version: 1, lease: None,
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
        let read = Model::from_entries(&entries, model.revision(), now);
        prop_assert_eq!(views(&model), views(&read));
        assert_indexes(&model, &views(&read));
        // No stale index entries are left.
        prop_assert_eq!(model.indexed(), read.indexed());
    }
}
