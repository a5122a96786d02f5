//! Requests and watches across a failover.

use roverline_protocol::native::{ClientMessage, ServerMessage};
use serde_json::{Value, json};

use crate::tests::fake::{Order, World};
use crate::tests::ms;
use crate::{Event, REQUEST_LOST};

fn ids(world: &World, endpoint: usize) -> Vec<u64> {
    let id = |message| match message {
        ClientMessage::Request { id, .. } | ClientMessage::Watch { id, .. } => Some(id),
        _ => None,
    };
    world.fakes[endpoint].heard().into_iter().filter_map(|(_, message)| id(message)).collect()
}

async fn response(world: &mut World) -> (u64, u16, Value) {
    let pick = |event| match event {
        Event::Response { id, status, body } => Some((id, status, body)),
        _ => None,
    };
    world.until(pick).await
}

#[tokio::test(start_paused = true)]
async fn what_only_reads_goes_on_elsewhere_and_what_is_in_doubt_is_said_to_be() {
    let mut world = World::new(2).await;
    let watch = world.link.watch("/api/v2/locks");
    let get = world.link.ask("GET", "/api/v2/kv/a", None);
    let answered = world.link.ask("POST", "/a", Some(json!({})));
    let post = world.link.ask("POST", "/b", Some(json!({})));
    world.run(ms(100)).await;
    assert_eq!(ids(&world, 0), [watch, get, answered, post]);
    for (id, body) in [(watch, "first"), (answered, "done"), (watch, "second")] {
        world.fakes[0].order(Order::Say(ServerMessage::Response { id, status: 200, body: json!(body) }));
        assert_eq!(response(&mut world).await, (id, 200, json!(body)));
    }
    world.fakes[0].die();
    let (id, status, _) = response(&mut world).await;
    assert_eq!((id, status), (post, REQUEST_LOST));
    world.run(ms(300)).await;
    assert_eq!(ids(&world, 1), [watch, get], "once each, and nothing that changes something");
    world.fakes[1].order(Order::Say(ServerMessage::Response {
        id: watch,
        status: 200,
        body: json!("third"),
    }));
    assert_eq!(response(&mut world).await, (watch, 200, json!("third")));
    world.link.unwatch(watch);
    world.run(ms(100)).await;
    let heard = world.fakes[1].heard();
    assert!(heard.iter().any(|(_, message)| *message == ClientMessage::Unwatch { id: watch }));
}
