//! Several processes at once.

use crate::lifecycle::tests::*;

/// Every value of a record's key, in order.
async fn history(lifecycle: &Lifecycle, entity: &EntityId) -> Vec<Record> {
    let newest = lifecycle.scan().await.unwrap().get(entity).unwrap().modified;
    let mut watch = lifecycle.store.watch(entity.key(), Revision(1)).await.unwrap();
    let (mut records, mut at) = (Vec::new(), Revision(0));
    while at < newest {
        let changes = timeout(DEADLINE, watch.next()).await.expect("no change").expect("the watch ended");
        for change in changes.unwrap() {
            at = change.revision();
            let Change::Put(entry) = change else { panic!("deleted") };
            records.push(Record::parse(&entry).unwrap());
        }
    }
    assert_eq!(at, newest);
    records
}

/// Registers an active entity that sends no heartbeats and waits until a monitor has noticed.
async fn missed(lifecycle: &Lifecycle, name: &str) -> Record {
    let entity = EntityId::robot(name);
    lifecycle.register(&entity, &rover("a", Some(500)), at(1)).await.unwrap();
    lifecycle.advance(&entity, State::Active, at(1)).await.unwrap();
    eventually("an entity without heartbeats is offline", async || {
        let record = lifecycle.scan().await.unwrap().get(&entity).unwrap().record;
        (record.state == State::Offline).then_some(record)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writers_produce_a_valid_history() {
    let folder = Folder::new();
    let entity = EntityId::robot("curie");
    folder.open().register(&entity, &rover("a", None), at(1)).await.unwrap();
    let workers: Vec<_> = (0..4_u64)
        .map(|n| {
            let (lifecycle, entity) = (folder.open(), entity.clone());
            tokio::spawn(async move {
                let (mut dice, mut done) = (n * 7 + 1, 0);
                for _ in 0..60 {
                    dice =
                        dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    // Valid when it was read; a concurrent change may come first.
                    let seen = lifecycle.scan().await.unwrap().get(&entity).unwrap().record.state;
                    let roll = (dice >> 33) as usize;
                    let answer = match roll % 9 {
                        0 | 1 => lifecycle.failure(&entity, at(2)).await,
                        2 => lifecycle.success(&entity, at(2)).await,
                        _ => {
                            lifecycle
                                .transition(&entity, seen.targets()[roll / 9 % seen.targets().len()], at(2))
                                .await
                        }
                    };
                    match answer {
                        Ok(_) => done += 1,
                        Err(LifecycleError::InvalidTransition(_)) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                done
            })
        })
        .collect();
    let mut done = 0;
    for worker in workers {
        done += worker.await.unwrap();
    }
    let history = history(&folder.open(), &entity).await;
    // A success without a failure succeeds and writes nothing.
    assert!(history.len() <= done + 1 && history.len() > 20, "{} of {done}", history.len());
    for pair in history.windows(2) {
        let (from, to) = (&pair[0], &pair[1]);
        assert_eq!(to.previous, from.state);
        let inputs = [LifecycleInput::Failure, LifecycleInput::Success]
            .into_iter()
            .chain(State::ALL.map(LifecycleInput::To));
        let possible: Vec<LifecycleStatus> =
            inputs.filter_map(|input| from.status().after(input).ok()).collect();
        assert!(possible.contains(&to.status()) && to.status() != from.status(), "{from:?} to {to:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_advances_take_each_step_once() {
    let folder = Folder::new();
    let entity = EntityId::robot("curie");
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let (lifecycle, entity) = (folder.open(), entity.clone());
            tokio::spawn(async move {
                lifecycle.register(&entity, &rover("a", None), at(1)).await.unwrap();
                lifecycle.advance(&entity, State::Active, at(2)).await.unwrap().record.state
            })
        })
        .collect();
    for worker in workers {
        assert_eq!(worker.await.unwrap(), State::Active);
    }
    let states: Vec<_> = history(&folder.open(), &entity).await.iter().map(|record| record.state).collect();
    assert_eq!(states, [State::Discovered, State::Provisioning, State::Ready, State::Active]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entity_without_heartbeats_goes_offline_and_fails() {
    let folder = Folder::new();
    let lifecycle = [folder.open(), folder.open()];
    let mut tasks = tokio::task::JoinSet::new();
    for (n, lifecycle) in lifecycle.iter().enumerate() {
        let (watching, following) = (lifecycle.clone(), lifecycle.clone());
        tasks.spawn(async move { following.run_replica().await });
        tasks.spawn(async move { watching.run_monitor(&format!("m{n}"), || 7).await });
    }
    let entity = EntityId::robot("curie");
    let quiet = EntityId::robot("quiet");
    lifecycle[0].register(&quiet, &rover("b", None), at(1)).await.unwrap();
    lifecycle[0].advance(&quiet, State::Active, at(1)).await.unwrap();
    let mut sender = lifecycle[0].heartbeat_sender("p", Duration::from_secs(60)).unwrap();
    lifecycle[0].register(&entity, &rover("a", Some(500)), at(1)).await.unwrap();
    sender.beat(&BTreeSet::from([entity.clone()])).await.unwrap();
    lifecycle[0].advance(&entity, State::Active, at(1)).await.unwrap();
    until("active", || lifecycle.iter().all(|lifecycle| state_of(lifecycle, &entity) == Some(State::Active)))
        .await;
    // A heartbeat timeout later.
    missed(&lifecycle[0], "unheard").await;
    assert_eq!(state_of(&lifecycle[1], &entity), Some(State::Active), "it sends heartbeats");
    assert!(lifecycle[0].last_beat_age(&entity).is_some() && lifecycle[1].last_beat_age(&entity).is_none());
    sender.stop().await;
    until("failed", || state_of(&lifecycle[1], &entity) == Some(State::Failed)).await;
    let history = history(&lifecycle[0], &entity).await;
    let lived: Vec<_> = history.iter().skip(4).map(|record| (record.state, record.failures)).collect();
    let offline = |failures| (State::Offline, failures);
    let expected = [offline(0), offline(1), offline(2), offline(3), offline(4), (State::Failed, 5)];
    assert_eq!(lived, expected, "each once, whichever process monitors");
    assert!(history[4].reason.contains("nothing was heard of it for 0.5 s"), "{:?}", history[4]);
    assert_eq!(state_of(&lifecycle[0], &quiet), Some(State::Active), "it needs no heartbeats");
    tasks.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_takes_over_monitoring() {
    let folder = Folder::new();
    let lifecycle = folder.open();
    let following = lifecycle.clone();
    let follow = tokio::spawn(async move { following.run_replica().await });
    let start = |me: &'static str| {
        let lifecycle = lifecycle.clone();
        tokio::spawn(async move { lifecycle.run_monitor(me, || 7).await })
    };
    let leader = async || {
        let (entry, _) = get(&*lifecycle.store, record::MONITOR_KEY, None).await.unwrap();
        entry.map(|entry| String::from_utf8_lossy(&entry.value).into_owned())
    };
    let leads = async |name: &str| (leader().await.as_deref() == Some(name)).then_some(());
    let first = start("first");
    eventually("the first is the monitor", async || leads("first").await).await;
    let second = start("second");
    assert_eq!(missed(&lifecycle, "one").await.by, "first");
    assert_eq!(leader().await.as_deref(), Some("first"), "one at a time");
    first.abort();
    eventually("the second takes over", async || leads("second").await).await;
    assert_eq!(missed(&lifecycle, "two").await.by, "second");
    second.abort();
    follow.abort();
}
