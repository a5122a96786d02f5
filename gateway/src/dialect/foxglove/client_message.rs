//! Decoder of client messages: pure, and total for any input.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

pub use crate::dialect::foxglove::error::MalformedMessage;

const PUBLISH: u8 = 1;
const CALL: u8 = 2;
const PLAYBACK: u8 = 3;

const PLAY: u8 = 0;
const PAUSE: u8 = 1;

/// A client's message.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientMessage {
    /// A request in JSON.
    Request(Request),
    /// A message for a channel that the client has advertised.
    Publish {
        /// The client's channel id.
        channel: u32,
        /// In the channel's encoding.
        payload: Bytes,
    },
    /// A service call.
    Call(ServiceRequest),
    /// A request to control the playback of a recording.
    Playback(PlaybackRequest),
}

/// A request to control the playback of a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct PlaybackRequest {
    /// Play, otherwise pause.
    pub play: bool,
    /// Playback speed: recorded seconds per second.
    pub speed: f32,
    /// Seek to this time, nanoseconds since the Unix epoch.
    pub seek: Option<u64>,
    /// Echoed with the resulting state.
    pub id: String,
}

/// A service call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRequest {
    /// Our service id.
    pub service: u32,
    /// The client's call id.
    pub call: u32,
    /// `cdr` or `json`.
    pub encoding: String,
    /// The request in that encoding.
    pub payload: Bytes,
}

/// A request in JSON, by its `op`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "op", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Request {
    /// Subscribe to channels.
    Subscribe {
        /// Each with the client's subscription id.
        subscriptions: Vec<Subscription>,
    },
    /// End that subscription.
    Unsubscribe {
        /// The client's channel ids.
        subscription_ids: Vec<u32>,
    },
    /// Advertise channels on which the client will publish.
    Advertise {
        /// The channels.
        channels: Vec<ClientChannel>,
    },
    /// Withdraw channels.
    Unadvertise {
        /// The client's channel ids.
        channel_ids: Vec<u32>,
    },
    /// Read parameters.
    GetParameters {
        /// `/node.parameter`; an empty list means all.
        parameter_names: Vec<String>,
        /// Echoed with the response.
        #[serde(default)]
        id: Option<String>,
    },
    /// Set parameters.
    SetParameters {
        /// The parameters with their new values.
        parameters: Vec<ParameterInput>,
        /// Echoed with the response; without an id there is no response.
        #[serde(default)]
        id: Option<String>,
    },
    /// Subscribe to changes of parameters.
    SubscribeParameterUpdates {
        /// `/node.parameter`; an empty list means all.
        parameter_names: Vec<String>,
    },
    /// End that subscription.
    UnsubscribeParameterUpdates {
        /// `/node.parameter`; an empty list means all.
        parameter_names: Vec<String>,
    },
    /// Subscribe to the connection graph and its changes.
    SubscribeConnectionGraph,
    /// End that subscription.
    UnsubscribeConnectionGraph,
    /// Read a file of a ROS package.
    FetchAsset {
        /// `package://…`
        uri: String,
        /// Echoed with the response.
        request_id: u32,
    },
}

/// A subscription of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    /// The client's channel id.
    pub id: u32,
    /// Our channel id.
    pub channel_id: u32,
}

/// A channel on which a client publishes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientChannel {
    /// The client's channel id.
    pub id: u32,
    /// The ROS topic name.
    pub topic: String,
    /// `cdr` or `json`.
    pub encoding: String,
    /// The ROS type name, long or short.
    pub schema_name: String,
}

/// A parameter as the client sent it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ParameterInput {
    /// `/node.parameter`.
    pub name: String,
    /// A missing value unsets the parameter.
    #[serde(default)]
    pub value: Option<Value>,
    /// The type where JSON is ambiguous: `byte_array`, `float64`, `float64_array`.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
}

/// Decodes a text message. The parser bounds its nesting.
pub fn text(text: &str) -> Result<ClientMessage, MalformedMessage> {
    Ok(ClientMessage::Request(serde_json::from_str(text)?))
}

