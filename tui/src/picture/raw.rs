//! Pictures as plain pixels: sensor_msgs/msg/Image.

use image::{DynamicImage, GrayImage, RgbImage};
use roverline_schema::Value;

use crate::picture::{PictureFault, check_size, text_of};

/// The picture of a message, and its encoding.
pub(super) fn image(message: &Value) -> Result<(DynamicImage, String), PictureFault> {
    let number = |field: &str| {
        let value = message.get(field).and_then(Value::as_i128).and_then(|value| u32::try_from(value).ok());
        value.ok_or_else(|| PictureFault::Data(format!("it has no {field}")))
    };
    let (width, height, step) = (number("width")?, number("height")?, number("step")?);
    check_size(width, height)?;
    let encoding = text_of(message, "encoding");
    let channels: usize = match encoding.as_str() {
        "rgb8" | "bgr8" => 3,
        "mono8" | "8UC1" => 1,
        _ => return Err(PictureFault::Encoding(encoding)),
    };
    let Some(Value::Bytes(data)) = message.get("data") else {
        return Err(PictureFault::Data("the message has no data".to_owned()));
    };
    // Within u64: a row has at most a few times the pixels of the check above.
    let row = width as usize * channels;
    let step = step as usize;
    let needed = step as u64 * u64::from(height - 1) + row as u64;
    if step < row || (data.len() as u64) < needed {
        return Err(PictureFault::Data("there are fewer pixels than its size says".to_owned()));
    }
    // Rows may be padded.
    let rows = data.chunks(step).take(height as usize).filter_map(|line| line.get(..row));
    let mut pixels: Vec<u8> = rows.flatten().copied().collect();
    if encoding == "bgr8" {
        pixels.chunks_exact_mut(3).for_each(|pixel| pixel.swap(0, 2));
    }
    let image = match channels {
        1 => GrayImage::from_raw(width, height, pixels).map(DynamicImage::from),
        _ => RgbImage::from_raw(width, height, pixels).map(DynamicImage::from),
    };
    let image = image.ok_or_else(|| PictureFault::Data("its size does not fit its pixels".to_owned()))?;
    Ok((image, encoding))
}
