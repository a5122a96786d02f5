//! JSON strings: text and base64.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::plan::sink::Sink;

/// Padded when written; missing padding is accepted.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Decodes base64. Line breaks, as in MIME (RFC 2045, 6.8), are left out.
pub(super) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let is_line_break = |byte: &u8| matches!(byte, b'\r' | b'\n');
    if text.bytes().any(|byte| is_line_break(&byte)) {
        let joined: Vec<u8> = text.bytes().filter(|byte| !is_line_break(byte)).collect();
        return BASE64.decode(joined).ok();
    }
    BASE64.decode(text).ok()
}

/// Appends bytes as a base64 string in quotes.
pub(super) fn write_base64(bytes: &[u8], out: &mut Sink<'_>) {
    out.ensure(1);
    out.byte(b'"');
    // The reserve is exact, so encoding cannot fail; if it did, an empty string is still valid
    // JSON.
    out.fill(bytes.len().div_ceil(3) * 4, |room| BASE64.encode_slice(bytes, room).unwrap_or(0));
    out.ensure(1);
    out.byte(b'"');
}

/// Appends bytes that should be UTF-8 as a string in quotes. Invalid parts become U+FFFD.
pub(super) fn write_string(bytes: &[u8], out: &mut Sink<'_>) {
    out.ensure(bytes.len() + 2);
    out.byte(b'"');
    let (eights, rest) = bytes.as_chunks::<8>();
    for (i, chunk) in eights.iter().enumerate() {
        if !is_plain(u64::from_le_bytes(*chunk)) {
            return write_rest(&bytes[8 * i..], out);
        }
        out.block(chunk, 8);
    }
    // Pad the last chunk with plain characters.
    let mut last = [b' '; 8];
    last[..rest.len()].copy_from_slice(rest);
    if !is_plain(u64::from_le_bytes(last)) {
        return write_rest(rest, out);
    }
    out.block(&last, rest.len());
    out.byte(b'"');
}

/// Whether all eight bytes are ASCII that needs no escaping in JSON: no quote, no backslash, no
/// control byte. Tests all of them at once; a borrow between bytes can only come from a byte that
/// itself needs escaping.
fn is_plain(eight: u64) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let quote = eight ^ (ONES * b'"' as u64);
    let backslash = eight ^ (ONES * b'\\' as u64);
    let below_space = eight.wrapping_sub(ONES * 0x20);
    let odd = below_space | quote.wrapping_sub(ONES) | backslash.wrapping_sub(ONES) | eight;
    odd & HIGHS == 0
}

/// Appends the rest of a string that may need escaping, and the closing quote.
#[cold]
fn write_rest(bytes: &[u8], out: &mut Sink<'_>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => write_escaped(text.as_bytes(), out),
        Err(_) => write_escaped(String::from_utf8_lossy(bytes).as_bytes(), out),
    }
    out.slice(b"\"");
}

fn write_escaped(bytes: &[u8], out: &mut Sink<'_>) {
    let mut clean = 0;
    for (i, &b) in bytes.iter().enumerate() {
        if b >= 0x20 && b != b'"' && b != b'\\' {
            continue;
        }
        out.slice(&bytes[clean..i]);
        clean = i + 1;
        match b {
            b'"' => out.slice(b"\\\""),
            b'\\' => out.slice(b"\\\\"),
            b'\n' => out.slice(b"\\n"),
            b'\r' => out.slice(b"\\r"),
            b'\t' => out.slice(b"\\t"),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let [high, low] = [HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]];
                out.slice(&[b'\\', b'u', b'0', b'0', high, low]);
            }
        }
    }
    out.slice(&bytes[clean..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Sink<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        let mut sink = Sink::new(&mut out);
        write(&mut sink);
        sink.finish();
        out
    }

    #[test]
    fn strings_are_json() {
        for bytes in [&b"plain"[..], b"", b"\"\\\n\r\t\x00\x1f\x7f", "Grüße 火星 🚀".as_bytes()] {
            let back: String = serde_json::from_slice(&written(|out| write_string(bytes, out))).unwrap();
            assert_eq!(back.as_bytes(), bytes);
        }
        let lossy = written(|out| write_string(b"a\xff\xfeb", out));
        assert_eq!(String::from_utf8(lossy).unwrap(), "\"a\u{fffd}\u{fffd}b\"");
    }

    #[test]
    fn every_byte_at_every_position() {
        for place in 0..20 {
            for b in 0..=127_u8 {
                let mut bytes = [b'~'; 20];
                bytes[place] = b;
                let json = written(|out| write_string(&bytes, out));
                let back: String = serde_json::from_slice(&json).unwrap();
                assert_eq!(back.as_bytes(), bytes, "{b} at {place}");
                let escaped = b < 0x20 || b == b'"' || b == b'\\';
                assert_eq!(json.len() > bytes.len() + 2, escaped, "{b} at {place}");
            }
        }
    }

    #[test]
    fn characters_may_span_chunks() {
        for n in 0..20 {
            let text = format!("{}火{}", "a".repeat(n), "b".repeat(n));
            let back: String =
                serde_json::from_slice(&written(|out| write_string(text.as_bytes(), out))).unwrap();
            assert_eq!(back, text);
        }
    }

    #[test]
    fn base64_round_trips() {
        for n in 0..10_u8 {
            let bytes: Vec<u8> = (0..n).map(|b| b.wrapping_mul(97)).collect();
            let text: String = serde_json::from_slice(&written(|out| write_base64(&bytes, out))).unwrap();
            assert_eq!(decode_base64(&text), Some(bytes.clone()));
            assert_eq!(decode_base64(text.trim_end_matches('=')), Some(bytes));
        }
        for lines in ["AQID\nBAUG\n", "AQI\r\nDBAUG", "\nAQIDBAUG"] {
            assert_eq!(decode_base64(lines), Some(vec![1, 2, 3, 4, 5, 6]), "{lines:?}");
        }
        assert_eq!(decode_base64("not base64!"), None);
    }
}
