//! Correlates service requests with replies, in the two ways that RMW implementations use. CycloneDDS's
//! RMW prefixes both bodies with a client id and a sequence number; others relate a reply to the sample
//! identity of its request.

use bytes::{BufMut, Bytes, BytesMut};
use roverline_protocol::Guid;

use crate::dds::engine::SampleIdentity;
use crate::dds::engine::cdr::HEADER;

/// The first two bytes of a CycloneDDS participant's Guid (RTPS 2.5, section 8.3.3.1.3).
const CYCLONE: [u8; 2] = [1, 16];
/// The prefix that CycloneDDS's RMW puts ahead of every request and reply: client id and sequence
/// number.
const CYCLONE_HEADER: usize = 16;

/// Whether this participant correlates replies by the header.
pub(super) fn correlates_by_header(id: Guid) -> bool {
    id.0[..2] == CYCLONE
}

/// Why a message could not be correlated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CorrelationError {
    #[error("a message of {0} bytes is too short")]
    TooShort(usize),
    #[error("a reply is related to no request")]
    Unrelated,
}

/// Identifies a received request: its client and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestId {
    /// CycloneDDS's header, little-endian.
    Header([u8; CYCLONE_HEADER]),
    /// The identity of the request's sample; the client may name the reader that waits for the reply
    /// instead of its writer.
    Identity { client: Guid, sequence_number: i64 },
}

impl RequestId {
    /// Parses a request; returns its id and the body as CDR with its encapsulation header.
    pub(super) fn read(
        sample: SampleIdentity,
        related: Option<SampleIdentity>,
        message: &Bytes,
    ) -> Result<(RequestId, Bytes), CorrelationError> {
        let writer = sample.writer;
        if !correlates_by_header(writer) || related.is_some() {
            let client = related.map_or(writer, |related| related.writer);
            let request_id = RequestId::Identity { client, sequence_number: sample.sequence_number };
            return Ok((request_id, message.clone()));
        }
        let (header, body) = split(message)?;
        Ok((RequestId::Header(header), body))
    }

    /// The bytes of the reply and the sample identity that it relates to; `answer` is little-endian CDR
    /// with its header.
    pub(super) fn reply(&self, answer: &Bytes) -> (Bytes, Option<SampleIdentity>) {
        match self {
            RequestId::Header(header) => (join(header, answer), None),
            RequestId::Identity { client, sequence_number } => {
                let identity = SampleIdentity { writer: *client, sequence_number: *sequence_number };
                (answer.clone(), Some(identity))
            }
        }
    }
}

/// Identifies which of our own requests a reply belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ReplyId {
    /// The sequence number in CycloneDDS's header.
    Header(i64),
    /// The sequence number of the request's sample.
    Sequence(i64),
}

/// A request in CycloneDDS's format.
pub(super) fn cyclone_request(client: [u8; 8], number: i64, body: &Bytes) -> Bytes {
    let mut header = [0; CYCLONE_HEADER];
    header[..8].copy_from_slice(&client);
    header[8..].copy_from_slice(&number.to_le_bytes());
    join(&header, body)
}

/// Parses a reply; `None` if it is for another client. `ours` are the Guids of our reader and writer.
pub(super) fn read_reply(
    writer: Guid,
    related: Option<SampleIdentity>,
    message: &Bytes,
    (client, ours): ([u8; 8], [Guid; 2]),
) -> Result<Option<(ReplyId, Bytes)>, CorrelationError> {
    if let Some(related) = related {
        let mine = ours.contains(&related.writer);
        let number = ReplyId::Sequence(related.sequence_number);
        return Ok(mine.then(|| (number, message.clone())));
    }
    if !correlates_by_header(writer) {
        return Err(CorrelationError::Unrelated);
    }
    let (header, body) = split(message)?;
    let [addressee, number] =
        [0, 8].map(|at| header[at..at + 8].first_chunk::<8>().copied().unwrap_or_default());
    Ok((addressee == client).then(|| (ReplyId::Header(i64::from_le_bytes(number)), body)))
}

/// Splits off CycloneDDS's header, byte-swapped if the message is big-endian.
fn split(message: &Bytes) -> Result<([u8; CYCLONE_HEADER], Bytes), CorrelationError> {
    let (Some(encapsulation), Some(header)) = (
        message.first_chunk::<HEADER>(),
        message.get(HEADER..).and_then(<[u8]>::first_chunk::<CYCLONE_HEADER>),
    ) else {
        return Err(CorrelationError::TooShort(message.len()));
    };
    let mut header = *header;
    if encapsulation[1] & 1 == 0 {
        header[..8].reverse();
        header[8..].reverse();
    }
    let mut body = BytesMut::with_capacity(message.len() - CYCLONE_HEADER);
    body.put_slice(encapsulation);
    body.put_slice(&message[HEADER + CYCLONE_HEADER..]);
    Ok((header, body.freeze()))
}

