//! Links against endpoints that fail on purpose, in paused time.

mod fake;
mod requests;

use std::time::Duration;

use crate::breaker::BreakerState;
use crate::limits;
use roverline_protocol::native::{CLOSE_DRAIN, ClientMessage, ServerMessage};

use crate::tests::fake::{Availability, FakeCommand, Fixture};
use crate::{Event, FailoverCause, LinkState};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn url(i: usize) -> Option<String> {
    Some(format!("ws://rover:{}", 8080 + i))
}

#[tokio::test(start_paused = true)]
async fn a_killed_endpoint_costs_no_sample_and_is_reported() {
    let mut fixture = Fixture::new(2).await;
    fixture.run(ms(1_000)).await;
    fixture.fakes[0].kill();
    let view = fixture.failover().await;
    assert_eq!((view.cause, view.from, view.to), (FailoverCause::Closed, url(0), url(1)));
    assert!(view.blackout.unwrap() <= ms(60), "{:?}", view.blackout);
    assert_eq!(view.missing, 0);
    fixture.run(ms(500)).await;
    fixture.assert_complete();
    let received = fixture.fakes[1].received();
    assert!(received.iter().any(|(_, m)| matches!(m, ClientMessage::Switched(s) if s.cause == "closed")));
    // Back again: a planned switch, so neither blackout nor loss.
    fixture.fakes[0].set_availability(Availability::Open);
    let view = fixture.failover().await;
    assert_eq!((view.cause, view.to), (FailoverCause::Better, url(0)));
    assert_eq!((view.blackout, view.missing), (Some(Duration::ZERO), 0));
    fixture.run(ms(500)).await;
    fixture.assert_complete();
}

#[tokio::test(start_paused = true)]
async fn a_second_endpoint_is_subscribed_only_after_a_resume() {
    let mut fixture = Fixture::new(3).await;
    fixture.run(ms(3_000)).await;
    fixture.fakes[0].set_suspended(true);
    fixture.failover().await;
    fixture.run(ms(2_000)).await;
    fixture.fakes[1].kill();
    fixture.failover().await;
    fixture.run(ms(2_000)).await;
    for fake in &fixture.fakes[1..] {
        let mut resumed = std::collections::HashSet::new();
        for (session, message) in fake.received() {
            match message {
                ClientMessage::Resume { cursors, age_ms, .. } => {
                    assert!(!cursors.is_empty() && age_ms <= limits::REPLAY_AGE_MS);
                    resumed.insert(session);
                }
                ClientMessage::Subscribe { .. } => assert!(resumed.contains(&session)),
                _ => {}
            }
        }
        assert!(!resumed.is_empty());
    }
    fixture.assert_complete();
}

#[tokio::test(start_paused = true)]
async fn a_hung_endpoint_is_left_without_loss_and_its_late_messages_are_dropped() {
    let mut fixture = Fixture::new(2).await;
    fixture.run(ms(1_000)).await;
    fixture.fakes[0].set_suspended(true);
    let view = fixture.failover().await;
    assert_eq!((view.cause, view.missing), (FailoverCause::Silent, 0));
    assert!(view.blackout.unwrap() <= ms(450), "{:?}", view.blackout);
    // The emergency scope already has a hot standby; the rest is replayed.
    fixture.fakes[0].set_suspended(false);
    fixture.run(ms(3_000)).await;
    fixture.assert_complete();
}

