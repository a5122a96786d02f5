//! Errors of invalid requests have a helpful text.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod common;

use std::net::{IpAddr, Ipv4Addr};

use common::*;
use roverline_cyclone::{Error, Options, Participant};

fn refused(options: &Options) -> Error {
    Participant::join(options).err().unwrap()
}

#[test]
fn options_that_cannot_be_used_are_refused() {
    assert_eq!(refused(&options(233)), Error::Domain(233));
    let v6 = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);
    assert_eq!(refused(&Options { networks: vec![v6], ..Options::default() }), Error::Network(v6));
    for peer in ["<Peer/>", "no such host", "10.0.0.1:port", "${HOME}"] {
        let error = refused(&Options { peers: vec![peer.to_owned()], ..options(77) });
        assert!(matches!(&error, Error::Peer { peer: named, .. } if named == peer), "{error}");
    }
}

#[test]
fn an_address_of_another_computer_is_refused_by_name() {
    let networks = vec![IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))];
    let error = refused(&Options { domain_id: 77, networks, ..Options::default() });
    assert!(matches!(error, Error::Join(_)) && error.to_string().contains("192.0.2.1"), "{error}");
}

#[test]
fn names_and_messages_that_dds_does_not_carry_are_refused() {
    let participant = Participant::join(&Options { max_sample_bytes: 1_000, ..options(78) }).unwrap();
    for topic in ["", "a b", "rt/ä", "a\0b", "what?", "DCPSParticipant", &"a".repeat(256)] {
        let error = participant.writer(topic, TYPE, OFFERS_RELIABLE).err().unwrap();
        assert!(error.to_string().contains("name"), "{topic}: {error}");
        assert!(participant.reader(topic, TYPE, RELIABLE, || {}).is_err(), "{topic}");
    }
    assert!(participant.writer("rt/a", "", OFFERS_RELIABLE).is_err());
    let writer = participant.writer("rt/a", TYPE, OFFERS_RELIABLE).unwrap();
    assert_eq!(writer.write(&[0, 1, 0], None, None), Err(Error::Header(3)));
    assert_eq!(writer.write(&[0; 1_001], None, None), Err(Error::Size { bytes: 1_001, most: 1_000 }));
    assert_eq!(writer.write(&[0; 4], Some(-1), None), Err(Error::Time(-1)));
    // None of the refused ones has a number.
    assert_eq!(writer.write(&[0; 1_000], None, None).unwrap().sequence_number, 1);
    let other_type = participant.writer("rt/a", "other::Type_", OFFERS_BEST_EFFORT).unwrap();
    assert_ne!(other_type.guid(), writer.guid());
}
