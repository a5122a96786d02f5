//! Messages that were compressed one by one (rosbag2's mode `MESSAGE`).
//!
//! The recording need not say so: a message in CDR begins with a zero byte, a Zstandard frame with another one.

use bytes::Bytes;

/// The first bytes of a Zstandard frame (RFC 8878, 3.1.1).
pub(super) const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// The message, unpacked if it is compressed. An error says why that is not possible.
pub(super) fn unpacked(data: Bytes) -> std::io::Result<Bytes> {
    if data.starts_with(ZSTD_MAGIC) { unpack(&data) } else { Ok(data) }
}

#[cfg(feature = "mcap")]
fn unpack(data: &[u8]) -> std::io::Result<Bytes> {
    use std::io::Read;

    /// Larger messages are refused: a few bytes can unpack to any size.
    const MAX_MESSAGE_BYTES: u64 = 256 << 20;

    let mut whole = Vec::new();
    let reader = zstd::stream::read::Decoder::with_buffer(data)?;
    reader.take(MAX_MESSAGE_BYTES + 1).read_to_end(&mut whole)?;
    if whole.len() as u64 > MAX_MESSAGE_BYTES {
        return Err(std::io::Error::other(format!("it unpacks to more than {} MB", MAX_MESSAGE_BYTES >> 20)));
    }
    Ok(whole.into())
}

#[cfg(not(feature = "mcap"))]
fn unpack(_: &[u8]) -> std::io::Result<Bytes> {
    Err(std::io::Error::other("this build cannot unpack it"))
}

#[cfg(feature = "mcap")]
#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn only_compressed_messages_change() {
        let cdr = Bytes::from_static(b"\0\x01\0\0hello");
        assert_eq!(unpacked(cdr.clone()).unwrap(), cdr);
        assert_eq!(unpacked(zstd::bulk::compress(&cdr, 1).unwrap().into()).unwrap(), cdr);
        // Streamed, so that the frame does not say its size.
        assert_eq!(unpacked(zstd::stream::encode_all(&cdr[..], 1).unwrap().into()).unwrap(), cdr);
        for empty in [Bytes::new(), Bytes::from_static(&[0x28, 0xb5])] {
            assert_eq!(unpacked(empty.clone()).unwrap(), empty);
        }
    }

    #[test]
    fn a_damaged_one_is_an_error() {
        let whole = zstd::bulk::compress(&[1; 1_000], 1).unwrap();
        for end in 4..whole.len() {
            assert!(unpacked(Bytes::copy_from_slice(&whole[..end])).is_err(), "{end}");
        }
        let bomb = zstd::stream::encode_all(std::io::repeat(0).take(257 << 20), 1).unwrap();
        assert!(unpacked(bomb.into()).unwrap_err().to_string().contains("more than 256 MB"));
    }
}
