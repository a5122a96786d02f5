//! Encoding of samples for rosbridge clients: JSON, CBOR, or CBOR around the unchanged CDR.

use std::borrow::Cow;

use bytes::Bytes;
use roverline_protocol::native::TopicInfo;
use roverline_source::RawSample;
use serde_json::json;

use crate::connection::frame;
use crate::dialect::rosbridge::{Compression, SampleFormat, cbor, framing};
use crate::hub::Decoder;

/// A sample in this format; if it is fragmented, all fragments.
pub(super) fn sample_frame(
    format: SampleFormat,
    topic: &TopicInfo,
    decoder: Option<&Decoder>,
    sample: &RawSample,
) -> Bytes {
    let name = client_name(format, &topic.name);
    if format.compression == Compression::CborRaw {
        return frame::binary(&[&cbor::raw(name, sample)]);
    }
    let Some(decoder) = decoder else {
        let why = match topic.encoding.is_cdr() {
            true => format!("{} is not known; cbor-raw needs no definition", topic.type_name),
            false => format!("it is encoded in {}; cbor-raw passes it on", topic.encoding.name()),
        };
        return undecodable(name, &why);
    };
    if format.compression == Compression::Cbor {
        return match cbor::publish(name, decoder, &sample.payload) {
            Ok(message) => frame::binary(&[&message]),
            Err(error) => undecodable(name, &error.to_string()),
        };
    }
    let mut out = Vec::with_capacity(sample.payload.len() * 3 + 128);
    out.extend_from_slice(b"{\"op\":\"publish\",\"topic\":");
    push_json(&mut out, name);
    out.extend_from_slice(b",\"msg\":");
    if let Err(error) = decoder.write_json(&sample.payload, &mut out) {
        return undecodable(name, &error.to_string());
    }
    out.push(b'}');
    // Messages of one topic are distinguished by their sequence number. Their fragments never mix, since
    // all fragments of one message are queued together.
    framing::frames(format, &Cow::Owned(format!("{name}#{}", sample.id.seq)), out)
}

/// The topic's name as the client wrote it.
fn client_name(format: SampleFormat, name: &str) -> &str {
    match format.relative {
        true => name.strip_prefix('/').unwrap_or(name),
        false => name,
    }
}

fn undecodable(topic: &str, why: &str) -> Bytes {
    let msg = format!("a message of {topic} cannot be given: {why}");
    frame::json(&json!({"op": "status", "level": "error", "msg": msg}))
}

fn push_json(out: &mut Vec<u8>, text: &str) {
    // Strings always serialize.
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests {
    use roverline_protocol::{Delivery, Priority, SampleId, ScopeSet};
    use roverline_schema::Registry;
    use serde_json::Value;

    use super::*;
    use crate::dialect::rosbridge::framing::tests::messages;

    pub(crate) fn info(name: &str, type_name: &str) -> TopicInfo {
        TopicInfo {
            id: 1,
            name: name.into(),
            type_name: type_name.into(),
            scopes: ScopeSet::ALL,
            priority: Priority::State,
            delivery: Delivery::Every,
            latched: false,
            encoding: Default::default(),
            history_depth: 1,
        }
    }

    fn sample(registry: &Registry, type_name: &str, message: &Value) -> RawSample {
        let payload = registry.plan(type_name).unwrap().encode_json(message).unwrap();
        RawSample {
            id: SampleId { source: Default::default(), seq: 7 },
            source_time_ns: 0,
            receive_time_ns: 1_500_000_000_000_000_042,
            payload: payload.into(),
        }
    }

    fn given(format: SampleFormat, type_name: &str, message: &Value) -> (Vec<Vec<u8>>, RawSample) {
        let registry = Registry::bundled();
        let sample = sample(&registry, type_name, message);
        let plan = Decoder::Cdr(registry.plan(type_name).unwrap());
        (messages(&sample_frame(format, &info("/a/b", type_name), Some(&plan), &sample)), sample)
    }

    #[test]
    fn json_is_a_publish_that_names_the_topic_as_the_client_did() {
        let format = SampleFormat { relative: true, ..SampleFormat::default() };
        let (messages, _) = given(format, "std_msgs/msg/Float64", &json!({"data": null}));
        assert_eq!(messages, [br#"{"op":"publish","topic":"a/b","msg":{"data":null}}"#.to_vec()]);
    }

    #[test]
    fn cbor_has_the_fields_of_the_message() {
        use ciborium::Value as Cbor;
        let format = SampleFormat { compression: Compression::Cbor, ..SampleFormat::default() };
        let message = json!({"height": 2, "data": [1, 2, 255], "fields": [{"name": "ä", "count": 3}]});
        let (messages, _) = given(format, "sensor_msgs/msg/PointCloud2", &message);
        let value: Cbor = ciborium::from_reader(messages[0].as_slice()).unwrap();
        let get = |value: &Cbor, key: &str| {
            let map = value.as_map().unwrap();
            map.iter().find(|(name, _)| name.as_text() == Some(key)).unwrap().1.clone()
        };
        assert_eq!(get(&value, "op").as_text(), Some("publish"));
        assert_eq!(get(&value, "topic").as_text(), Some("/a/b"));
        let msg = get(&value, "msg");
        assert_eq!(get(&msg, "height"), Cbor::from(2));
        assert_eq!(get(&msg, "data"), Cbor::Bytes(vec![1, 2, 255]));
        assert_eq!(get(&get(&msg, "fields").as_array().unwrap()[0], "name").as_text(), Some("ä"));
    }

    #[test]
    fn cbor_raw_is_the_cdr_and_when_it_came() {
        let format = SampleFormat { compression: Compression::CborRaw, ..SampleFormat::default() };
        let (messages, sample) = given(format, "std_msgs/msg/String", &json!({"data": "hi"}));
        let value: ciborium::Value = ciborium::from_reader(messages[0].as_slice()).unwrap();
        let text = format!("{value:?}");
        for part in ["\"publish\"", "1500000000", "42"] {
            assert!(text.contains(part), "{text}");
        }
        let msg = value.as_map().unwrap()[2].1.as_map().unwrap();
        assert_eq!(msg[2].1.as_bytes().unwrap().as_slice(), &sample.payload[..]);
    }

    #[test]
    fn undecodable_samples_are_reported() {
        let registry = Registry::bundled();
        let plan = Decoder::Cdr(registry.plan("std_msgs/msg/String").unwrap());
        let mut sample = sample(&registry, "std_msgs/msg/String", &json!({"data": "long enough"}));
        let topic = info("/a", "std_msgs/msg/String");
        let unknown = messages(&sample_frame(SampleFormat::default(), &topic, None, &sample));
        assert!(String::from_utf8_lossy(&unknown[0]).contains("cbor-raw needs no definition"));
        sample.payload.truncate(9);
        for compression in [Compression::None, Compression::Png, Compression::Cbor] {
            let format = SampleFormat { compression, ..SampleFormat::default() };
            let status = messages(&sample_frame(format, &topic, Some(&plan), &sample));
            let status: Value = serde_json::from_slice(&status[0]).unwrap();
            assert_eq!(status["op"], "status", "{compression:?}");
        }
    }
}
