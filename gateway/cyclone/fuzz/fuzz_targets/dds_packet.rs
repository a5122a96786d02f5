//! Fuzz target: arbitrary submessages, as packets to a participant with a reader. Another participant in this
//! process makes sure that there is a genuine writer to speak for.
#![no_main]

use std::net::UdpSocket;
use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use roverline_cyclone::{Options, Participant, Reader, ReaderQos, Writer, WriterQos};

const DOMAIN: u16 = 99;
/// Ports of the domain's first participant, for discovery and for data (DDSI-RTPS 2.5, 9.6.2.3).
const PORTS: [u16; 2] = [7400 + 250 * DOMAIN + 10, 7400 + 250 * DOMAIN + 11];

struct Graph {
    reader: Reader,
    writer: Writer,
    socket: UdpSocket,
    _participants: [Participant; 2],
}

static GRAPH: LazyLock<Graph> = LazyLock::new(|| {
    let options = Options { domain_id: DOMAIN, localhost_only: true, ..Options::default() };
    let participants = [(); 2].map(|()| Participant::join(&options).expect("a participant"));
    let (topic, type_name) = ("rt/fuzz", "std_msgs::msg::dds_::String_");
    let qos = ReaderQos { reliable: true, transient_local: true, depth: 16 };
    let reader = participants[0].reader(topic, type_name, qos, || {}).expect("a reader");
    let qos = WriterQos {
        reliable: true,
        transient_local: true,
        depth: 1,
        window: 64,
        max_blocking: Duration::from_millis(1),
    };
    let writer = participants[1].writer(topic, type_name, qos).expect("a writer");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    Graph { reader, writer, socket, _participants: participants }
});

fuzz_target!(|input: &[u8]| {
    let graph = &*GRAPH;
    let guid = graph.writer.guid();
    // Half of the inputs are whole packets; the others are submessages in the genuine writer's name.
    let packet = match input.split_first() {
        Some((kind, rest)) if kind % 2 == 0 => rest.to_vec(),
        Some((_, rest)) => [b"RTPS\x02\x01\x01\x10", &guid[..12], rest].concat(),
        None => return,
    };
    for port in PORTS {
        let _ = graph.socket.send_to(&packet, ("127.0.0.1", port));
    }
    let _ = graph.writer.write(&[0, 1, 0, 0, 1, 0, 0, 0, 0], None, None);
    let _ = graph.reader.take(64, &mut |sample| assert!(sample.payload.len() >= 4));
});
