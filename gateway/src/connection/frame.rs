//! WebSocket frames from server to client, made once and shared: they carry no mask (RFC 6455,
//! section 5.1), so the same bytes serve every session.

use bytes::Bytes;
use serde::Serialize;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::frame::{Frame, FrameHeader};

/// A binary message of these parts, in one frame.
pub fn binary(parts: &[&[u8]]) -> Bytes {
    message(Data::Binary, parts)
}

/// A text message, in one frame. The text must be UTF-8.
pub fn text(text: &[u8]) -> Bytes {
    message(Data::Text, &[text])
}

/// A value as JSON in a text message.
pub fn json<T: Serialize>(value: &T) -> Bytes {
    match serde_json::to_vec(value) {
        Ok(json) => text(&json),
        Err(error) => {
            // Our own types always serialize; if one does not, the session must not die of it.
            tracing::error!(%error, "a message could not be written as JSON");
            text(b"{}")
        }
    }
}

/// A ping (RFC 6455, section 5.5.2): its pong brings the number back.
pub fn ping(number: u32) -> Bytes {
    let [a, b, c, d] = number.to_be_bytes();
    Bytes::copy_from_slice(&[0x89, 4, a, b, c, d])
}

/// A close frame (RFC 6455, section 5.5.1). The reason is cut to what fits.
pub fn close(code: u16, reason: &str) -> Bytes {
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut out = Vec::new();
    let frame = Frame::close(Some(CloseFrame { code: code.into(), reason: reason[..end].into() }));
    write_to_memory(frame.format(&mut out));
    out.into()
}

fn message(kind: Data, parts: &[&[u8]]) -> Bytes {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    let header = FrameHeader { is_final: true, opcode: OpCode::Data(kind), ..FrameHeader::default() };
    let mut out = Vec::with_capacity(header.len(length as u64) + length);
    write_to_memory(header.format(length as u64, &mut out));
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out.into()
}

fn write_to_memory(result: tungstenite::Result<()>) {
    // Writing into a vector does not fail.
    if let Err(error) = result {
        tracing::error!(%error, "a frame could not be made");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_rfc_6455() {
        assert_eq!(&text(b"hi")[..], [0x81, 2, b'h', b'i']);
        assert_eq!(&binary(&[&[1], &[2]])[..], [0x82, 2, 1, 2]);
        assert_eq!(&binary(&[&[0; 300]])[..4], [0x82, 126, 1, 44]);
        assert_eq!(&close(1001, "bye")[..], [0x88, 5, 3, 233, b'b', b'y', b'e']);
        assert!(close(1001, &"ä".repeat(100)).len() <= 127);
    }
}
