//! Pictures for a terminal: from a ROS message to what its cells show. Pure, slow, and done off the loop. A picture is
//! bounded by its header before anything is decoded.

mod raw;

use std::fmt;
use std::io::Cursor;
use std::sync::Arc;

use bytes::Bytes;
use image::imageops::FilterType;
use image::{DynamicImage, GenericImageView as _, ImageReader, Limits, Pixel as _};
use ratatui::layout::Size;
use ratatui_image::picker::{Picker, ProtocolType};
use ratatui_image::protocol::Protocol;
use ratatui_image::{FontSize, Resize};
use roverline_schema::{Registry, Value};

/// Most pixels of a picture: 4K has 8.3 million.
pub const MAX_PIXELS: u64 = 9_000_000;
/// Most bytes that a decoder may allocate.
const MAX_ALLOCATION: u64 = 64 << 20;
/// Characters of a dark and of a bright cell, and those between.
const SHADES: [char; 10] = [' ', '.', ':', '-', '=', '+', '*', '#', '%', '@'];
/// The type of pictures in a format of files.
pub const COMPRESSED: &str = "sensor_msgs/msg/CompressedImage";
/// The type of pictures as plain pixels.
pub const RAW: &str = "sensor_msgs/msg/Image";
/// Most characters of a decoder's reason.
const REASON_CHARS: usize = 160;
/// Most characters of a format.
const FORMAT_CHARS: usize = 32;

/// How a terminal shows pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PictureKind {
    /// The protocol of kitty.
    Kitty,
    /// The protocol of iTerm2.
    Iterm2,
    /// Sixel graphics.
    Sixel,
    /// Half blocks in colour.
    #[default]
    Blocks,
    /// Characters.
    Ascii,
}

impl PictureKind {
    /// All kinds, by their names.
    pub const NAMES: [(&str, PictureKind); 5] = [
        ("kitty", PictureKind::Kitty),
        ("iterm2", PictureKind::Iterm2),
        ("sixel", PictureKind::Sixel),
        ("blocks", PictureKind::Blocks),
        ("ascii", PictureKind::Ascii),
    ];

    /// Whether the cells themselves are drawn, so that a dialog can be above them.
    pub fn is_text(self) -> bool {
        matches!(self, PictureKind::Blocks | PictureKind::Ascii)
    }

    /// From the environment: `ROVERLINE_PICTURES`, else what the terminal is known for. The terminal is not queried: its
    /// answer would come between the keys.
    pub fn detect(var: impl Fn(&str) -> Option<String>) -> PictureKind {
        let set = |name: &str| var(name).filter(|value| !value.is_empty());
        let is = |name: &str, part: &str| set(name).is_some_and(|value| value.contains(part));
        let wanted = set("ROVERLINE_PICTURES").map(|name| name.to_lowercase());
        let named = PictureKind::NAMES.iter().find(|(name, _)| wanted.as_deref() == Some(name));
        let has_color = set("NO_COLOR").is_none() && !is("TERM", "dumb") && !is("TERM", "vt100");
        let is_utf8 = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
        let is_utf8 = is_utf8.is_none_or(|locale| locale.to_lowercase().replace('-', "").contains("utf8"));
        // Within tmux or screen the outer terminal's protocol may not get through.
        let is_plain = set("TMUX").is_none() && !is("TERM", "screen") && !is("TERM", "tmux");
        match named {
            Some((_, kind)) => *kind,
            None if !has_color || !is_utf8 => PictureKind::Ascii,
            None if is_plain && (is("TERM", "kitty") || is("TERM", "ghostty")) => PictureKind::Kitty,
            None if is_plain && (is("TERM_PROGRAM", "iTerm") || is("TERM_PROGRAM", "WezTerm")) => {
                PictureKind::Iterm2
            }
            None if is_plain && (is("TERM", "foot") || is("TERM", "mlterm") || is("TERM", "sixel")) => {
                PictureKind::Sixel
            }
            None => PictureKind::Blocks,
        }
    }
}

/// What is known of the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureSetup {
    /// How it shows pictures.
    pub kind: PictureKind,
    /// Pixels of a cell, width and height.
    pub cell: (u16, u16),
    /// Whether it has 256 colours only.
    pub is_indexed: bool,
}

impl Default for PictureSetup {
    fn default() -> PictureSetup {
        PictureSetup { kind: PictureKind::default(), cell: (10, 20), is_indexed: false }
    }
}

/// A picture to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PictureJob {
    /// Its number.
    pub number: u64,
    /// The type of the message.
    pub type_name: String,
    /// The message.
    pub payload: Bytes,
    /// Columns and lines that it may have.
    pub size: (u16, u16),
}

/// Why there is no picture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PictureFault {
    /// The message is not of its type.
    #[error("the message cannot be decoded: {0}")]
    Message(String),
    /// It is larger than [`MAX_PIXELS`].
    #[error("{0}×{1} pixels are too many to be decoded")]
    TooLarge(u32, u32),
    /// An encoding that is not shown.
    #[error("{0} pictures are not shown: rgb8, bgr8, mono8, JPEG and PNG are")]
    Encoding(String),
    /// The data do not fit the header, or are none of a picture.
    #[error("no picture: {0}")]
    Data(String),
}