/// Inserts CycloneDDS's header. It is as long as the widest alignment, so the body stays aligned.
fn join(header: &[u8; CYCLONE_HEADER], message: &[u8]) -> Bytes {
    let mut joined = BytesMut::with_capacity(message.len() + CYCLONE_HEADER);
    let (encapsulation, body) = message.split_at(HEADER.min(message.len()));
    joined.put_slice(encapsulation);
    joined.put_slice(header);
    joined.put_slice(body);
    joined.freeze()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(vendor: [u8; 2], entity: u8) -> Guid {
        let mut guid = [9; 16];
        guid[..2].copy_from_slice(&vendor);
        guid[15] = entity;
        Guid(guid)
    }

    fn sample(writer: Guid, sequence_number: i64) -> SampleIdentity {
        SampleIdentity { writer, sequence_number }
    }

    const FAST: [u8; 2] = [1, 15];

    #[test]
    fn cyclone_prefixes_the_body_with_the_client_id() {
        let message: Vec<u8> = [0, 1, 0, 0].into_iter().chain(1..=16).chain([42]).collect();
        let from = sample(id(CYCLONE, 1), 5);
        let (request_id, body) = RequestId::read(from, None, &Bytes::from(message)).unwrap();
        assert_eq!(body.as_ref(), &[0, 1, 0, 0, 42]);
        let (reply, related) = request_id.reply(&Bytes::from_static(&[0, 1, 0, 0, 7]));
        assert_eq!((&reply[..4], related), (&[0, 1, 0, 0][..], None));
        assert!(reply[4..20].iter().copied().eq(1..=16) && reply[20..] == [7]);
        // A big-endian header is byte-swapped, since the reply is little-endian.
        let message: Vec<u8> = [0, 0, 0, 0].into_iter().chain(1..=16).collect();
        let (request_id, _) = RequestId::read(from, None, &Bytes::from(message)).unwrap();
        let RequestId::Header(client) = request_id else { unreachable!("{request_id:?}") };
        assert_eq!((client[0], client[7], client[8], client[15]), (8, 1, 16, 9));
        for short in [0, 4, 19] {
            assert!(RequestId::read(from, None, &Bytes::from(vec![0; short])).is_err(), "{short}");
        }
    }

    #[test]
    fn other_rmws_correlate_by_sample_identity() {
        let reader = sample(id(FAST, 4), -1);
        for (vendor, related) in [(FAST, Some(reader)), (FAST, None), (CYCLONE, Some(reader))] {
            let message = Bytes::from_static(&[0, 1, 0, 0, 42]);
            let from = sample(id(vendor, 3), 5);
            let (request_id, body) = RequestId::read(from, related, &message).unwrap();
            assert_eq!(body, message);
            let (reply, to) = request_id.reply(&Bytes::from_static(&[0, 1, 0, 0, 7]));
            assert_eq!(reply.as_ref(), &[0, 1, 0, 0, 7]);
            let client = related.map_or(id(vendor, 3), |related| related.writer);
            assert_eq!(to, Some(sample(client, 5)));
        }
    }

    #[test]
    fn replies_to_other_clients_are_ignored() {
        let (ours, client) = ([id(FAST, 1), id(FAST, 2)], [7; 8]);
        let body = Bytes::from_static(&[0, 1, 0, 0, 1]);
        let read = |writer, related, message: &Bytes| read_reply(writer, related, message, (client, ours));
        let server = id(FAST, 9);
        assert_eq!(
            read(server, Some(sample(id(FAST, 2), 4)), &body),
            Ok(Some((ReplyId::Sequence(4), body.clone())))
        );
        assert_eq!(read(server, Some(sample(id(FAST, 3), 4)), &body), Ok(None));
        assert!(read(server, None, &body).is_err());
        let server = id(CYCLONE, 9);
        let reply = cyclone_request(client, 4, &body);
        assert_eq!(read(server, None, &reply), Ok(Some((ReplyId::Header(4), body.clone()))));
        assert_eq!(read(server, None, &cyclone_request([8; 8], 4, &body)), Ok(None));
        assert!(read(server, None, &body).is_err());
    }

    proptest! {
        #[test]
        fn requests_and_replies_round_trip(client: [u8; 8], number: i64, sent: Vec<u8>, returned: Vec<u8>) {
            let cdr = |body: &[u8]| Bytes::from([&[0, 1, 0, 0], body].concat());
            let request = cyclone_request(client, number, &cdr(&sent));
            let (request_id, body) = RequestId::read(sample(id(CYCLONE, 1), 1), None, &request).unwrap();
            prop_assert_eq!(body, cdr(&sent));
            let (reply, _) = request_id.reply(&cdr(&returned));
            let got = read_reply(id(CYCLONE, 2), None, &reply, (client, [id(FAST, 1); 2])).unwrap();
            prop_assert_eq!(got, Some((ReplyId::Header(number), cdr(&returned))));
        }
    }
}
