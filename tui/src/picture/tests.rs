use image::{ImageFormat, Rgb, RgbImage};
use serde_json::json;

use super::*;

fn maker(kind: PictureKind) -> PictureMaker {
    PictureMaker::new(PictureSetup { kind, ..PictureSetup::default() })
}

fn job(type_name: &str, message: &serde_json::Value, data: &[u8]) -> PictureJob {
    let plan = Registry::bundled();
    let plan = plan.plan(type_name).unwrap();
    let mut message = message.clone();
    message["data"] = json!(data);
    let payload = plan.encode_json(&message).unwrap().into();
    PictureJob { number: 1, type_name: type_name.to_owned(), payload, size: (20, 5) }
}

fn encoded(format: ImageFormat) -> Vec<u8> {
    let image = RgbImage::from_fn(40, 20, |x, _| if x < 20 { Rgb([0, 0, 0]) } else { Rgb([255, 255, 255]) });
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::from(image).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

#[test]
fn png_and_jpeg_become_cells() {
    for format in [ImageFormat::Png, ImageFormat::Jpeg] {
        let job = job(COMPRESSED, &json!({"format": "bgr8; compressed"}), &encoded(format));
        let picture = maker(PictureKind::Ascii).make(&job).unwrap();
        assert_eq!((picture.pixels, picture.format.as_str()), ((40, 20), "bgr8; compressed"));
        let Drawing::Text(lines) = picture.drawing else { panic!("no text") };
        assert!(lines.len() == 5 && lines[2].starts_with("   ") && lines[2].ends_with("@@@"), "{lines:?}");
        let picture = maker(PictureKind::Blocks).make(&job).unwrap();
        let Drawing::Protocol(protocol) = picture.drawing else { panic!("no protocol") };
        assert!(protocol.size().width <= 20 && protocol.size().height <= 5, "{:?}", protocol.size());
    }
}

#[test]
fn every_protocol_makes_something() {
    let job = job(COMPRESSED, &json!({"format": "png"}), &encoded(ImageFormat::Png));
    for (_, kind) in PictureKind::NAMES {
        assert!(maker(kind).make(&job).is_ok(), "{kind:?}");
    }
}

#[test]
fn raw_pixels_with_padded_rows() {
    // Two by two: black, white below each other.
    let data = [0, 0, 0, 0, 0, 0, 9, 9, 255, 255, 255, 255, 255, 255];
    let message = json!({"width": 2, "height": 2, "step": 8, "encoding": "bgr8"});
    let picture = maker(PictureKind::Ascii).make(&job(RAW, &message, &data)).unwrap();
    assert_eq!(picture.pixels, (2, 2));
    let message = json!({"width": 3, "height": 1, "step": 3, "encoding": "mono8"});
    assert!(maker(PictureKind::Blocks).make(&job(RAW, &message, &[0, 128, 255])).is_ok());
}

#[test]
fn what_is_hostile_is_refused_before_it_is_decoded() {
    let fault = |job: &PictureJob| maker(PictureKind::Ascii).make(job).unwrap_err();
    // The header of a PNG of 10,000 by 10,000 pixels, without any.
    let mut png = encoded(ImageFormat::Png);
    png[16..24].copy_from_slice(&[0, 0, 0x27, 0x10, 0, 0, 0x27, 0x10]);
    let crc = crc(&png[12..29]);
    png[29..33].copy_from_slice(&crc.to_be_bytes());
    let bomb = job(COMPRESSED, &json!({"format": "png"}), &png);
    assert_eq!(fault(&bomb), PictureFault::TooLarge(10_000, 10_000));
    let message = json!({"width": u32::MAX, "height": u32::MAX, "step": u32::MAX, "encoding": "rgb8"});
    assert_eq!(fault(&job(RAW, &message, &[1])), PictureFault::TooLarge(u32::MAX, u32::MAX));
    for (width, height, step, data) in
        [(2_u32, 2_u32, 5_u32, 99_usize), (2, 2, 6, 11), (0, 2, 6, 11), (2, 2, u32::MAX, 12)]
    {
        let message = json!({"width": width, "height": height, "step": step, "encoding": "rgb8"});
        assert!(matches!(fault(&job(RAW, &message, &vec![0; data])), PictureFault::Data(_)));
    }
    let message = json!({"width": 1, "height": 1, "step": 2, "encoding": "16UC1\u{1b}[2J"});
    assert_eq!(fault(&job(RAW, &message, &[0, 0])), PictureFault::Encoding("16UC1·[2J".to_owned()));
    let none = job(COMPRESSED, &json!({"format": "jpeg"}), b"GIF89a and then nothing");
    assert!(matches!(fault(&none), PictureFault::Data(_)));
    let cut = job(COMPRESSED, &json!({"format": "png"}), &encoded(ImageFormat::Png)[..60]);
    assert!(matches!(fault(&cut), PictureFault::Data(_)));
    let foreign = PictureJob { payload: Bytes::from_static(&[1]), ..none };
    assert!(matches!(fault(&foreign), PictureFault::Message(_)));
}

/// The checksum of a PNG's chunk.
fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 },
        )
    };
    !bytes.iter().fold(!0, step)
}

#[test]
fn the_environment_decides() {
    let kind = |vars: &'static [(&str, &str)]| {
        PictureKind::detect(|name| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    };
    assert_eq!(kind(&[("TERM", "xterm-256color"), ("LANG", "de_DE.UTF-8")]), PictureKind::Blocks);
    assert_eq!(kind(&[("TERM", "xterm-kitty")]), PictureKind::Kitty);
    assert_eq!(kind(&[("TERM", "xterm-kitty"), ("TMUX", "/tmp/x")]), PictureKind::Blocks);
    assert_eq!(kind(&[("TERM_PROGRAM", "iTerm.app")]), PictureKind::Iterm2);
    assert_eq!(kind(&[("TERM", "foot")]), PictureKind::Sixel);
    assert_eq!(kind(&[("LANG", "C")]), PictureKind::Ascii);
    assert_eq!(kind(&[("NO_COLOR", "1"), ("TERM", "xterm-kitty")]), PictureKind::Ascii);
    assert_eq!(kind(&[("ROVERLINE_PICTURES", "sixel"), ("LANG", "C")]), PictureKind::Sixel);
}
