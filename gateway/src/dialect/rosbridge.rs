//! The rosbridge protocol, version 2: <https://github.com/RobotWebTools/rosbridge_suite>.
//!
//! Names are as in ROS 2; a leading slash may be left out and types may be short (`std_msgs/String`),
//! as clients have it from ROS 1. What fails is answered with a `status`, or with the answer that the
//! client waits for; the session goes on.

mod action_client;
mod action_server;
mod cbor;
mod framing;
mod publications;
mod reassembly;
mod request;
mod rosapi;
mod sample;
mod served_goals;
mod service_client;
mod service_server;
mod session;
mod status;
mod subscribe;
mod subscriptions;

use std::time::Duration;

use roverline_protocol::backoff::Jitter;
use roverline_protocol::limits;
use roverline_protocol::native::CLOSE_DRAIN;
use roverline_source::clock::{monotonic, unix_ns};
use tungstenite::protocol::Message;

use crate::connection::reader::Inbound;
use crate::dialect::RESTARTS;
pub use crate::dialect::rosbridge::sample::sample_frame;
pub use crate::dialect::rosbridge::service_server::Offered;
use crate::dialect::rosbridge::session::Session;
use crate::dialect::session::{Care, Context, Ending};
use crate::hub;

/// How a client wants a topic's messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Form {
    /// As what they come.
    pub compression: Compression,
    /// Messages longer than this come in pieces.
    pub fragment_bytes: Option<u32>,
    /// The client names the topic without its leading slash, and listens for it so.
    pub relative: bool,
}

/// As what messages come; of several wishes the last one counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compression {
    /// JSON text.
    #[default]
    None,
    /// JSON in a PNG image, in base64, in JSON.
    Png,
    /// CBOR (RFC 8949), typed arrays by RFC 8746.
    Cbor,
    /// CBOR around the undecoded CDR.
    CborRaw,
}

/// Whether this is how rosbridge clients speak: a JSON object with an `op`.
pub fn speaks(message: &Message) -> bool {
    #[derive(serde::Deserialize)]
    struct Op {
        #[serde(rename = "op")]
        _op: serde::de::IgnoredAny,
    }
    matches!(message, Message::Text(text) if serde_json::from_str::<Op>(text.as_str()).is_ok())
}

/// Understands messages as a session does, pieces and images included, and does nothing else; how many
/// were understood. For whoever tries the decoder.
pub fn understand<'a>(texts: impl IntoIterator<Item = &'a str>) -> usize {
    let mut assembly = reassembly::Assembly::default();
    let mut understood = 0;
    for text in texts {
        let whole = match request::parse(text) {
            Ok((_, request::Request::Fragment(piece))) => assembly.add(piece, Duration::ZERO).ok().flatten(),
            Ok((_, request::Request::Png { data, .. })) => reassembly::text_of_png(&data).ok(),
            Ok(_) => Some(text.to_owned()),
            Err(_) => None,
        };
        understood += usize::from(whole.is_some_and(|whole| request::parse(&whole).is_ok()));
    }
    understood
}

/// Serves a rosbridge session until it ends; `said` is what it has said already.
pub async fn serve(context: &Context, mut inbound: Inbound, said: Option<Message>) -> Ending {
    let endpoint = &context.endpoint;
    let form = hub::Form::Rosbridge(Form::default());
    endpoint.hub.attach(context.info.id, context.info.outbox().clone(), form);
    let mut session = Session::new(context);
    if let Some(ending) = said.and_then(|message| session.hear(&message).err()) {
        return ending;
    }
    let mut tick = tokio::time::interval(Duration::from_millis(limits::HEARTBEAT_MS));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut care = Care::default();
    let mut topics = endpoint.hub.topic_changes();
    let mut stop = endpoint.stopping();
    let mut jitter = Jitter::new(unix_ns().unsigned_abs() ^ context.info.id);
    let mut leave = std::pin::pin!(endpoint.time_to_leave(jitter.unit()));
    loop {
        tokio::select! {
            message = inbound.next() => {
                if let Err(ending) = message.and_then(|message| session.hear(&message)) {
                    return ending;
                }
            }
            _ = tick.tick() => {
                let now = monotonic();
                match care.look(context, now) {
                    Err(ending) => return ending,
                    Ok(None) => {}
                    Ok(Some(service)) => session.tell_service(&service),
                }
                session.tidy(now);
            }
            Ok(()) = topics.changed() => session.topics_changed(),
            () = &mut leave => return Ending::new(CLOSE_DRAIN, RESTARTS),
            _ = stop.changed() => return Ending::new(1001, "the endpoint is stopping"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_op_tells_a_rosbridge_client() {
        assert!(speaks(&Message::text(r#"{"op":"subscribe","topic":"/a"}"#)));
        assert!(!speaks(&Message::text(r#"{"type":"subscribe","topics":["/a"]}"#)));
        assert!(!speaks(&Message::text("op")) && !speaks(&Message::binary(b"{\"op\":1}".to_vec())));
    }
}
