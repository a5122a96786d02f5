//! Links against endpoints that fail on purpose, in a time that is wound on.

mod asking;
mod fake;

use std::time::Duration;

use roverline_protocol::breaker::BreakerState;
use roverline_protocol::limits;
use roverline_protocol::native::{CLOSE_DRAIN, ClientMessage, ServerMessage};

use crate::tests::fake::{Door, Order, World};
use crate::{Event, FailoverCause, LinkState};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn url(i: usize) -> Option<String> {
    Some(format!("ws://rover:{}", 8080 + i))
}

#[tokio::test(start_paused = true)]
async fn a_killed_endpoint_costs_no_sample_and_says_so() {
    let mut world = World::new(2).await;
    world.run(ms(1_000)).await;
    world.fakes[0].die();
    let view = world.failover().await;
    assert_eq!((view.cause, view.from, view.to), (FailoverCause::Closed, url(0), url(1)));
    assert!(view.blackout.unwrap() <= ms(60), "{:?}", view.blackout);
    assert_eq!(view.missing, 0);
    world.run(ms(500)).await;
    world.assert_whole();
    let heard = world.fakes[1].heard();
    assert!(heard.iter().any(|(_, m)| matches!(m, ClientMessage::Switched(s) if s.cause == "closed")));
    // Back again: planned, so neither dark nor lost.
    world.fakes[0].door(Door::Open);
    let view = world.failover().await;
    assert_eq!((view.cause, view.to), (FailoverCause::Better, url(0)));
    assert_eq!((view.blackout, view.missing), (Some(Duration::ZERO), 0));
    world.run(ms(500)).await;
    world.assert_whole();
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_of_a_second_endpoint_before_it_is_told_what_we_have() {
    let mut world = World::new(3).await;
    world.run(ms(3_000)).await;
    world.fakes[0].stop(true);
    world.failover().await;
    world.run(ms(2_000)).await;
    world.fakes[2].die();
    world.failover().await;
    world.run(ms(2_000)).await;
    for fake in &world.fakes[1..] {
        let mut resumed = std::collections::HashSet::new();
        for (session, message) in fake.heard() {
            match message {
                ClientMessage::Resume { cursors, age_ms } => {
                    assert!(!cursors.is_empty() && age_ms <= limits::REPLAY_AGE_MS);
                    resumed.insert(session);
                }
                ClientMessage::Subscribe { .. } => assert!(resumed.contains(&session)),
                _ => {}
            }
        }
        assert!(!resumed.is_empty());
    }
    world.assert_whole();
}

#[tokio::test(start_paused = true)]
async fn a_hung_endpoint_is_left_without_loss_and_what_it_says_late_is_dropped() {
    let mut world = World::new(2).await;
    world.run(ms(1_000)).await;
    world.fakes[0].stop(true);
    let view = world.failover().await;
    assert_eq!((view.cause, view.missing), (FailoverCause::Silent, 0));
    assert!(view.blackout.unwrap() <= ms(450), "{:?}", view.blackout);
    // Hot is already what the emergency scope covers; the rest is replayed.
    world.fakes[0].stop(false);
    world.run(ms(3_000)).await;
    world.assert_whole();
}

#[tokio::test(start_paused = true)]
async fn a_suspicion_that_was_wrong_costs_nothing() {
    let mut world = World::new(2).await;
    world.run(ms(1_000)).await;
    world.fakes[0].stop(true);
    world.run(ms(500)).await;
    world.fakes[0].stop(false);
    let events = world.run(ms(2_000)).await;
    assert!(!events.iter().any(|event| matches!(event, Event::Failover(_))));
    world.assert_whole();
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_takes_seconds_to_arrive_is_no_silence() {
    let mut world = World::new(2).await;
    world.run(ms(1_000)).await;
    let topics = ServerMessage::Topics { up: vec![fake::info(); 20], down: Vec::new() };
    world.fakes[0].order(Order::Trickle(topics, ms(5_000)));
    let events = world.run(ms(4_000)).await;
    assert!(!events.iter().any(|event| matches!(event, Event::Failover(_))));
    world.run(ms(3_000)).await;
    world.assert_whole();
}

#[tokio::test(start_paused = true)]
async fn where_all_are_slow_the_slow_one_is_kept_and_nothing_is_asked_for_twice() {
    let mut world = World::new(2).await;
    world.run(ms(2_000)).await;
    world.fakes[1].late(ms(900));
    world.run(ms(5_000)).await;
    let asked = |world: &World| {
        let everything = |m: &ClientMessage| matches!(m, ClientMessage::Subscribe { scopes: None, .. });
        world.fakes[1].heard().into_iter().filter(|(_, m)| everything(m)).count()
    };
    let before = asked(&world);
    // Now and then the other one is heard in between: then it is not the radio that is silent.
    for phase in 0..8 {
        world.fakes[0].stop(true);
        let silent = world.run(ms(1_000)).await;
        world.fakes[0].stop(false);
        let events = world.run(ms(1_130)).await;
        let left = silent.iter().chain(&events).any(|event| matches!(event, Event::Failover(_)));
        assert!(!left, "phase {phase}");
    }
    assert_eq!(asked(&world), before);
    world.assert_whole();
}

#[tokio::test(start_paused = true)]
async fn what_nobody_can_replay_is_counted() {
    let mut world = World::new(2).await;
    world.run(ms(1_000)).await;
    for fake in &world.fakes {
        fake.die();
    }
    assert_eq!(world.failover().await.cause, FailoverCause::AllDown);
    let last = *world.seen.last().unwrap();
    world.run(ms(2_000)).await;
    world.fakes[1].forget_until(last + 31);
    world.fakes[1].door(Door::Open);
    let view = world.failover().await;
    assert_eq!((view.to.clone(), view.missing), (url(1), 30));
    assert!(view.replayed >= 60, "{view:?}");
    assert_eq!(view.cause, FailoverCause::Closed);
    let (at, _) = world.seen.iter().zip(&world.seen[1..]).find(|(a, b)| **b != **a + 1).unwrap();
    assert_eq!(*at, last);
}

#[tokio::test(start_paused = true)]
async fn standbys_are_muted_and_slow_and_one_is_hot() {
    let mut world = World::new(3).await;
    world.run(ms(2_000)).await;
    let heartbeats = |i: usize| -> Vec<u64> {
        let heard = world.fakes[i].heard();
        heard
            .into_iter()
            .filter_map(|(_, m)| match m {
                ClientMessage::Hello { heartbeat_ms, .. } => heartbeat_ms,
                _ => None,
            })
            .collect()
    };
    assert_eq!(heartbeats(0), [limits::STANDBY_HEARTBEAT_MS, limits::HEARTBEAT_MS]);
    assert_eq!(heartbeats(2), [limits::STANDBY_HEARTBEAT_MS]);
    let scopes = |i: usize| -> Vec<Option<u32>> {
        let heard = world.fakes[i].heard();
        heard
            .into_iter()
            .filter_map(|(_, m)| match m {
                ClientMessage::Subscribe { scopes, .. } => Some(scopes.map(|scopes| scopes.len())),
                _ => None,
            })
            .collect()
    };
    assert_eq!((scopes(0), scopes(1).len() + scopes(2).len()), (vec![None], 1), "one standby is hot");
    assert!(scopes(1).iter().chain(&scopes(2)).all(|scopes| *scopes == Some(1)));
    assert!(world.fakes.iter().all(|fake| fake.queries() == ["session=standby"]));
}

#[tokio::test(start_paused = true)]
async fn a_full_endpoint_is_passed_over_and_asked_again_later() {
    let mut world = World::new(3).await;
    world.run(ms(1_000)).await;
    world.fakes[2].crowded(true);
    world.fakes[0].door(Door::Full(7));
    world.fakes[0].order(Order::Kill);
    let view = world.failover().await;
    assert_eq!((view.to, view.missing), (url(1), 0));
    world.fakes[2].crowded(false);
    let view = world.failover().await;
    assert_eq!((view.cause, view.to), (FailoverCause::Better, url(2)));
    let asked = world.fakes[0].queries().len();
    world.fakes[0].door(Door::Open);
    world.failover().await;
    assert!(world.fakes[0].queries().len() <= asked + 2);
    world.assert_whole();
}

#[tokio::test(start_paused = true)]
async fn a_drain_goes_over_to_the_successor_at_the_same_address() {
    let mut world = World::new(2).await;
    world.run(ms(1_000)).await;
    world.fakes[0].restarted();
    world.fakes[0].order(Order::Say(ServerMessage::Drain { deadline_ms: 2_000, to: Vec::new() }));
    let view = world.failover().await;
    assert_eq!((view.cause, view.from, view.to), (FailoverCause::Drain, url(0), url(0)));
    assert_eq!((view.blackout, view.missing), (Some(Duration::ZERO), 0));
    let events = world.run(ms(6_000)).await;
    assert!(!events.iter().any(|event| matches!(event, Event::Failover(_))));
    let Some(Event::Endpoints(views)) = events.iter().rfind(|e| matches!(e, Event::Endpoints(_))) else {
        panic!()
    };
    assert_eq!(views.len(), 2);
    assert_eq!((views[0].state, views[0].draining), (LinkState::Active, false));
    world.assert_whole();
}

#[tokio::test(start_paused = true)]
async fn a_drain_without_successor_goes_elsewhere_in_time() {
    let mut world = World::new(2).await;
    world.run(ms(1_000)).await;
    world.fakes[0].door(Door::Closed);
    world.fakes[0].order(Order::Say(ServerMessage::Drain { deadline_ms: 2_000, to: Vec::new() }));
    let view = world.failover().await;
    assert_eq!((view.cause, view.to, view.blackout), (FailoverCause::Drain, url(1), Some(Duration::ZERO)));
    world.fakes[0].restarted();
    world.fakes[0].door(Door::Open);
    world.fakes[0].order(Order::Close(CLOSE_DRAIN));
    let view = world.failover().await;
    assert_eq!((view.cause, view.to), (FailoverCause::Better, url(0)));
    world.assert_whole();
}

#[tokio::test(start_paused = true)]
async fn when_all_are_silent_it_is_the_radio_and_nothing_rotates() {
    let mut world = World::new(3).await;
    world.run(ms(2_000)).await;
    world.fakes.iter().for_each(|fake| fake.stop(true));
    let radio = |event| match event {
        Event::Radio(view) => Some(view),
        Event::Failover(view) => panic!("{view:?}"),
        _ => None,
    };
    assert!(world.until(radio).await.silent);
    world.run(ms(2_000)).await;
    world.fakes.iter().for_each(|fake| fake.stop(false));
    let back = world.until(radio).await;
    assert!(!back.silent && back.lasted > ms(2_000), "{back:?}");
    let events = world.run(ms(2_000)).await;
    assert!(!events.iter().any(|event| matches!(event, Event::Failover(_))));
    world.assert_whole();
}

#[tokio::test(start_paused = true)]
async fn after_a_freeze_everything_is_connected_anew() {
    let mut world = World::new(2).await;
    world.run(ms(1_000)).await;
    let sessions = world.fakes[0].queries().len();
    tokio::time::advance(ms(3_000)).await;
    let view = world.failover().await;
    assert_eq!((view.cause, view.to, view.missing), (FailoverCause::Thawed, url(0), 0));
    assert_eq!(world.fakes[0].queries().len(), sessions + 1);
    world.run(ms(500)).await;
    world.assert_whole();
}

#[tokio::test(start_paused = true)]
async fn a_flapping_endpoint_is_soon_left_alone() {
    let mut world = World::new(2).await;
    let mut switches = 0;
    let mut opened = false;
    for _ in 0..15 {
        world.fakes[0].die();
        let mut events = world.run(ms(2_000)).await;
        world.fakes[0].door(Door::Open);
        events.extend(world.run(ms(2_000)).await);
        switches += events.iter().filter(|event| matches!(event, Event::Failover(_))).count();
        opened |= events.iter().any(
            |event| matches!(event, Event::Breaker { state: BreakerState::Open, url: u } if Some(u) == url(0).as_ref()),
        );
    }
    assert!(opened && switches <= 4, "{switches} switches");
    world.assert_whole();
}
