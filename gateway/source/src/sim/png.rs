//! Encodes small images with a palette of 16 colours as PNG. The pixels are stored uncompressed, which
//! costs no CPU time and is valid for every decoder.

use png::{BitDepth, ColorType, Compression, Encoder, EncodingError, Filter};

/// Encodes a PNG file with 4 bits per pixel; `pixel(x, y)` returns the palette index.
pub(super) fn encode(
    width: u32,
    height: u32,
    palette: &[[u8; 3]; 16],
    pixel: impl Fn(u32, u32) -> u8,
) -> Result<Vec<u8>, EncodingError> {
    let mut rows = Vec::with_capacity((width.div_ceil(2) * height) as usize);
    for y in 0..height {
        for x in (0..width).step_by(2) {
            let right = if x + 1 < width { pixel(x + 1, y) & 15 } else { 0 };
            rows.push((pixel(x, y) & 15) << 4 | right);
        }
    }
    let mut file = Vec::with_capacity(rows.len() + height as usize + 160);
    let mut encoder = Encoder::new(&mut file, width, height);
    encoder.set_color(ColorType::Indexed);
    encoder.set_depth(BitDepth::Four);
    encoder.set_palette(palette.as_flattened());
    encoder.set_compression(Compression::NoCompression);
    encoder.set_filter(Filter::NoFilter);
    encoder.write_header()?.write_image_data(&rows)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_the_layout_of_the_format() {
        let file = encode(3, 2, &[[1, 2, 3]; 16], |x, y| (x + 4 * y) as u8).unwrap();
        assert_eq!(&file[..8], b"\x89PNG\r\n\x1a\n");
        assert_eq!(&file[8..16], b"\0\0\0\x0dIHDR");
        let idat = file.windows(4).position(|w| w == b"IDAT").unwrap() + 4;
        assert_eq!(&file[idat..idat + 7], [0x78, 0x01, 1, 6, 0, !6, !0]);
        assert_eq!(&file[idat + 7..idat + 13], [0, 0x01, 0x20, 0, 0x45, 0x60]);
        assert_eq!(&file[file.len() - 12..], b"\0\0\0\0IEND\xae\x42\x60\x82");
    }
}
