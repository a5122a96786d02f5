//! How a request and its reply find each other, in the two ways that RMW implementations have.
//! CycloneDDS's puts the client's id and a number ahead of both bodies; elsewhere a reply is related
//! to its request by the identity of the request's sample.

use bytes::{BufMut, Bytes, BytesMut};
use rustdds::rpc::SampleIdentity;
use rustdds::{GUID, SequenceNumber};

use crate::dds::raw::HEADER;

/// The first two bytes of a CycloneDDS participant's GUID (RTPS 2.5, section 8.3.3.1.3).
const CYCLONE: [u8; 2] = [1, 16];
/// What CycloneDDS's RMW puts ahead of every request and reply: the client's id and a number.
const CYCLONE_HEADER: usize = 16;

/// Whether who has this id relates replies by the header.
pub(super) fn is_cyclone(id: GUID) -> bool {
    id.to_bytes()[..2] == CYCLONE
}

/// Who asks, and which of its requests it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// CycloneDDS's header, little-endian.
    Header([u8; CYCLONE_HEADER]),
    /// The sample's own identity; who asks may name the reader that waits for the reply.
    Identity { who: GUID, sequence_number: SequenceNumber },
}

impl Asker {
    /// Reads a request: who asks, and the body as CDR with its encapsulation header.
    pub(super) fn read(
        sample: SampleIdentity,
        related: Option<SampleIdentity>,
        message: &Bytes,
    ) -> Result<(Asker, Bytes), String> {
        let writer = sample.writer_guid;
        if !is_cyclone(writer) || related.is_some() {
            let who = related.map_or(writer, |related| related.writer_guid);
            let asker = Asker::Identity { who, sequence_number: sample.sequence_number };
            return Ok((asker, message.clone()));
        }
        let (header, body) = split(message)?;
        Ok((Asker::Header(header), body))
    }

    /// The reply's bytes, and what it is related to; `answer` is little-endian CDR with its header.
    pub(super) fn reply(&self, answer: &Bytes) -> (Bytes, Option<SampleIdentity>) {
        match self {
            Asker::Header(header) => (join(header, answer), None),
            Asker::Identity { who, sequence_number } => {
                let identity = SampleIdentity { writer_guid: *who, sequence_number: *sequence_number };
                (answer.clone(), Some(identity))
            }
        }
    }
}

/// Which of our requests a reply belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Number {
    /// The number in the header.
    Header(i64),
    /// The number of the request's sample.
    Sequence(i64),
}

/// A client's request in CycloneDDS's way.
pub(super) fn cyclone_request(client: [u8; 8], number: i64, body: &Bytes) -> Bytes {
    let mut header = [0; CYCLONE_HEADER];
    header[..8].copy_from_slice(&client);
    header[8..].copy_from_slice(&number.to_le_bytes());
    join(&header, body)
}

/// Reads a reply; `None` where it answers somebody else. `ours` are the ids of our reader and writer.
pub(super) fn read_reply(
    writer: GUID,
    related: Option<SampleIdentity>,
    message: &Bytes,
    (client, ours): ([u8; 8], [GUID; 2]),
) -> Result<Option<(Number, Bytes)>, String> {
    if let Some(related) = related {
        let mine = ours.contains(&related.writer_guid);
        let number = Number::Sequence(i64::from(related.sequence_number));
        return Ok(mine.then(|| (number, message.clone())));
    }
    if !is_cyclone(writer) {
        return Err("a reply is related to no request".to_owned());
    }
    let (header, body) = split(message)?;
    let [who, number] = [0, 8].map(|at| header[at..at + 8].first_chunk::<8>().copied().unwrap_or_default());
    Ok((who == client).then(|| (Number::Header(i64::from_le_bytes(number)), body)))
}