/// Decodes a binary message.
pub fn binary(message: &Bytes) -> Result<ClientMessage, MalformedMessage> {
    let Some((&opcode, mut rest)) = message.split_first() else {
        return Err(MalformedMessage::Empty);
    };
    let short = || MalformedMessage::TooShort { opcode, bytes: message.len() };
    match opcode {
        PUBLISH => {
            let channel = number(&mut rest).ok_or_else(short)?;
            Ok(ClientMessage::Publish { channel, payload: message.slice_ref(rest) })
        }
        CALL => {
            let mut next = || number(&mut rest).ok_or_else(short);
            let (service, call, length) = (next()?, next()?, next()?);
            let (encoding, payload) = rest.split_at_checked(length as usize).ok_or_else(short)?;
            let encoding =
                std::str::from_utf8(encoding).map_err(|_| MalformedMessage::NotText("an encoding"))?;
            let (encoding, payload) = (encoding.to_owned(), message.slice_ref(payload));
            Ok(ClientMessage::Call(ServiceRequest { service, call, encoding, payload }))
        }
        PLAYBACK => playback(rest).ok_or_else(short)?.map(ClientMessage::Playback),
        other => Err(MalformedMessage::Opcode(other)),
    }
}

/// `None` if the message ends too early.
fn playback(mut bytes: &[u8]) -> Option<Result<PlaybackRequest, MalformedMessage>> {
    let (command, rest) = bytes.split_first()?;
    bytes = rest;
    let speed = f32::from_bits(number(&mut bytes)?);
    let (has_seek, rest) = bytes.split_first()?;
    // The time field is present even where there is no seek.
    let (time, rest) = rest.split_first_chunk()?;
    bytes = rest;
    let length = number(&mut bytes)?;
    let id = bytes.get(..length as usize)?;
    let play = match *command {
        PLAY => true,
        PAUSE => false,
        other => return Some(Err(MalformedMessage::PlaybackCommand(other))),
    };
    let Ok(id) = std::str::from_utf8(id) else {
        return Some(Err(MalformedMessage::NotText("a request's name")));
    };
    let seek = (*has_seek != 0).then_some(u64::from_le_bytes(*time));
    Some(Ok(PlaybackRequest { play, speed, seek, id: id.to_owned() }))
}

