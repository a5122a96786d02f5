//! The plain dialect's sample encoding: one JSON object, with the decoded message or the reason why there is none.

use bytes::Bytes;
use roverline_protocol::limits;
use serde_json::json;

use crate::connection::frame;
use crate::hub::{FrameFormat, SampleEncoding, SampleToEncode};

/// The format of plain sessions.
pub const FORMAT: FrameFormat = FrameFormat::new(&PlainEncoding, 0);

struct PlainEncoding;

impl SampleEncoding for PlainEncoding {
    fn name(&self) -> &'static str {
        "plain"
    }

    fn is_costly(&self, _: u64) -> bool {
        true
    }

    fn encode(&self, sample: &SampleToEncode<'_>, _: u64) -> Bytes {
        let SampleToEncode { topic, decoder, sample, .. } = *sample;
        let mut out = Vec::with_capacity(sample.payload.len() * 3 + 256);
        out.extend_from_slice(b"{\"type\":\"message\",\"topic\":");
        push_json(&mut out, &topic.name);
        out.extend_from_slice(b",\"msg_type\":");
        push_json(&mut out, &topic.type_name);
        let stamp = sample.receive_time_ns as f64 / 1e9;
        out.extend_from_slice(format!(",\"seq\":{},\"stamp\":{stamp},\"msg\":", sample.id.seq).as_bytes());
        let body = out.len();
        match decoder.map(|decoder| decoder.write_json(&sample.payload, &mut out)) {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                out.truncate(body);
                out.extend_from_slice(b"null,\"error\":");
                push_json(&mut out, &error.to_string());
            }
            None => {
                let why = match topic.encoding.is_cdr() {
                    true => "the type is not known".to_owned(),
                    false => format!(
                        "its messages are {}, which this dialect does not read",
                        topic.encoding.name()
                    ),
                };
                out.extend_from_slice(b"null,\"error\":");
                push_json(&mut out, &why);
                out.extend_from_slice(b",\"bytes\":");
                out.extend_from_slice(sample.payload.len().to_string().as_bytes());
            }
        }
        out.push(b'}');
        if out.len() > limits::OUTBOUND_MESSAGE_BYTES {
            return frame::json(&json!({
                "type": "message", "topic": topic.name, "msg_type": topic.type_name, "seq": sample.id.seq,
                "msg": null, "error": "the message is too large for JSON", "bytes": sample.payload.len(),
            }));
        }
        frame::text(&out)
    }
}

fn push_json(out: &mut Vec<u8>, text: &str) {
    // Serializing a string cannot fail.
    let _ = serde_json::to_writer(out, text);
}
