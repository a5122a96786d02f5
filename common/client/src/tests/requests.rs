//! Requests and watches across a failover.

use roverline_protocol::native::{ClientMessage, ServerMessage};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::tests::fake::{Fake, FakeCommand, Fixture};
use crate::tests::ms;
use crate::{Event, REQUEST_LOST};

fn ids(fixture: &Fixture, endpoint: usize) -> Vec<u64> {
    let id = |message| match message {
        ClientMessage::Request { id, .. } | ClientMessage::Watch { id, .. } => Some(id),
        _ => None,
    };
    fixture.fakes[endpoint].received().into_iter().filter_map(|(_, message)| id(message)).collect()
}

async fn response(fixture: &mut Fixture) -> (u64, u16, Value) {
    let pick = |event| match event {
        Event::Response { id, status, body } => Some((id, status, body)),
        _ => None,
    };
    fixture.until(pick).await
}

#[tokio::test(start_paused = true)]
async fn reads_continue_elsewhere_and_uncertain_writes_are_reported() {
    let mut fixture = Fixture::new(2).await;
    let watch = fixture.link.watch("/api/v2/locks");
    let get = fixture.link.request("GET", "/api/v2/kv/a", None);
    let answered = fixture.link.request("POST", "/a", Some(json!({})));
    let post = fixture.link.request("POST", "/b", Some(json!({})));
    fixture.run(ms(100)).await;
    assert_eq!(ids(&fixture, 0), [watch, get, answered, post]);
    for (id, body) in [(watch, "first"), (answered, "done"), (watch, "second")] {
        fixture.fakes[0].command(FakeCommand::Send(ServerMessage::Response {
            id,
            status: 200,
            body: json!(body),
        }));
        assert_eq!(response(&mut fixture).await, (id, 200, json!(body)));
    }
    fixture.fakes[0].kill();
    let (id, status, _) = response(&mut fixture).await;
    assert_eq!((id, status), (post, REQUEST_LOST));
    fixture.run(ms(300)).await;
    assert_eq!(ids(&fixture, 1), [watch, get], "once each, and nothing that changes something");
    fixture.fakes[1].command(FakeCommand::Send(ServerMessage::Response {
        id: watch,
        status: 200,
        body: json!("third"),
    }));
    assert_eq!(response(&mut fixture).await, (watch, 200, json!("third")));
    fixture.link.unwatch(watch);
    fixture.run(ms(100)).await;
    let received = fixture.fakes[1].received();
    assert!(received.iter().any(|(_, message)| *message == ClientMessage::Unwatch { id: watch }));
}

fn spans(fake: &Fake) -> usize {
    fake.received().iter().filter(|(_, message)| matches!(message, ClientMessage::Spans { .. })).count()
}

/// A request that is answered.
async fn answered(fixture: &mut Fixture) {
    let id = fixture.link.request("POST", "/a", Some(json!({})));
    fixture.run(ms(100)).await;
    fixture.fakes[0].command(FakeCommand::Send(ServerMessage::Response {
        id,
        status: 200,
        body: json!("done"),
    }));
    assert_eq!(response(fixture).await, (id, 200, json!("done")));
}

#[tokio::test(start_paused = true)]
async fn a_link_is_closed_when_its_spans_have_been_read() {
    let mut fixture = Fixture::new(2).await;
    answered(&mut fixture).await;
    let Fixture { fakes, link, events, .. } = fixture;
    let began = Instant::now();
    link.close(events).await;
    assert_eq!(spans(&fakes[0]), 1);
    assert!(began.elapsed() < ms(200), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn closing_a_link_waits_for_no_endpoint_that_hangs_and_for_nothing_at_all() {
    let mut fixture = Fixture::new(1).await;
    answered(&mut fixture).await;
    fixture.fakes[0].set_suspended(true);
    let began = Instant::now();
    fixture.link.close(fixture.events).await;
    assert!((ms(200)..ms(220)).contains(&began.elapsed()), "{:?}", began.elapsed());
    // No request was made.
    let fixture = Fixture::new(1).await;
    fixture.fakes[0].set_suspended(true);
    let began = Instant::now();
    fixture.link.close(fixture.events).await;
    assert!(began.elapsed() < ms(50), "{:?}", began.elapsed());
}
