//! What a client says, from its bytes to its meaning. Pure, and whole for any input: what is not
//! understood is a sentence.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

const PUBLISH: u8 = 1;
const CALL: u8 = 2;
const PLAYBACK: u8 = 3;

const PLAY: u8 = 0;
const PAUSE: u8 = 1;

/// A client's message.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// A request in JSON.
    Request(Request),
    /// A message for a channel that the client has advertised.
    Publish {
        /// The client's number for the channel.
        channel: u32,
        /// In the channel's encoding.
        payload: Bytes,
    },
    /// A call of a service.
    Call(ServiceRequest),
    /// What is to become of the recording that is played.
    Playback(PlaybackRequest),
}

/// What is to become of the recording that is played.
#[derive(Clone, Debug, PartialEq)]
pub struct PlaybackRequest {
    /// Play, or stand still.
    pub play: bool,
    /// Recorded seconds per second.
    pub speed: f32,
    /// Go to this time, nanoseconds since the Unix epoch.
    pub seek: Option<u64>,
    /// Comes back with the state that follows from it.
    pub id: String,
}

/// A call of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRequest {
    /// Our number for the service.
    pub service: u32,
    /// The client's number for the call.
    pub call: u32,
    /// `cdr` or `json`.
    pub encoding: String,
    /// The request, so encoded.
    pub payload: Bytes,
}

/// A request in JSON, by its `op`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "op", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Request {
    /// Messages of these channels, as they come.
    Subscribe {
        /// Each with the client's number for it.
        subscriptions: Vec<Subscription>,
    },
    /// No longer.
    Unsubscribe {
        /// The client's numbers.
        subscription_ids: Vec<u32>,
    },
    /// The client is going to publish.
    Advertise {
        /// What, and where.
        channels: Vec<ClientChannel>,
    },
    /// It is not going to any more.
    Unadvertise {
        /// The client's numbers.
        channel_ids: Vec<u32>,
    },
    /// The values of parameters.
    GetParameters {
        /// `/node.parameter`; none: all.
        parameter_names: Vec<String>,
        /// Comes back with the answer.
        #[serde(default)]
        id: Option<String>,
    },
    /// New values for parameters.
    SetParameters {
        /// Which, and what.
        parameters: Vec<GivenParameter>,
        /// Comes back with the answer; without it there is none.
        #[serde(default)]
        id: Option<String>,
    },
    /// Changes of parameters, as they come.
    SubscribeParameterUpdates {
        /// None: all.
        parameter_names: Vec<String>,
    },
    /// No longer.
    UnsubscribeParameterUpdates {
        /// None: all.
        parameter_names: Vec<String>,
    },
    /// Who publishes, subscribes and serves what, and its changes.
    SubscribeConnectionGraph,
    /// No longer.
    UnsubscribeConnectionGraph,
    /// A file of a ROS package.
    FetchAsset {
        /// `package://…`
        uri: String,
        /// Comes back with the answer.
        request_id: u32,
    },
}

/// A channel that a client subscribes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    /// The client's number for it.
    pub id: u32,
    /// Our number for the channel.
    pub channel_id: u32,
}

/// A channel that a client publishes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientChannel {
    /// The client's number for it.
    pub id: u32,
    /// The ROS name.
    pub topic: String,
    /// `cdr` or `json`.
    pub encoding: String,
    /// The ROS type, long or short.
    pub schema_name: String,
}

/// A parameter as a client gives it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct GivenParameter {
    /// `/node.parameter`.
    pub name: String,
    /// Absent: not set.
    #[serde(default)]
    pub value: Option<Value>,
    /// What JSON cannot tell: `byte_array`, `float64`, `float64_array`.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
}

/// Understands a text message. How deep it may nest is bounded by the parser
/// ([`roverline_protocol::limits::JSON_DEPTH`]).
pub fn text(text: &str) -> Result<Said, String> {
    serde_json::from_str(text).map(Said::Request).map_err(|error| format!("not understood: {error}"))
}

