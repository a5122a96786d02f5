//! A PNG writer for small pictures of sixteen colours. The pixels are stored, not compressed:
//! valid for every decoder, and no work.

/// Bytes that a stored deflate block holds at most.
const BLOCK_BYTES: usize = 65_535;

/// Makes a PNG file of 4 bits a pixel; `pixel(x, y)` gives the palette index.
pub(super) fn encode(
    width: u32,
    height: u32,
    palette: &[[u8; 3]; 16],
    pixel: impl Fn(u32, u32) -> u8,
) -> Vec<u8> {
    let mut rows = Vec::with_capacity(((width / 2 + 2) * height) as usize);
    for y in 0..height {
        rows.push(0); // no filter
        for x in (0..width).step_by(2) {
            let right = if x + 1 < width { pixel(x + 1, y) & 15 } else { 0 };
            rows.push((pixel(x, y) & 15) << 4 | right);
        }
    }
    let mut header = Vec::with_capacity(13);
    header.extend_from_slice(&width.to_be_bytes());
    header.extend_from_slice(&height.to_be_bytes());
    header.extend_from_slice(&[4, 3, 0, 0, 0]); // 4 bits, palette, deflate, no filter, not interlaced
    let mut file = Vec::with_capacity(rows.len() + 160);
    file.extend_from_slice(b"\x89PNG\r\n\x1a\n");
    chunk(&mut file, *b"IHDR", &header);
    chunk(&mut file, *b"PLTE", palette.as_flattened());
    chunk(&mut file, *b"IDAT", &zlib(&rows));
    chunk(&mut file, *b"IEND", &[]);
    file
}

fn chunk(file: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) {
    file.extend_from_slice(&(data.len() as u32).to_be_bytes());
    let start = file.len();
    file.extend_from_slice(&kind);
    file.extend_from_slice(data);
    let crc = crc32(&file[start..]);
    file.extend_from_slice(&crc.to_be_bytes());
}

/// A zlib stream of stored blocks (RFC 1950, RFC 1951 3.2.4).
fn zlib(data: &[u8]) -> Vec<u8> {
    let mut stream = Vec::with_capacity(data.len() + 16);
    stream.extend_from_slice(&[0x78, 0x01]);
    let mut blocks = data.chunks(BLOCK_BYTES).peekable();
    while let Some(block) = blocks.next() {
        let length = block.len() as u16;
        stream.push(u8::from(blocks.peek().is_none()));
        stream.extend_from_slice(&length.to_le_bytes());
        stream.extend_from_slice(&(!length).to_le_bytes());
        stream.extend_from_slice(block);
    }
    stream.extend_from_slice(&adler32(data).to_be_bytes());
    stream
}

fn adler32(data: &[u8]) -> u32 {
    // 5552 bytes are the most that cannot overflow before the remainder is taken.
    let (mut a, mut b) = (1_u32, 0_u32);
    for part in data.chunks(5_552) {
        for byte in part {
            a += u32::from(*byte);
            b += a;
        }
        a %= 65_521;
        b %= 65_521;
    }
    b << 16 | a
}

const CRC_TABLE: [u32; 256] = crc_table();

const fn crc_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut value = i as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { value >> 1 ^ 0xedb8_8320 } else { value >> 1 };
            bit += 1;
        }
        table[i] = value;
        i += 1;
    }
    table
}

fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(!0_u32, |crc, byte| CRC_TABLE[((crc ^ u32::from(*byte)) & 255) as usize] ^ crc >> 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_have_their_published_values() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
    }

    #[test]
    fn a_picture_is_laid_out_as_the_format_says() {
        let file = encode(3, 2, &[[1, 2, 3]; 16], |x, y| (x + 4 * y) as u8);
        assert_eq!(&file[..8], b"\x89PNG\r\n\x1a\n");
        assert_eq!(&file[8..16], b"\0\0\0\x0dIHDR");
        let idat = file.windows(4).position(|w| w == b"IDAT").unwrap() + 4;
        assert_eq!(&file[idat..idat + 7], [0x78, 0x01, 1, 6, 0, !6, !0]);
        assert_eq!(&file[idat + 7..idat + 13], [0, 0x01, 0x20, 0, 0x45, 0x60]);
        assert_eq!(&file[file.len() - 12..], b"\0\0\0\0IEND\xae\x42\x60\x82");
    }
}
