//! Output framing of JSON messages: plain, as a PNG image, or as fragments.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::json;

use crate::connection::frame;
use crate::dialect::rosbridge::{Compression, SampleFormat};

/// Smallest fragment size for a rosbridge client, whatever it requests.
const ROSBRIDGE_FRAGMENT_MIN_BYTES: usize = 128;

/// JSON text as WebSocket frames in this format; `id` names the message if it is fragmented.
pub(super) fn frames(format: SampleFormat, id: &str, json: Vec<u8>) -> Bytes {
    let json = match format.compression {
        Compression::Png => png_message(&json).unwrap_or(json),
        _ => json,
    };
    let size = format.fragment_bytes.map(|bytes| (bytes as usize).max(ROSBRIDGE_FRAGMENT_MIN_BYTES));
    match size {
        Some(size) if json.len() > size => fragments(id, &json, size),
        _ => frame::text(&json),
    }
}

fn fragments(id: &str, json: &[u8], size: usize) -> Bytes {
    let text = String::from_utf8_lossy(json);
    let pieces = split_at_char_boundary(&text, size);
    let mut out = Vec::with_capacity(json.len() * 3 / 2);
    for (num, data) in pieces.iter().enumerate() {
        let piece = json!({"op": "fragment", "id": id, "data": data, "num": num, "total": pieces.len()});
        out.extend_from_slice(&frame::json(&piece));
    }
    out.into()
}

/// Splits text into parts of at most `size` bytes, at character boundaries.
fn split_at_char_boundary(text: &str, size: usize) -> Vec<&str> {
    let mut pieces = Vec::with_capacity(text.len() / size + 1);
    let mut rest = text;
    while !rest.is_empty() {
        let mut end = size.min(rest.len());
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// Encodes the text as the pixels of a square image, padded with line ends, which JSON ignores. `None`
/// if no image can be made of it.
fn png_message(json: &[u8]) -> Option<Vec<u8>> {
    let pixels = json.len().div_ceil(3);
    let width = pixels.isqrt().max(1);
    let height = pixels.div_ceil(width).max(1);
    let mut colours = Cow::Borrowed(json);
    colours.to_mut().resize(width * height * 3, b'\n');
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, u32::try_from(width).ok()?, u32::try_from(height).ok()?);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    // Text is not a picture: the pixel above a letter does not predict it.
    encoder.set_filter(png::Filter::NoFilter);
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(&colours).ok()?;
    writer.finish().ok()?;
    serde_json::to_vec(&json!({"op": "png", "data": STANDARD.encode(file)})).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use serde_json::Value;
    use tungstenite::protocol::frame::FrameHeader;

    use super::*;
    use crate::dialect::rosbridge::reassembly;

    /// The payloads of consecutive WebSocket frames.
    pub(crate) fn messages(frames: &[u8]) -> Vec<Vec<u8>> {
        let mut cursor = std::io::Cursor::new(frames);
        let mut payloads = Vec::new();
        while (cursor.position() as usize) < frames.len() {
            let (header, length) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
            assert!(header.is_final && header.mask.is_none());
            let start = cursor.position() as usize;
            payloads.push(frames[start..start + length as usize].to_vec());
            cursor.set_position(start as u64 + length);
        }
        payloads
    }

    proptest! {
        #[test]
        fn pieces_make_the_text_again(text in "\\PC{0,2000}", size in 0u32..600) {
            let json = serde_json::to_vec(&json!({"op": "publish", "msg": text})).unwrap();
            let format = SampleFormat { fragment_bytes: Some(size), ..SampleFormat::default() };
            let pieces = messages(&frames(format, "x", json.clone()));
            let size = (size as usize).max(ROSBRIDGE_FRAGMENT_MIN_BYTES);
            if json.len() <= size {
                prop_assert_eq!(&pieces, &[json]);
                return Ok(());
            }
            let mut whole = String::new();
            for (at, piece) in pieces.iter().enumerate() {
                let piece: Value = serde_json::from_slice(piece).unwrap();
                prop_assert_eq!((&piece["num"], &piece["total"]), (&at.into(), &pieces.len().into()));
                let data = piece["data"].as_str().unwrap();
                prop_assert!(data.len() <= size);
                whole.push_str(data);
            }
            prop_assert_eq!(whole.as_bytes(), json);
        }

        #[test]
        fn a_png_holds_the_text(text in "\\PC{0,500}") {
            let json = serde_json::to_vec(&json!({"op": "publish", "msg": text})).unwrap();
            let format = SampleFormat { compression: Compression::Png, ..SampleFormat::default() };
            let message = messages(&frames(format, "x", json.clone())).remove(0);
            let message: Value = serde_json::from_slice(&message).unwrap();
            prop_assert_eq!(&message["op"], "png");
            let back = reassembly::decode_png(message["data"].as_str().unwrap()).unwrap();
            prop_assert_eq!(back.trim_end().as_bytes(), json);
        }
    }
}