/// Understands a binary message.
pub fn binary(message: &Bytes) -> Result<Said, String> {
    let Some((&opcode, mut rest)) = message.split_first() else {
        return Err("an empty binary message".to_owned());
    };
    let short = || format!("a binary message of opcode {opcode} ends too early: {} bytes", message.len());
    match opcode {
        PUBLISH => {
            let channel = number(&mut rest).ok_or_else(short)?;
            Ok(Said::Publish { channel, payload: message.slice_ref(rest) })
        }
        CALL => {
            let mut next = || number(&mut rest).ok_or_else(short);
            let (service, call, length) = (next()?, next()?, next()?);
            let (encoding, payload) = rest.split_at_checked(length as usize).ok_or_else(short)?;
            let encoding =
                std::str::from_utf8(encoding).map_err(|_| "an encoding that is no text".to_owned())?;
            let (encoding, payload) = (encoding.to_owned(), message.slice_ref(payload));
            Ok(Said::Call(ServiceRequest { service, call, encoding, payload }))
        }
        PLAYBACK => playback(rest).ok_or_else(short)?.map(Said::Playback),
        other => {
            Err(format!("binary messages have opcode {PUBLISH}, {CALL} or {PLAYBACK} here, not {other}"))
        }
    }
}

/// `None` is one that ends too early.
fn playback(mut bytes: &[u8]) -> Option<Result<PlaybackRequest, String>> {
    let (command, rest) = bytes.split_first()?;
    bytes = rest;
    let speed = f32::from_bits(number(&mut bytes)?);
    let (has_seek, rest) = bytes.split_first()?;
    // The time has its place even where there is none.
    let (time, rest) = rest.split_first_chunk()?;
    bytes = rest;
    let length = number(&mut bytes)?;
    let id = bytes.get(..length as usize)?;
    let play = match *command {
        PLAY => true,
        PAUSE => false,
        other => return Some(Err(format!("a recording can play ({PLAY}) or pause ({PAUSE}), not {other}"))),
    };
    let Ok(id) = std::str::from_utf8(id) else {
        return Some(Err("a request's name that is no text".to_owned()));
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
            Ok(Said::Request(request)) => request,
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
            GivenParameter { name: "/a.b".into(), value: Some(Value::from(3)), kind: Some("float64".into()) };
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
    fn what_is_wrong_is_said() {
        assert!(text(r#"{"op":"fly"}"#).unwrap_err().contains("unknown variant `fly`"));
        assert!(text(r#"{"subscriptions":[]}"#).unwrap_err().contains("missing field `op`"));
        assert!(text(r#"{"op":"subscribe","subscriptions":[{"id":-1,"channelId":3}]}"#).is_err());
        let deep = format!(r#"{{"op":"setParameters","parameters":{}"#, "[".repeat(100_000));
        assert!(text(&deep).unwrap_err().contains("recursion limit"));
        let binary = |bytes: &'static [u8]| binary(&Bytes::from_static(bytes)).unwrap_err();
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
        assert_eq!(binary(&Bytes::copy_from_slice(&pause)), Ok(Said::Playback(request)));
        let seek = [3, 0, 0, 0, 0, 0x40, 1, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let request = PlaybackRequest { play: true, speed: 2.0, seek: Some(0x0201), id: String::new() };
        assert_eq!(binary(&Bytes::copy_from_slice(&seek)), Ok(Said::Playback(request)));
        for end in 1..pause.len() {
            let why = binary(&Bytes::copy_from_slice(&pause[..end])).unwrap_err();
            assert!(why.contains("too early"), "{end}: {why}");
        }
        let wrong = [3, 2, 0, 0, 0x80, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(binary(&Bytes::copy_from_slice(&wrong)).unwrap_err().contains("not 2"));
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
            let said = binary(&call_bytes(service, call, &encoding, &payload));
            let payload = Bytes::from(payload);
            let request = ServiceRequest { service, call, encoding, payload: payload.clone() };
            prop_assert_eq!(said, Ok(Said::Call(request)));
            let message = [&[PUBLISH][..], &service.to_le_bytes(), &payload].concat();
            prop_assert_eq!(binary(&message.into()), Ok(Said::Publish { channel: service, payload }));
        }

        #[test]
        fn any_bytes_have_an_answer(opcode in 0u8..4, mut bytes: Vec<u8>) {
            bytes.insert(0, opcode);
            let message = Bytes::from(bytes);
            match binary(&message) {
                Ok(Said::Publish { payload, .. }) => prop_assert_eq!(payload.len() + 5, message.len()),
                Ok(Said::Call(call)) => {
                    prop_assert_eq!(call.payload.len() + call.encoding.len() + 13, message.len());
                }
                Ok(Said::Playback(request)) => prop_assert!(request.id.len() + 19 <= message.len()),
                Ok(Said::Request(_)) => prop_assert!(false, "a request in a binary message"),
                Err(why) => prop_assert!(!why.is_empty()),
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
