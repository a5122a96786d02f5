//! Several processes at once.

use crate::lifecycle::tests::*;

/// Every value that the key of one had, in order.
async fn history(lives: &Lifecycle, name: &Name) -> Vec<Record> {
    let newest = lives.scan().await.unwrap().revision();
    let mut watch = lives.store.watch(name.key(), Revision(1)).await.unwrap();
    let mut records = Vec::new();
    while let Ok(Some(changes)) = timeout(Duration::from_secs(2), watch.next()).await {
        for change in changes.unwrap() {
            assert!(change.revision() <= newest);
            let Change::Put(entry) = change else { panic!("deleted") };
            records.push(Record::of(&entry).unwrap());
        }
    }
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn four_at_once_write_a_valid_history() {
    let folder = Folder::new();
    let name = Name::robot("curie");
    folder.open().register(&name, &rover("a", None), at(1)).await.unwrap();
    let workers: Vec<_> = (0..4_u64)
        .map(|n| {
            let (lives, name) = (folder.open(), name.clone());
            tokio::spawn(async move {
                let (mut dice, mut done) = (n * 7 + 1, 0);
                for _ in 0..60 {
                    dice =
                        dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    // Valid as it was seen; another one may be first.
                    let seen = lives.scan().await.unwrap().get(&name).unwrap().record.state;
                    let roll = (dice >> 33) as usize;
                    let answer = match roll % 9 {
                        0 | 1 => lives.failure(&name, at(2)).await,
                        2 => lives.success(&name, at(2)).await,
                        _ => {
                            lives
                                .transition(&name, seen.targets()[roll / 9 % seen.targets().len()], at(2))
                                .await
                        }
                    };
                    match answer {
                        Ok(_) => done += 1,
                        Err(LifecycleError::Invalid(_)) => {}
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
    let history = history(&folder.open(), &name).await;
    // A success where there was no failure is done and writes nothing.
    assert!(history.len() <= done + 1 && history.len() > 20, "{} of {done}", history.len());
    for pair in history.windows(2) {
        let (from, to) = (&pair[0], &pair[1]);
        assert_eq!(to.previous, from.state);
        let inputs = [Input::Failure, Input::Success].into_iter().chain(State::ALL.map(Input::To));
        let possible: Vec<Life> = inputs.filter_map(|input| from.life().after(input).ok()).collect();
        assert!(possible.contains(&to.life()) && to.life() != from.life(), "{from:?} to {to:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn four_who_advance_one_take_each_step_once() {
    let folder = Folder::new();
    let name = Name::robot("curie");
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let (lives, name) = (folder.open(), name.clone());
            tokio::spawn(async move {
                lives.register(&name, &rover("a", None), at(1)).await.unwrap();
                lives.advance(&name, State::Active, at(2)).await.unwrap().record.state
            })
        })
        .collect();
    for worker in workers {
        assert_eq!(worker.await.unwrap(), State::Active);
    }
    let states: Vec<_> = history(&folder.open(), &name).await.iter().map(|record| record.state).collect();
    assert_eq!(states, [State::Discovered, State::Provisioning, State::Ready, State::Active]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_falls_silent_goes_offline_and_has_failed_in_the_end() {
    let folder = Folder::new();
    let lives = [folder.open(), folder.open()];
    let mut tasks = tokio::task::JoinSet::new();
    for (n, lives) in lives.iter().enumerate() {
        let (watching, following) = (lives.clone(), lives.clone());
        tasks.spawn(async move { following.follow().await });
        tasks.spawn(async move { watching.watch_over(&format!("m{n}"), || 7).await });
    }
    let name = Name::robot("curie");
    let quiet = Name::robot("quiet");
    lives[0].register(&quiet, &rover("b", None), at(1)).await.unwrap();
    lives[0].advance(&quiet, State::Active, at(1)).await.unwrap();
    let mut speaker = lives[0].speaker("p", Duration::from_secs(60)).unwrap();
    lives[0].register(&name, &rover("a", Some(500)), at(1)).await.unwrap();
    speaker.speak(&BTreeSet::from([name.clone()])).await.unwrap();
    lives[0].advance(&name, State::Active, at(1)).await.unwrap();
    until("active", || lives.iter().all(|lives| state_of(lives, &name) == Some(State::Active))).await;
    sleep(Duration::from_millis(1_200)).await;
    assert_eq!(state_of(&lives[1], &name), Some(State::Active), "it is heard of");
    assert!(lives[0].spoke_ago(&name).is_some() && lives[1].spoke_ago(&name).is_none());
    speaker.fall_silent().await;
    until("failed", || state_of(&lives[1], &name) == Some(State::Failed)).await;
    let history = history(&lives[0], &name).await;
    let lived: Vec<_> = history.iter().skip(4).map(|record| (record.state, record.failures)).collect();
    let offline = |failures| (State::Offline, failures);
    let wanted = [offline(0), offline(1), offline(2), offline(3), offline(4), (State::Failed, 5)];
    assert_eq!(lived, wanted, "each once, whoever watches");
    assert!(history[4].reason.contains("nothing was heard of it for 0.5 s"), "{:?}", history[4]);
    assert_eq!(state_of(&lives[0], &quiet), Some(State::Active), "it need not be heard of");
    tasks.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_watches_when_the_first_is_gone() {
    let folder = Folder::new();
    let lives = folder.open();
    let following = lives.clone();
    let follow = tokio::spawn(async move { following.follow().await });
    let start = |me: &'static str| {
        let lives = lives.clone();
        tokio::spawn(async move { lives.watch_over(me, || 7).await })
    };
    let leader = async || {
        let range = Range { prefix: record::MONITOR.to_owned(), limit: 1, ..Range::default() };
        let page = lives.store.range(range).await.unwrap();
        page.entries.first().map(|entry| String::from_utf8_lossy(&entry.value).into_owned())
    };
    let first = start("first");
    let end = Instant::now() + PATIENCE;
    while leader().await.as_deref() != Some("first") && Instant::now() < end {
        sleep(Duration::from_millis(20)).await;
    }
    let second = start("second");
    sleep(Duration::from_millis(1_000)).await;
    assert_eq!(leader().await.as_deref(), Some("first"), "one at a time");
    first.abort();
    let end = Instant::now() + PATIENCE;
    while leader().await.as_deref() != Some("second") {
        assert!(Instant::now() < end, "nobody takes over");
        sleep(Duration::from_millis(20)).await;
    }
    second.abort();
    follow.abort();
}
