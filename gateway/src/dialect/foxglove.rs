//! The Foxglove WebSocket protocol, version 1: <https://github.com/foxglove/ws-protocol>.

mod assets;
mod background_tasks;
mod channels;
pub mod client_message;
mod connection_graph;
mod parameter_value;
mod parameters;
mod playback;
mod publications;
mod server_message;
mod services;
mod session;
mod status;
#[cfg(test)]
mod tests;

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::backoff::Jitter;
use roverline_protocol::limits;
use roverline_protocol::native::CLOSE_DRAIN;
use roverline_source::RawSample;
use roverline_source::clock::{monotonic, unix_ns};

use crate::connection::frame;
use crate::connection::reader::Inbound;
use crate::dialect::RESTARTS;
use crate::dialect::foxglove::session::Session;
use crate::dialect::session::{Context, Ending};

/// Its two names; the wire is the same.
pub const SUBPROTOCOLS: [&str; 2] = ["foxglove.sdk.v1", "foxglove.websocket.v1"];

/// Refuses a list in a request that is longer than any that can be served.
fn check_length(list: &[impl Sized]) -> Result<(), String> {
    match list.len() > limits::FOXGLOVE_REQUEST_ENTRIES {
        true => Err(format!("a request may have {} entries", limits::FOXGLOVE_REQUEST_ENTRIES)),
        false => Ok(()),
    }
}

/// The opcode of a message from server to client.
const MESSAGE_DATA: u8 = 1;

/// Serves a foxglove session until it ends.
pub async fn serve(context: &Context, mut inbound: Inbound) -> Ending {
    let endpoint = &context.endpoint;
    // Before anything is told: what changes meanwhile is told twice, never missed.
    let (mut topics, mut graph) = (endpoint.hub.topic_changes(), endpoint.hub.graph());
    let mut session = Session::greet(context);
    let mut beat = tokio::time::interval(Duration::from_millis(limits::HEARTBEAT_MS));
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut jitter = Jitter::new(unix_ns().unsigned_abs() ^ context.info.id);
    let mut leave = std::pin::pin!(endpoint.time_to_leave(jitter.unit()));
    let mut stop = endpoint.stopping();
    let mut bad = 0u32;
    loop {
        tokio::select! {
            message = inbound.next() => match message {
                Err(ending) => return ending,
                Ok(message) => {
                    if let Err(why) = session.handle(&message).await {
                        bad += 1;
                        endpoint.counters.bad_input.fetch_add(1, Ordering::Relaxed);
                        session.complain(why);
                        if bad > limits::BAD_MESSAGES_PER_SESSION {
                            return Ending::new(1008, "too many bad messages");
                        }
                    }
                }
            },
            _ = beat.tick() => if let Err(ending) = session.tick(monotonic()) {
                return ending;
            },
            Ok(()) = topics.changed() => session.topics_changed(),
            Ok(()) = graph.changed() => session.graph_changed(),
            () = session.follow() => {}
            () = &mut leave => return Ending::new(CLOSE_DRAIN, RESTARTS),
            _ = stop.changed() => return Ending::new(1001, "the endpoint is stopping"),
        }
    }
}

/// A sample for the client's subscription of this number.
pub fn sample_frame(subscription: u32, sample: &RawSample) -> Bytes {
    let mut head = [0; 13];
    head[0] = MESSAGE_DATA;
    head[1..5].copy_from_slice(&subscription.to_le_bytes());
    head[5..].copy_from_slice(&sample.receive_time_ns.unsigned_abs().to_le_bytes());
    frame::binary(&[&head, &sample.payload])
}
