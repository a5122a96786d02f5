//! The newest message of a topic as JSON, decoded only on request.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use roverline_protocol::api::LatestDocument;
use roverline_protocol::limits;
use roverline_source::clock::monotonic;

use crate::api::error::ApiError;
use crate::api::topics::{full, unknown};
use crate::endpoint::Endpoint;
use crate::hub::Decoder;

/// The end of a document, before which a message is inserted.
const MESSAGE: &[u8] = b",\"message\":";

/// A [`LatestDocument`] as JSON.
pub(crate) fn latest(endpoint: &Endpoint, name: &str) -> Result<Vec<u8>, ApiError> {
    let name = full(name);
    let known = endpoint.hub.with_topics(|mut topics| {
        let topic = Iterator::find(&mut topics, |topic| topic.info.name == name)?;
        Some((topic.info.type_name.clone(), topic.decoder.clone(), topic.latest.clone()))
    });
    let (type_name, decoder, latest) = known.ok_or_else(|| unknown(&name))?;
    let latest = latest.ok_or_else(|| ApiError::not_found(format!("nothing was received of {name} yet")))?;
    let sample = latest.sample;
    let document = LatestDocument {
        topic: name,
        type_name,
        source: sample.id.source.to_string(),
        seq: sample.id.seq,
        source_time_ns: sample.source_time_ns,
        receive_time_ns: sample.receive_time_ns,
        age_s: monotonic().saturating_sub(latest.at).as_secs_f64(),
        bytes: sample.payload.len(),
        message: None,
        base64: None,
        error: None,
    };
    Ok(with_message(document, decoder.as_ref(), &sample.payload))
}

fn with_message(mut document: LatestDocument, decoder: Option<&Decoder>, cdr: &[u8]) -> Vec<u8> {
    let Some(decoder) = decoder else {
        match cdr.len() <= limits::OUTBOUND_MESSAGE_BYTES / 2 {
            true => document.base64 = Some(STANDARD.encode(cdr)),
            false => document.error = Some("the message is too large for JSON".to_owned()),
        }
        return text(&document);
    };
    let mut message = Vec::with_capacity(cdr.len() * 3);
    document.error = match decoder.write_json(cdr, &mut message) {
        Err(error) => Some(error.to_string()),
        Ok(()) if message.len() > limits::OUTBOUND_MESSAGE_BYTES => {
            Some("the message is too large for JSON".to_owned())
        }
        Ok(()) => None,
    };
    let mut out = text(&document);
    if document.error.is_none() && out.pop() == Some(b'}') {
        // Inserted as it was written: re-encoded, its numbers might change.
        out.extend_from_slice(MESSAGE);
        out.extend_from_slice(&message);
        out.push(b'}');
    }
    out
}

fn text(document: &LatestDocument) -> Vec<u8> {
    // Our own documents always serialize.
    serde_json::to_vec(document).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use roverline_schema::Registry;

    use super::*;

    fn document() -> LatestDocument {
        LatestDocument {
            topic: "/a\"b".to_owned(),
            type_name: "std_msgs/msg/Float64".to_owned(),
            source: String::new(),
            seq: u64::MAX,
            source_time_ns: 0,
            receive_time_ns: 0,
            age_s: 0.5,
            bytes: 12,
            message: None,
            base64: None,
            error: None,
        }
    }

    fn read(text: &[u8]) -> LatestDocument {
        serde_json::from_slice(text).unwrap()
    }

    #[test]
    fn a_message_is_shown_as_rosbridge_shows_it() {
        let plan = Decoder::Cdr(Registry::bundled().plan("std_msgs/msg/Float64").unwrap());
        let cdr = |value: f64| [&[0, 1, 0, 0][..], &value.to_le_bytes()].concat();
        let shown = |cdr: &[u8]| read(&with_message(document(), Some(&plan), cdr));
        let half = shown(&cdr(0.5));
        assert_eq!(
            (half.seq, half.message.unwrap()["data"].as_f64(), half.error),
            (u64::MAX, Some(0.5), None)
        );
        assert!(shown(&cdr(f64::NAN)).message.unwrap()["data"].is_null());
        let cut = shown(&cdr(0.5)[..7]);
        assert!(cut.message.is_none() && cut.base64.is_none() && cut.error.is_some());
    }

    #[test]
    fn what_cannot_be_decoded_is_given_as_bytes() {
        let shown = read(&with_message(document(), None, &[0, 1, 0, 0, 7]));
        assert_eq!((shown.base64.as_deref(), shown.message, shown.error), (Some("AAEAAAc="), None, None));
        let huge = vec![0; limits::OUTBOUND_MESSAGE_BYTES];
        assert!(read(&with_message(document(), None, &huge)).error.is_some());
    }
}
