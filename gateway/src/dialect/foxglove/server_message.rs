//! Encoder of messages to a client, as the protocol defines them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use roverline_source::{Playback, PlaybackStatus};
use serde::Serialize;
use serde_json::Value;

use crate::connection::frame;
use crate::dialect::foxglove::connection_graph::GraphDiff;
use crate::dialect::foxglove::error::RequestError;

const TIME: u8 = 2;
const SERVICE_RESPONSE: u8 = 3;
const ASSET: u8 = 4;
const PLAYBACK_STATE: u8 = 5;

/// The severity of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Level {
    Info = 0,
    Warning = 1,
    Error = 2,
}

/// A message in JSON.
#[derive(Debug, Serialize)]
#[serde(tag = "op", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum ServerMessage<'a> {
    ServerInfo {
        name: &'a str,
        capabilities: &'a [&'a str],
        supported_encodings: &'a [&'a str],
        metadata: BTreeMap<&'a str, String>,
        session_id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        data_start_time: Option<Time>,
        #[serde(skip_serializing_if = "Option::is_none")]
        data_end_time: Option<Time>,
    },
    Status {
        level: u8,
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
    },
    RemoveStatus {
        status_ids: &'a [&'a str],
    },
    Advertise {
        channels: &'a [Channel],
    },
    Unadvertise {
        channel_ids: &'a [u32],
    },
    AdvertiseServices {
        services: &'a [Service],
    },
    UnadvertiseServices {
        service_ids: &'a [u32],
    },
    ParameterValues {
        parameters: &'a [ParameterJson],
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
    },
    ConnectionGraphUpdate(&'a GraphDiff),
    ServiceCallFailure {
        service_id: u32,
        call_id: u32,
        message: &'a str,
    },
}

impl ServerMessage<'_> {
    pub(super) fn frame(&self) -> Bytes {
        frame::json(self)
    }
}

/// A time in JSON.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Time {
    sec: u32,
    nsec: u32,
}

impl Time {
    /// From nanoseconds since the Unix epoch.
    pub(super) fn from_ns(ns: i64) -> Time {
        let ns = u64::try_from(ns).unwrap_or(0);
        let sec = u32::try_from(ns / 1_000_000_000).unwrap_or(u32::MAX);
        Time { sec, nsec: (ns % 1_000_000_000) as u32 }
    }
}

/// A topic.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Channel {
    pub(super) id: u32,
    pub(super) topic: String,
    pub(super) encoding: String,
    pub(super) schema_name: String,
    pub(super) schema_encoding: String,
    pub(super) schema: Arc<str>,
}

/// A service. Older clients read the last two fields instead of the two before them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Service {
    pub(super) id: u32,
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) type_name: String,
    pub(super) request: MessageSchema,
    pub(super) response: MessageSchema,
    pub(super) request_schema: Arc<str>,
    pub(super) response_schema: Arc<str>,
}

/// The schema of a service's request or response.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MessageSchema {
    pub(super) encoding: &'static str,
    pub(super) schema_name: String,
    pub(super) schema_encoding: &'static str,
    pub(super) schema: Arc<str>,
}

/// A parameter; without a value it is not set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct ParameterJson {
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<Value>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<&'static str>,
}

/// The current time of a recording.
pub(super) fn time(time_ns: i64) -> Bytes {
    frame::binary(&[&[TIME], &time_ns.unsigned_abs().to_le_bytes()])
}

/// The playback state of a recording.
pub(super) fn playback_state(playback: &Playback, time_ns: i64, did_seek: bool) -> Bytes {
    let mut head = vec![PLAYBACK_STATE, status_code(playback.status)];
    head.extend_from_slice(&time_ns.unsigned_abs().to_le_bytes());
    head.extend_from_slice(&(playback.speed as f32).to_le_bytes());
    head.push(u8::from(did_seek));
    head.extend_from_slice(&(playback.request.len() as u32).to_le_bytes());
    frame::binary(&[&head, playback.request.as_bytes()])
}