#[tokio::test(start_paused = true)]
async fn a_wrong_suspicion_costs_nothing() {
    let mut fixture = Fixture::new(2).await;
    fixture.run(ms(1_000)).await;
    fixture.fakes[0].set_suspended(true);
    fixture.run(ms(500)).await;
    fixture.fakes[0].set_suspended(false);
    let events = fixture.run(ms(2_000)).await;
    assert!(!events.iter().any(|event| matches!(event, Event::Failover(_))));
    fixture.assert_complete();
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_takes_seconds_to_arrive_counts_as_activity() {
    let mut fixture = Fixture::new(2).await;
    fixture.run(ms(1_000)).await;
    let topics = ServerMessage::Topics { up: vec![fake::info(); 20], down: Vec::new() };
    fixture.fakes[0].command(FakeCommand::Trickle(topics, ms(5_000)));
    let events = fixture.run(ms(4_000)).await;
    assert!(!events.iter().any(|event| matches!(event, Event::Failover(_))));
    fixture.run(ms(3_000)).await;
    fixture.assert_complete();
}

#[tokio::test(start_paused = true)]
async fn when_all_endpoints_are_slow_none_is_left_and_nothing_is_subscribed_twice() {
    let mut fixture = Fixture::new(2).await;
    fixture.run(ms(2_000)).await;
    fixture.fakes[1].set_delay(ms(900));
    fixture.run(ms(5_000)).await;
    let subscribes = |fixture: &Fixture| {
        let everything = |m: &ClientMessage| matches!(m, ClientMessage::Subscribe { scopes: None, .. });
        fixture.fakes[1].received().into_iter().filter(|(_, m)| everything(m)).count()
    };
    let before = subscribes(&fixture);
    // Occasionally the other one is heard in between: then the radio is not silent.
    for phase in 0..8 {
        fixture.fakes[0].set_suspended(true);
        let silent = fixture.run(ms(1_000)).await;
        fixture.fakes[0].set_suspended(false);
        let events = fixture.run(ms(1_130)).await;
        let left = silent.iter().chain(&events).any(|event| matches!(event, Event::Failover(_)));
        assert!(!left, "phase {phase}");
    }
    assert_eq!(subscribes(&fixture), before);
    fixture.assert_complete();
}

/// The newest state of the endpoints in these events, best first.
fn views(events: &[Event]) -> Vec<crate::EndpointView> {
    let newest = events.iter().rev().find_map(|event| match event {
        Event::Endpoints(views) => Some(views.to_vec()),
        _ => None,
    });
    newest.unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn on_a_slow_link_answers_are_late_and_none_counts_as_lost() {
    let mut fixture = Fixture::new(2).await;
    fixture.fakes.iter().for_each(|fake| fake.set_lag(ms(1_200)));
    let events = fixture.run(ms(40_000)).await;
    assert!(!events.iter().any(|event| matches!(event, Event::Failover(_))));
    for view in views(&events) {
        assert_eq!(view.loss, 0.0, "{view:?}");
        let rtt = view.rtt.expect("a round-trip time");
        assert!((ms(1_100)..=ms(1_300)).contains(&rtt), "{rtt:?}");
    }
    // A probe without an answer counts as lost, but only later.
    fixture.fakes.iter().for_each(|fake| fake.set_lag(ms(3_600_000)));
    let events = fixture.run(ms(9_000)).await;
    assert!(views(&events).iter().all(|view| view.loss == 0.0));
    let events = fixture.run(ms(9_000)).await;
    assert!(views(&events).iter().all(|view| view.loss > 0.2), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_of_all_the_best_one_is_used_at_once() {
    let mut fixture = Fixture::new(4).await;
    for outage_ms in [300, 1_000, 2_000, 4_000, 7_000, 11_000, 23_000, 41_000, 90_000] {
        fixture.fakes.iter().for_each(fake::Fake::kill);
        while fixture.failover().await.cause != FailoverCause::AllDown {}
        fixture.run(ms(outage_ms)).await;
        fixture.fakes.iter().for_each(|fake| fake.set_availability(Availability::Open));
        assert_eq!(fixture.failover().await.to, url(0), "after {outage_ms} ms");
        let events = fixture.run(ms(8_000)).await;
        let left = events.iter().any(|event| matches!(event, Event::Failover(_)));
        assert!(!left, "after {outage_ms} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_comes_back_last_is_soon_used_again() {
    let mut fixture = Fixture::new(4).await;
    fixture.fakes.iter().for_each(fake::Fake::kill);
    fixture.run(ms(60_000)).await;
    fixture.fakes[2].set_availability(Availability::Open);
    assert_eq!(fixture.failover().await.to, url(2));
    fixture.run(ms(400)).await;
    fixture.fakes.iter().for_each(|fake| fake.set_availability(Availability::Open));
    let since = tokio::time::Instant::now();
    while fixture.failover().await.to != url(0) {}
    assert!(since.elapsed() < ms(2_500), "{:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn many_topics_are_one_message_and_none_is_lost() {
    let mut fixture = Fixture::new(1).await;
    fixture.run(ms(500)).await;
    let names: Vec<String> = (0..900).map(|n| format!("/topic/{n}")).collect();
    let subscribed = |fixture: &Fixture| -> Vec<Vec<String>> {
        let topics = |(_, message)| match message {
            ClientMessage::Subscribe { topics, .. } => Some(topics),
            _ => None,
        };
        fixture.fakes[0].received().into_iter().filter_map(topics).skip(1).collect()
    };
    fixture.link.subscribe_all(&names[..600], None);
    fixture.run(ms(500)).await;
    assert_eq!(subscribed(&fixture).iter().map(Vec::len).collect::<Vec<_>>(), [600]);
    // One by one, by a program that does not wait.
    names[600..].iter().for_each(|name| fixture.link.subscribe(name, None));
    fixture.link.subscribe("/a[", None);
    let events = fixture.run(ms(500)).await;
    let mut all = subscribed(&fixture).concat();
    all.sort();
    let mut expected = names.clone();
    expected.sort();
    assert_eq!(all, expected);
    let says = |event: &Event| matches!(event, Event::Notice { text, .. } if text.contains("/a["));
    assert!(events.iter().any(says), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn samples_that_cannot_be_replayed_are_counted() {
    let mut fixture = Fixture::new(2).await;
    fixture.run(ms(1_000)).await;
    for fake in &fixture.fakes {
        fake.kill();
    }
    assert_eq!(fixture.failover().await.cause, FailoverCause::AllDown);
    let last = *fixture.seen.last().unwrap();
    fixture.run(ms(2_000)).await;
    fixture.fakes[1].discard_before(last + 31);
    fixture.fakes[1].set_availability(Availability::Open);
    let view = fixture.failover().await;
    assert_eq!((view.to.clone(), view.missing), (url(1), 30));
    assert!(view.replayed >= 60, "{view:?}");
    assert_eq!(view.cause, FailoverCause::Closed);
    let (at, _) = fixture.seen.iter().zip(&fixture.seen[1..]).find(|(a, b)| **b != **a + 1).unwrap();
    assert_eq!(*at, last);
}

#[tokio::test(start_paused = true)]
async fn samples_that_expired_in_an_outbox_are_asked_for_again() {
    let mut fixture = Fixture::new(1).await;
    fixture.run(ms(1_000)).await;
    fixture.fakes[0].set_expiring(true);
    fixture.run(ms(400)).await;
    fixture.fakes[0].set_expiring(false);
    fixture.run(ms(1_000)).await;
    let asks = |fixture: &Fixture| {
        let resumes = |(_, m): &(u64, ClientMessage)| matches!(m, ClientMessage::Resume { .. });
        fixture.fakes[0].received().iter().filter(|message| resumes(message)).count()
    };
    assert_eq!(asks(&fixture), 1);
    fixture.seen.sort_unstable();
    fixture.assert_complete();
    // Samples that the endpoint no longer has are not requested repeatedly.
    fixture.run(ms(10_000)).await;
    fixture.fakes[0].set_expiring(true);
    fixture.run(ms(400)).await;
    fixture.fakes[0].discard_before(u64::MAX);
    fixture.fakes[0].set_expiring(false);
    fixture.run(ms(20_000)).await;
    assert_eq!(asks(&fixture), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_events_that_nobody_reads() {
    let mut fixture = Fixture::new(2).await;
    fixture.run(ms(1_000)).await;
    // More messages than all queues of the link hold.
    let topics = ServerMessage::Topics { up: vec![fake::info()], down: Vec::new() };
    for _ in 0..14_000 {
        fixture.fakes[0].command(FakeCommand::Send(topics.clone()));
        tokio::time::sleep(ms(1)).await;
    }
    let heard = fixture.fakes[0].received().len();
    tokio::time::sleep(ms(3_000)).await;
    assert_eq!(fixture.fakes[0].received().len(), heard, "the link waits for the program");
    let id = fixture.link.emergency_stop(true, "test");
    tokio::time::sleep(ms(50)).await;
    // The other endpoint: this one waits for its link as well, and reads nothing.
    let is_stop = |(_, m): &(u64, ClientMessage)| matches!(m, ClientMessage::EmergencyStop { id: sent, engage: true, .. } if *sent == id);
    assert!(fixture.fakes[1].received().iter().any(is_stop));
}

#[tokio::test(start_paused = true)]
async fn standbys_are_muted_and_slow_and_one_is_hot() {
    let mut fixture = Fixture::new(3).await;
    fixture.run(ms(2_000)).await;
    let heartbeats = |i: usize| -> Vec<u64> {
        let received = fixture.fakes[i].received();
        received
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
        let received = fixture.fakes[i].received();
        received
            .into_iter()
            .filter_map(|(_, m)| match m {
                ClientMessage::Subscribe { scopes, .. } => Some(scopes.map(|scopes| scopes.len())),
                _ => None,
            })
            .collect()
    };
    assert_eq!((scopes(0), scopes(1).len() + scopes(2).len()), (vec![None], 1), "one standby is hot");
    assert!(scopes(1).iter().chain(&scopes(2)).all(|scopes| *scopes == Some(1)));
    assert!(fixture.fakes.iter().all(|fake| fake.queries() == ["session=standby"]));
}

#[tokio::test(start_paused = true)]
async fn a_full_endpoint_is_skipped_and_retried_later() {
    let mut fixture = Fixture::new(3).await;
    fixture.run(ms(1_000)).await;
    fixture.fakes[1].set_full(true);
    fixture.fakes[0].set_availability(Availability::Full(7));
    fixture.fakes[0].command(FakeCommand::Kill);
    let view = fixture.failover().await;
    assert_eq!((view.to, view.missing), (url(2), 0));
    fixture.fakes[1].set_full(false);
    let view = fixture.failover().await;
    assert_eq!((view.cause, view.to), (FailoverCause::Better, url(1)));
    let subscribes = fixture.fakes[0].queries().len();
    fixture.fakes[0].set_availability(Availability::Open);
    fixture.failover().await;
    assert!(fixture.fakes[0].queries().len() <= subscribes + 2);
    fixture.assert_complete();
}

#[tokio::test(start_paused = true)]
async fn a_drain_switches_to_the_successor_at_the_same_address() {
    let mut fixture = Fixture::new(2).await;
    fixture.run(ms(1_000)).await;
    fixture.fakes[0].restart();
    fixture.fakes[0].command(FakeCommand::Send(ServerMessage::Drain { deadline_ms: 2_000, to: Vec::new() }));
    let view = fixture.failover().await;
    assert_eq!((view.cause, view.from, view.to), (FailoverCause::Drain, url(0), url(0)));
    assert_eq!((view.blackout, view.missing), (Some(Duration::ZERO), 0));
    let events = fixture.run(ms(6_000)).await;
    assert!(!events.iter().any(|event| matches!(event, Event::Failover(_))));
    let Some(Event::Endpoints(views)) = events.iter().rfind(|e| matches!(e, Event::Endpoints(_))) else {
        panic!()
    };
    assert_eq!(views.len(), 2);
    assert_eq!((views[0].state, views[0].draining), (LinkState::Active, false));
    fixture.assert_complete();
}

#[tokio::test(start_paused = true)]
async fn a_drain_without_successor_switches_elsewhere_in_time() {
    let mut fixture = Fixture::new(2).await;
    fixture.run(ms(1_000)).await;
    fixture.fakes[0].set_availability(Availability::Closed);
    fixture.fakes[0].command(FakeCommand::Send(ServerMessage::Drain { deadline_ms: 2_000, to: Vec::new() }));
    let view = fixture.failover().await;
    assert_eq!((view.cause, view.to, view.blackout), (FailoverCause::Drain, url(1), Some(Duration::ZERO)));
    fixture.fakes[0].restart();
    fixture.fakes[0].set_availability(Availability::Open);
    fixture.fakes[0].command(FakeCommand::Close(CLOSE_DRAIN));
    let view = fixture.failover().await;
    assert_eq!((view.cause, view.to), (FailoverCause::Better, url(0)));
    fixture.assert_complete();
}

#[tokio::test(start_paused = true)]
async fn when_all_are_silent_the_radio_is_blamed_and_nothing_rotates() {
    let mut fixture = Fixture::new(3).await;
    fixture.run(ms(2_000)).await;
    fixture.fakes.iter().for_each(|fake| fake.set_suspended(true));
    let radio = |event| match event {
        Event::Radio(view) => Some(view),
        Event::Failover(view) => panic!("{view:?}"),
        _ => None,
    };
    assert!(fixture.until(radio).await.silent);
    fixture.run(ms(2_000)).await;
    fixture.fakes.iter().for_each(|fake| fake.set_suspended(false));
    let back = fixture.until(radio).await;
    assert!(!back.silent && back.lasted > ms(2_000), "{back:?}");
    let events = fixture.run(ms(2_000)).await;
    assert!(!events.iter().any(|event| matches!(event, Event::Failover(_))));
    fixture.assert_complete();
}

#[tokio::test(start_paused = true)]
async fn after_a_suspend_every_endpoint_is_reconnected() {
    let mut fixture = Fixture::new(2).await;
    fixture.run(ms(1_000)).await;
    let sessions = fixture.fakes[0].queries().len();
    tokio::time::advance(ms(3_000)).await;
    let view = fixture.failover().await;
    assert_eq!((view.cause, view.to, view.missing), (FailoverCause::Suspended, url(0), 0));
    assert_eq!(fixture.fakes[0].queries().len(), sessions + 1);
    fixture.run(ms(500)).await;
    fixture.assert_complete();
}

#[tokio::test(start_paused = true)]
async fn a_flapping_endpoint_is_soon_left_alone() {
    let mut fixture = Fixture::new(2).await;
    let mut switches = 0;
    let mut opened = false;
    for _ in 0..15 {
        fixture.fakes[0].kill();
        let mut events = fixture.run(ms(2_000)).await;
        fixture.fakes[0].set_availability(Availability::Open);
        events.extend(fixture.run(ms(2_000)).await);
        switches += events.iter().filter(|event| matches!(event, Event::Failover(_))).count();
        opened |= events.iter().any(
            |event| matches!(event, Event::Breaker { state: BreakerState::Open, url: u } if Some(u) == url(0).as_ref()),
        );
    }
    assert!(opened && switches <= 4, "{switches} switches");
    fixture.assert_complete();
}
