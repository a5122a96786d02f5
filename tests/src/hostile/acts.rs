//! The hostile acts. Each one is some threads with raw sockets that run until the act is stopped.

mod connections;
mod messages;
mod operator;
mod png;
mod store;
mod tls;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::hostile::target::{Act, Target};
use crate::raw::{frame, handshake};

/// An address of attackers for acts whose bounds are by address; the operator is at 127.0.0.1.
const ELSEWHERE: [u8; 4] = [127, 0, 0, 2];

/// All acts. The last one is an operator with rights who takes another one's lock.
pub(super) const ACTS: &[Act] = &[
    Act::new("nothing", "no attack", 0, |_| {}),
    Act::new("patterns", "sessions subscribe to 1024 costly patterns again and again", 4, messages::patterns),
    Act::new("names", "sessions subscribe to 1024 names and leave them again", 4, messages::names),
    Act::new("resumes", "sessions resume with 8192 cursors again and again", 4, messages::resumes),
    Act::new("switched", "sessions report switches", 3, messages::switched),
    Act::new("stop_attempts", "observers engage and release the emergency stop", 4, messages::stop_attempts),
    Act::new("bad_messages", "sessions send messages of an unknown form", 4, messages::bad_messages),
    Act::new("bad_frames", "sessions send broken frames", 4, messages::bad_frames),
    Act::new("huge_frames", "sessions announce frames without end", 4, messages::huge_frames),
    Act::new(
        "compressed",
        "sessions send frames compressed without having agreed on it",
        4,
        messages::compressed,
    ),
    Act::new("nested", "messages nested 200,000 deep, in each dialect", 6, messages::nested),
    Act::new("many_keys", "messages with 70,000 keys, in each dialect", 6, messages::many_keys),
    Act::new("png_bombs", "messages as images that are larger than they appear", 4, messages::png_bombs),
    Act::new("fragments", "sessions send messages in pieces of one byte", 4, messages::fragments),
    Act::new("reassembly", "rosbridge sessions begin messages and never end them", 4, messages::reassembly),
    Act::new("pings", "sessions send pings as fast as they can", 4, messages::pings),
    Act::new("close_codes", "sessions close with every code there is", 4, messages::close_codes),
    Act::new("images", "an image as PNG, each client with other fragments", 12, messages::images),
    Act::new("images_5", "the same, by five clients", 5, messages::images),
    Act::new("images_40", "the same, by forty clients", 40, messages::images),
    Act::new("places", "observers take all slots", 1, connections::all_slots),
    Act::new("standbys", "observers take all slots of standbys at all endpoints", 1, connections::standbys),
    Act::new("unread", "observers take all slots and never read", 1, connections::unread),
    Act::new("upgrade_silence", "sessions are opened and then stay silent", 1, connections::upgrade_silence),
    Act::new("slow_heads", "170 connections send a byte now and then", 1, connections::slow_heads),
    Act::new(
        "drip_peers",
        "400 connections drip while peers search for the primary",
        1,
        connections::drip_peers,
    ),
    Act::new("slow_bodies", "170 requests whose bodies never come", 1, connections::slow_bodies),
    Act::new("silent", "300 connections send nothing", 1, connections::silent),
    Act::new("churn", "connections come and go", 4, connections::churn),
    Act::new("long_heads", "requests with heads that are too long", 4, connections::long_heads),
    Act::new("long_polls", "160 long polls of strangers", 1, connections::long_polls),
    Act::new("unread_http", "responses are requested and never read", 1, connections::unread_http),
    Act::new(
        "requests",
        "requests as fast as they can, by clients without a token",
        4,
        connections::requests,
    ),
    Act::new("wrong_tokens", "tokens are guessed", 4, connections::wrong_tokens),
    Act::new("tls_half_open", "TLS handshakes begin and are not continued", 4, tls::half_open).with_tls(),
    Act::new("tls_handshakes", "TLS handshakes, one after the other", 8, tls::handshakes).with_tls(),
    Act::new("tls_pieces", "TLS handshakes in pieces of one byte", 8, tls::pieces).with_tls(),
    Act::new("tls_promises", "TLS handshakes promise messages of 16 MiB", 4, tls::promises).with_tls(),
    Act::new("tls_key_updates", "TLS sessions change their keys without end", 4, tls::key_updates).with_tls(),
    Act::new(
        "foreign_pages",
        "pages of another site query the store over WebSocket",
        8,
        store::foreign_pages,
    ),
    Act::new("store_values", "sessions read the store", 20, store::values),
    Act::new("store_events", "sessions read the event log", 20, store::events),
    Act::new("store_locks", "sessions list locks", 20, store::locks),
    Act::new("watches", "sessions watch the store, 32 times each, and unwatch it again", 20, store::watches),
    Act::new(
        "impostor",
        "an endpoint without the rover's key announces itself as its primary",
        1,
        operator::impostor,
    )
    .with_mdns(),
    Act::new("port_scan", "an operator registers one port after another", 1, operator::port_scan),
    Act::new("values", "an operator writes values as fast as the store takes them", 2, operator::values),
    Act::new("messages", "an operator fills queues", 2, operator::messages),
    Act::new("events", "an operator appends events as fast as the log takes them", 4, operator::events),
    Act::new(
        "lock_theft",
        "an operator releases and takes another's lock in the other's name",
        1,
        operator::lock_theft,
    ),
];

fn connect(port: u16) -> Option<TcpStream> {
    with_timeouts(TcpStream::connect(("127.0.0.1", port)).ok()?)
}

/// The same from another address than the operator's.
fn connect_from_elsewhere(port: u16) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
    socket.bind(&SocketAddr::from((ELSEWHERE, 0)).into()).ok()?;
    socket.connect(&SocketAddr::from(([127, 0, 0, 1], port)).into()).ok()?;
    with_timeouts(socket.into())
}

fn with_timeouts(stream: TcpStream) -> Option<TcpStream> {
    stream.set_read_timeout(Some(Duration::from_millis(50))).ok()?;
    stream.set_write_timeout(Some(Duration::from_millis(500))).ok()?;
    Some(stream)
}

/// A session; the endpoint's answer is not checked.
fn session(port: u16, path: &str, fields: &str) -> Option<TcpStream> {
    let mut stream = connect(port)?;
    stream.write_all(handshake(path).replace("\r\n\r\n", &format!("\r\n{fields}\r\n")).as_bytes()).ok()?;
    Some(stream)
}

/// The additional header field of a native session's handshake.
const NATIVE: &str = "Sec-WebSocket-Protocol: roverline.v1\r\n";

/// Sends a message again and again and reads what comes, in sessions that are opened anew when they end.
fn repeat(target: &Target, path: &str, fields: &str, message: &[u8]) {
    let mut buffer = vec![0; 256 << 10];
    while target.is_running() {
        let Some(mut stream) = session(target.port(), path, fields) else { continue };
        while target.is_running() && stream.write_all(message).is_ok() {
            target.add_operations(1);
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
    }
}

fn text(message: &serde_json::Value) -> Vec<u8> {
    frame(1, message.to_string().as_bytes())
}

fn wait(target: &Target) {
    while target.is_running() {
        std::thread::sleep(Duration::from_millis(20));
    }
}
