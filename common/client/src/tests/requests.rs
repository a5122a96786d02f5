//! Requests and watches across a failover.

use roverline_protocol::native::{ClientMessage, ServerMessage};
use serde_json::{Value, json};

use crate::tests::fake::{FakeCommand, Fixture};
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
