//! Strings and bytes in JSON.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Padded when written; clients that leave the padding out are understood.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

/// Appends bytes as a base64 string in quotes.
pub(super) fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, b'=');
    // The room is exact, so this cannot fail; if it did, an empty string is still JSON.
    let written = BASE64.encode_slice(bytes, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
    out.push(b'"');
}

/// Appends bytes that are meant to be UTF-8 as a string in quotes. What is not becomes U+FFFD.
pub(super) fn write_string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    match std::str::from_utf8(bytes) {
        Ok(text) => write_escaped(text, out),
        Err(_) => write_escaped(&String::from_utf8_lossy(bytes), out),
    }
    out.push(b'"');
}

fn write_escaped(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut clean = 0;
    for (i, &b) in bytes.iter().enumerate() {
        if b >= 0x20 && b != b'"' && b != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[clean..i]);
        clean = i + 1;
        match b {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let [high, low] = [HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            }
        }
    }
    out.extend_from_slice(&bytes[clean..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_json() {
        for bytes in [&b"plain"[..], b"", b"\"\\\n\r\t\x00\x1f\x7f", "Grüße 火星 🚀".as_bytes()] {
            let mut out = Vec::new();
            write_string(bytes, &mut out);
            let back: String = serde_json::from_slice(&out).unwrap();
            assert_eq!(back.as_bytes(), bytes);
        }
        let mut out = Vec::new();
        write_string(b"a\xff\xfeb", &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "\"a\u{fffd}\u{fffd}b\"");
    }

    #[test]
    fn base64_goes_both_ways() {
        for n in 0..10_u8 {
            let bytes: Vec<u8> = (0..n).map(|b| b.wrapping_mul(97)).collect();
            let mut out = Vec::new();
            write_base64(&bytes, &mut out);
            let text: String = serde_json::from_slice(&out).unwrap();
            assert_eq!(decode_base64(&text), Some(bytes.clone()));
            assert_eq!(decode_base64(text.trim_end_matches('=')), Some(bytes));
        }
        assert_eq!(decode_base64("not base64!"), None);
    }
}