fn number(bytes: &mut &[u8]) -> Option<u32> {
    let (number, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u32::from_le_bytes(*number))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requests_as_the_reference_client_writes_them() {
        let request = |json: &str| match text(json) {
            Ok(ClientMessage::Request(request)) => request,
            other => panic!("{json}: {other:?}"),
        };
        assert_eq!(
            request(r#"{"op":"subscribe","subscriptions":[{"id":0,"channelId":3}]}"#),
            Request::Subscribe { subscriptions: vec![Subscription { id: 0, channel_id: 3 }] }
        );
        assert_eq!(
            request(r#"{"op":"unsubscribe","subscriptionIds":[0,1]}"#),
            Request::Unsubscribe { subscription_ids: vec![0, 1] }
        );
        let channel = ClientChannel {
            id: 1,
            topic: "/cmd_vel".into(),
            encoding: "json".into(),
            schema_name: "geometry_msgs/Twist".into(),
        };
        assert_eq!(
            request(
                r#"{"op":"advertise","channels":[{"id":1,"topic":"/cmd_vel","encoding":"json",
                "schemaName":"geometry_msgs/Twist","schema":"x","schemaEncoding":"ros2msg"}]}"#
            ),
            Request::Advertise { channels: vec![channel] }
        );
        assert_eq!(
            request(r#"{"op":"getParameters","parameterNames":[]}"#),
            Request::GetParameters { parameter_names: vec![], id: None }
        );
        let given =
            ParameterInput { name: "/a.b".into(), value: Some(Value::from(3)), kind: Some("float64".into()) };
        assert_eq!(
            request(
                r#"{"op":"setParameters","parameters":[{"name":"/a.b","value":3,"type":"float64"}],"id":"7"}"#
            ),
            Request::SetParameters { parameters: vec![given], id: Some("7".into()) }
        );
        assert_eq!(request(r#"{"op":"subscribeConnectionGraph"}"#), Request::SubscribeConnectionGraph);
        assert_eq!(
            request(r#"{"op":"fetchAsset","uri":"package://a/b","requestId":9}"#),
            Request::FetchAsset { uri: "package://a/b".into(), request_id: 9 }
        );
    }

    #[test]
    fn errors_are_descriptive() {
        let refused = |json: &str| text(json).unwrap_err().to_string();
        assert!(refused(r#"{"op":"fly"}"#).contains("unknown variant `fly`"));
        assert!(refused(r#"{"subscriptions":[]}"#).contains("missing field `op`"));
        assert!(text(r#"{"op":"subscribe","subscriptions":[{"id":-1,"channelId":3}]}"#).is_err());
        let deep = format!(r#"{{"op":"setParameters","parameters":{}"#, "[".repeat(100_000));
        assert!(refused(&deep).contains("recursion limit"));
        let binary = |bytes: &'static [u8]| binary(&Bytes::from_static(bytes)).unwrap_err().to_string();
        assert_eq!(binary(&[]), "an empty binary message");
        assert_eq!(binary(&[1, 0, 0]), "a binary message of opcode 1 ends too early: 3 bytes");
        assert!(binary(&[2, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255]).contains("too early"));
        assert!(binary(&[2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0xff]).contains("no text"));
        assert_eq!(binary(&[9]), "binary messages have opcode 1, 2 or 3 here, not 9");
    }

    #[test]
    fn playback_requests_have_their_layout() {
        let pause = [3, 1, 0, 0, 0x80, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, b'a'];
        let request = PlaybackRequest { play: false, speed: 1.0, seek: None, id: "a".into() };
        assert_eq!(binary(&Bytes::copy_from_slice(&pause)).unwrap(), ClientMessage::Playback(request));
        let seek = [3, 0, 0, 0, 0, 0x40, 1, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let request = PlaybackRequest { play: true, speed: 2.0, seek: Some(0x0201), id: String::new() };
        assert_eq!(binary(&Bytes::copy_from_slice(&seek)).unwrap(), ClientMessage::Playback(request));
        for end in 1..pause.len() {
            let why = binary(&Bytes::copy_from_slice(&pause[..end])).unwrap_err().to_string();
            assert!(why.contains("too early"), "{end}: {why}");
        }
        let wrong = [3, 2, 0, 0, 0x80, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let why = binary(&Bytes::copy_from_slice(&wrong)).unwrap_err().to_string();
        assert_eq!(why, "a recording can play (0) or pause (1), not 2");
    }

    fn call_bytes(service: u32, call: u32, encoding: &str, payload: &[u8]) -> Bytes {
        let mut bytes = vec![CALL];
        for number in [service, call, encoding.len() as u32] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(encoding.as_bytes());
        bytes.extend_from_slice(payload);
        bytes.into()
    }

    proptest! {
        #[test]
        fn calls_and_publications_read_back(
            service: u32, call: u32, encoding in "[a-z0-9é]{0,9}", payload: Vec<u8>
        ) {
            let decoded = binary(&call_bytes(service, call, &encoding, &payload));
            let payload = Bytes::from(payload);
            let request = ServiceRequest { service, call, encoding, payload: payload.clone() };
            prop_assert_eq!(decoded.unwrap(), ClientMessage::Call(request));
            let message = [&[PUBLISH][..], &service.to_le_bytes(), &payload].concat();
            let publication = ClientMessage::Publish { channel: service, payload };
            prop_assert_eq!(binary(&message.into()).unwrap(), publication);
        }

        #[test]
        fn any_bytes_have_an_answer(opcode in 0u8..4, mut bytes: Vec<u8>) {
            bytes.insert(0, opcode);
            let message = Bytes::from(bytes);
            match binary(&message) {
                Ok(ClientMessage::Publish { payload, .. }) => prop_assert_eq!(payload.len() + 5, message.len()),
                Ok(ClientMessage::Call(call)) => {
                    prop_assert_eq!(call.payload.len() + call.encoding.len() + 13, message.len());
                }
                Ok(ClientMessage::Playback(request)) => prop_assert!(request.id.len() + 19 <= message.len()),
                Ok(ClientMessage::Request(_)) => prop_assert!(false, "a request in a binary message"),
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }

        #[test]
        fn any_text_has_an_answer(
            op in "subscribe|advertise|setParameters|fetchAsset|x", key in "[a-zA-Z]{0,14}", value in "\\PC{0,30}"
        ) {
            let _ = text(&value);
            let _ = text(&format!(r#"{{"op":"{op}","{key}":{value}}}"#));
        }
    }
}