/// Takes CycloneDDS's header out, turned round where the message is big-endian.
fn split(message: &Bytes) -> Result<([u8; CYCLONE_HEADER], Bytes), String> {
    let (Some(encapsulation), Some(header)) = (
        message.first_chunk::<HEADER>(),
        message.get(HEADER..).and_then(<[u8]>::first_chunk::<CYCLONE_HEADER>),
    ) else {
        return Err(format!("a message of {} bytes is too short", message.len()));
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

/// Puts CycloneDDS's header in. It is as long as the widest alignment, so the body stays aligned.
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

    fn id(vendor: [u8; 2], entity: u8) -> GUID {
        let mut guid = [9; 16];
        guid[..2].copy_from_slice(&vendor);
        guid[15] = entity;
        GUID::from_bytes(guid)
    }

    fn sample(writer_guid: GUID, number: i64) -> SampleIdentity {
        SampleIdentity { writer_guid, sequence_number: SequenceNumber::new(number) }
    }

    const FAST: [u8; 2] = [1, 15];

    #[test]
    fn cyclone_carries_its_client_ahead_of_the_body() {
        let message: Vec<u8> = [0, 1, 0, 0].into_iter().chain(1..=16).chain([42]).collect();
        let from = sample(id(CYCLONE, 1), 5);
        let (asker, body) = Asker::read(from, None, &Bytes::from(message)).unwrap();
        assert_eq!(body.as_ref(), &[0, 1, 0, 0, 42]);
        let (reply, related) = asker.reply(&Bytes::from_static(&[0, 1, 0, 0, 7]));
        assert_eq!((&reply[..4], related), (&[0, 1, 0, 0][..], None));
        assert!(reply[4..20].iter().copied().eq(1..=16) && reply[20..] == [7]);
        // The other byte order is turned round, since the reply is little-endian.
        let message: Vec<u8> = [0, 0, 0, 0].into_iter().chain(1..=16).collect();
        let (asker, _) = Asker::read(from, None, &Bytes::from(message)).unwrap();
        let Asker::Header(client) = asker else { unreachable!("{asker:?}") };
        assert_eq!((client[0], client[7], client[8], client[15]), (8, 1, 16, 9));
        for short in [0, 4, 19] {
            assert!(Asker::read(from, None, &Bytes::from(vec![0; short])).is_err(), "{short}");
        }
    }

    #[test]
    fn others_are_known_by_the_samples_identity() {
        let reader = sample(id(FAST, 4), -1);
        for (vendor, related) in [(FAST, Some(reader)), (FAST, None), (CYCLONE, Some(reader))] {
            let message = Bytes::from_static(&[0, 1, 0, 0, 42]);
            let from = sample(id(vendor, 3), 5);
            let (asker, body) = Asker::read(from, related, &message).unwrap();
            assert_eq!(body, message);
            let (reply, to) = asker.reply(&Bytes::from_static(&[0, 1, 0, 0, 7]));
            assert_eq!(reply.as_ref(), &[0, 1, 0, 0, 7]);
            let who = related.map_or(id(vendor, 3), |related| related.writer_guid);
            assert_eq!(to, Some(sample(who, 5)));
        }
    }

    #[test]
    fn a_reply_to_somebody_else_is_not_ours() {
        let (ours, client) = ([id(FAST, 1), id(FAST, 2)], [7; 8]);
        let body = Bytes::from_static(&[0, 1, 0, 0, 1]);
        let read = |writer, related, message: &Bytes| read_reply(writer, related, message, (client, ours));
        let server = id(FAST, 9);
        assert_eq!(
            read(server, Some(sample(id(FAST, 2), 4)), &body),
            Ok(Some((Number::Sequence(4), body.clone())))
        );
        assert_eq!(read(server, Some(sample(id(FAST, 3), 4)), &body), Ok(None));
        assert!(read(server, None, &body).is_err());
        let server = id(CYCLONE, 9);
        let reply = cyclone_request(client, 4, &body);
        assert_eq!(read(server, None, &reply), Ok(Some((Number::Header(4), body.clone()))));
        assert_eq!(read(server, None, &cyclone_request([8; 8], 4, &body)), Ok(None));
        assert!(read(server, None, &body).is_err());
    }

    proptest! {
        #[test]
        fn what_is_asked_comes_back(client: [u8; 8], number: i64, asked: Vec<u8>, answered: Vec<u8>) {
            let cdr = |body: &[u8]| Bytes::from([&[0, 1, 0, 0], body].concat());
            let request = cyclone_request(client, number, &cdr(&asked));
            let (asker, body) = Asker::read(sample(id(CYCLONE, 1), 1), None, &request).unwrap();
            prop_assert_eq!(body, cdr(&asked));
            let (reply, _) = asker.reply(&cdr(&answered));
            let got = read_reply(id(CYCLONE, 2), None, &reply, (client, [id(FAST, 1); 2])).unwrap();
            prop_assert_eq!(got, Some((Number::Header(number), cdr(&answered))));
        }
    }
}
