//! The rosbridge protocol, version 2: <https://github.com/RobotWebTools/rosbridge_suite>.

use bytes::Bytes;
use roverline_protocol::native::TopicInfo;
use roverline_schema::Plan;
use tungstenite::protocol::Message;

use super::plain;
use crate::session::{Context, Ending, Inbound};
use crate::source::RawSample;

/// How a client wants a topic's messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Form {
    /// As what they come.
    pub compression: Compression,
    /// Messages longer than this come in pieces.
    pub fragment_bytes: Option<u32>,
}

/// As what messages come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
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

/// Serves a rosbridge session until it ends; `said` is what it has said already.
pub async fn serve(context: &Context, inbound: Inbound, said: Option<Message>) -> Ending {
    let _ = (context, inbound, said);
    Ending::new(1011, "not built yet")
}

/// A sample in this form; where it is cut into several messages, all of them.
pub fn sample_frame(form: Form, topic: &TopicInfo, plan: Option<&Plan>, sample: &RawSample) -> Bytes {
    let _ = form;
    plain::sample_frame(topic, plan, sample)
}
