//! The Foxglove WebSocket protocol, version 1: <https://github.com/foxglove/ws-protocol>.

use bytes::Bytes;

use super::frame;
use crate::session::{Context, Ending, Inbound};
use crate::source::RawSample;

/// Its two names; the wire is the same.
pub const SUBPROTOCOLS: [&str; 2] = ["foxglove.sdk.v1", "foxglove.websocket.v1"];

/// The opcode of a message from server to client.
const MESSAGE_DATA: u8 = 1;

/// Serves a foxglove session until it ends.
pub async fn serve(context: &Context, inbound: Inbound) -> Ending {
    let _ = (context, inbound);
    Ending::new(1011, "not built yet")
}

/// A sample for the client's subscription of this number.
pub fn sample_frame(subscription: u32, sample: &RawSample) -> Bytes {
    let mut head = [0; 13];
    head[0] = MESSAGE_DATA;
    head[1..5].copy_from_slice(&subscription.to_le_bytes());
    head[5..].copy_from_slice(&sample.receive_time_ns.unsigned_abs().to_le_bytes());
    frame::binary(&[&head, &sample.payload])
}
