//! Decompression bombs: small PNG images that expand to a lot of data.

use std::io::Write;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut sum = Crc::new();
    sum.update(kind);
    sum.update(data);
    [&(data.len() as u32).to_be_bytes()[..], kind, data, &sum.sum().to_be_bytes()].concat()
}

/// A grey image of this size, black, with a comment of so many bytes: what is in an image may be 32 times as much
/// as the image.
pub(super) fn image(width: u32, height: u32, comment: usize) -> Vec<u8> {
    let head = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 0, 0, 0, 0]].concat();
    let mut rows = ZlibEncoder::new(Vec::new(), Compression::best());
    rows.write_all(&vec![0; 2_001 * 2_000]).unwrap();
    let rows = rows.finish().unwrap();
    let text = [&b"Comment\0"[..], &vec![b'x'; comment]].concat();
    let chunks = [(b"IHDR", &head), (b"tEXt", &text), (b"IDAT", &rows), (b"IEND", &Vec::new())];
    let chunks = chunks.into_iter().map(|(kind, data)| chunk(kind, data));
    [b"\x89PNG\r\n\x1a\n".to_vec()].into_iter().chain(chunks).flatten().collect()
}