/// A picture in cells.
#[derive(Clone)]
pub struct Picture {
    /// Width and height in pixels, before it was made smaller.
    pub pixels: (u32, u32),
    /// Its format or encoding, as the message names it.
    pub format: String,
    /// The cells that it was made for: columns and lines.
    pub size: (u16, u16),
    /// Whether half blocks need one of 256 colours.
    pub is_indexed: bool,
    /// What is drawn.
    pub drawing: Drawing,
}

/// What is drawn of a picture.
#[derive(Clone)]
pub enum Drawing {
    /// By a protocol of the terminal, or half blocks.
    Protocol(Arc<Protocol>),
    /// Lines of characters.
    Text(Arc<[String]>),
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Picture")
            .field("pixels", &self.pixels)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// Makes pictures of messages.
#[derive(Debug)]
pub struct PictureMaker {
    registry: Registry,
    setup: PictureSetup,
}

impl PictureMaker {
    /// For a terminal.
    pub fn new(setup: PictureSetup) -> PictureMaker {
        PictureMaker { registry: Registry::bundled(), setup }
    }

    /// Makes one.
    pub fn make(&mut self, job: &PictureJob) -> Result<Picture, PictureFault> {
        let unusable = |error: String| PictureFault::Message(error);
        let plan = self.registry.plan(&job.type_name).map_err(|error| unusable(error.to_string()))?;
        let message = plan.decode(&job.payload).map_err(|error| unusable(error.to_string()))?;
        let (image, format) = match job.type_name.as_str() {
            COMPRESSED => compressed(&message)?,
            _ => raw::image(&message)?,
        };
        let (pixels, size) = (image.dimensions(), job.size);
        let drawing = match self.setup.kind {
            PictureKind::Ascii => Drawing::Text(text(&image, size).into()),
            kind => Drawing::Protocol(Arc::new(self.protocol(image, kind, size)?)),
        };
        Ok(Picture { pixels, format, size, is_indexed: self.setup.is_indexed, drawing })
    }

    fn protocol(
        &self,
        image: DynamicImage,
        kind: PictureKind,
        (columns, lines): (u16, u16),
    ) -> Result<Protocol, PictureFault> {
        let (width, height) = self.setup.cell;
        let cell = FontSize::new(width.max(1), height.max(1));
        #[expect(deprecated, reason = "the other constructors query the terminal, or assume its cells")]
        let mut picker = Picker::from_fontsize(cell);
        picker.set_protocol_type(match kind {
            PictureKind::Kitty => ProtocolType::Kitty,
            PictureKind::Iterm2 => ProtocolType::Iterm2,
            PictureKind::Sixel => ProtocolType::Sixel,
            PictureKind::Blocks | PictureKind::Ascii => ProtocolType::Halfblocks,
        });
        let size = Size::new(columns, lines);
        let protocol = picker.new_protocol(image, size, Resize::Scale(Some(FilterType::Triangle)));
        protocol.map_err(|error| PictureFault::Data(error.to_string()))
    }
}

/// A picture in a format of files. Its header is read first.
fn compressed(message: &Value) -> Result<(DynamicImage, String), PictureFault> {
    let Some(Value::Bytes(data)) = message.get("data") else {
        return Err(PictureFault::Data("the message has no data".to_owned()));
    };
    let unusable = |error: String| PictureFault::Data(printable(&error, REASON_CHARS));
    let reader = || ImageReader::new(Cursor::new(data.as_slice())).with_guessed_format();
    let header = reader().map_err(|error| unusable(error.to_string()))?;
    let (width, height) = header.into_dimensions().map_err(|error| unusable(error.to_string()))?;
    check_size(width, height)?;
    let mut reader = reader().map_err(|error| unusable(error.to_string()))?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_ALLOCATION);
    reader.limits(limits);
    let image = reader.decode().map_err(|error| unusable(error.to_string()))?;
    Ok((image, text_of(message, "format")))
}

fn check_size(width: u32, height: u32) -> Result<(), PictureFault> {
    match u64::from(width) * u64::from(height) {
        0 => Err(PictureFault::Data("it has no pixels".to_owned())),
        pixels if pixels > MAX_PIXELS => Err(PictureFault::TooLarge(width, height)),
        _ => Ok(()),
    }
}

fn text_of(message: &Value, field: &str) -> String {
    printable(message.get(field).and_then(Value::as_str).unwrap_or_default(), FORMAT_CHARS)
}

fn printable(text: &str, most: usize) -> String {
    crate::format::printable(&text.chars().take(most).collect::<String>())
}

/// Lines of characters, brighter ones for brighter parts.
fn text(image: &DynamicImage, (columns, lines): (u16, u16)) -> Vec<String> {
    let (width, height) = image.dimensions();
    // A cell is about twice as high as it is wide.
    let scale = (f64::from(columns) / f64::from(width)).min(2.0 * f64::from(lines) / f64::from(height));
    let columns = ((f64::from(width) * scale) as u32).clamp(1, u32::from(columns.max(1)));
    let lines = ((f64::from(height) * scale / 2.0) as u32).clamp(1, u32::from(lines.max(1)));
    let small = image.resize_exact(columns, lines, FilterType::Triangle);
    let shade = |x, y| {
        let [luma] = small.get_pixel(x, y).to_luma().0;
        SHADES[usize::from(luma) * SHADES.len() / 256]
    };
    (0..lines).map(|y| (0..columns).map(|x| shade(x, y)).collect()).collect()
}

#[cfg(test)]
mod tests;