/// The protocol's number of a status.
fn status_code(status: PlaybackStatus) -> u8 {
    match status {
        PlaybackStatus::Playing => 0,
        PlaybackStatus::Paused => 1,
        PlaybackStatus::Buffering => 2,
        PlaybackStatus::Ended => 3,
    }
}

/// The response of a service call.
pub(super) fn service_response(service: u32, call: u32, encoding: &str, payload: &[u8]) -> Bytes {
    let mut head = vec![SERVICE_RESPONSE];
    for number in [service, call, encoding.len() as u32] {
        head.extend_from_slice(&number.to_le_bytes());
    }
    frame::binary(&[&head, encoding.as_bytes(), payload])
}

/// The error of a service call.
pub(super) fn call_failure(service_id: u32, call_id: u32, error: &RequestError) -> Bytes {
    let message = &error.to_string();
    ServerMessage::ServiceCallFailure { service_id, call_id, message }.frame()
}

/// A file, or why it cannot be sent.
pub(super) fn asset(request: u32, file: Result<&[u8], &RequestError>) -> Bytes {
    let (error, data) = file.map_or_else(|error| (error.to_string(), &[][..]), |data| (String::new(), data));
    let mut head = vec![ASSET];
    head.extend_from_slice(&request.to_le_bytes());
    head.push(u8::from(file.is_err()));
    head.extend_from_slice(&(error.len() as u32).to_le_bytes());
    frame::binary(&[&head, error.as_bytes(), data])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::PermissionDenied;

    #[test]
    fn binary_answers_have_their_layout() {
        assert_eq!(&time(0x0102)[2..], [2, 2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            &service_response(1, 2, "cdr", &[9])[2..],
            [3, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, b'c', b'd', b'r', 9]
        );
        assert_eq!(&asset(7, Ok(&[8]))[2..], [4, 7, 0, 0, 0, 0, 0, 0, 0, 0, 8]);
        let denied = RequestError::Denied(PermissionDenied("no".to_owned()));
        assert_eq!(&asset(7, Err(&denied))[2..], [4, 7, 0, 0, 0, 1, 2, 0, 0, 0, b'n', b'o']);
    }

    #[test]
    fn the_state_of_a_recording_has_its_layout() {
        let playback = Playback {
            range_ns: (0, 9),
            status: PlaybackStatus::Ended,
            speed: 2.0,
            position_ns: 7,
            at: std::time::Instant::now(),
            pass: 1,
            request: "ab".into(),
        };
        assert_eq!(
            &playback_state(&playback, 0x0201, true)[2..],
            [5, 3, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 1, 2, 0, 0, 0, b'a', b'b']
        );
        let time = serde_json::to_string(&Time::from_ns(1_500_000_000)).unwrap();
        assert_eq!(time, r#"{"sec":1,"nsec":500000000}"#);
    }

    #[test]
    fn json_answers_leave_out_what_is_not_there() {
        let json = |answer: &ServerMessage<'_>| serde_json::to_string(answer).unwrap();
        let status = ServerMessage::Status { level: Level::Warning as u8, message: "m", id: None };
        assert_eq!(json(&status), r#"{"op":"status","level":1,"message":"m"}"#);
        let parameters = [ParameterJson { name: "/a.b".into(), value: None, kind: None }];
        assert_eq!(
            json(&ServerMessage::ParameterValues { parameters: &parameters, id: Some("1") }),
            r#"{"op":"parameterValues","parameters":[{"name":"/a.b"}],"id":"1"}"#
        );
        let failure = ServerMessage::ServiceCallFailure { service_id: 1, call_id: 2, message: "m" };
        assert_eq!(json(&failure), r#"{"op":"serviceCallFailure","serviceId":1,"callId":2,"message":"m"}"#);
    }
}
