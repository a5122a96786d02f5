//! State of the Camera screen.

use std::time::Duration;

use bytes::Bytes;

use crate::model::Model;
use crate::picture::{COMPRESSED, Picture, PictureFault, RAW};

/// A picture older than this is not what the rover sees.
pub const OLD: Duration = Duration::from_secs(1);
/// A decoder that has not answered for so long is not waited for.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Lines that are not the screen's: header, messages, footer; there may be two lines of messages.
const OTHER_LINES: u16 = 4;
/// From this height on, the picture has a frame.
pub(super) const FRAMED_LINES: u16 = 8;

/// A message that waits to be decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// The type of the message.
    pub type_name: String,
    /// The message.
    pub payload: Bytes,
    /// When it was created.
    pub at: Duration,
}

/// The state.
#[derive(Debug, Default)]
pub struct State {
    /// The topic; the first one with pictures if none was chosen.
    pub chosen: Option<String>,
    /// The newest message.
    pub newest: Option<Frame>,
    /// Of which moment the message is that is being decoded, and since when.
    pub decoding: Option<(Duration, Duration)>,
    /// The number of the last job.
    pub number: u64,
    /// The last picture, and when it was taken.
    pub picture: Option<(Picture, Duration)>,
    /// Why the newest message was no picture.
    pub fault: Option<PictureFault>,
    /// The columns and lines for which the last job was.
    pub size: (u16, u16),
}

impl State {
    /// Forgets the pictures of another topic.
    pub fn clear(&mut self) {
        *self = State { chosen: self.chosen.take(), number: self.number, ..State::default() };
    }
}

/// Topics with pictures, those that are smaller on the radio first.
pub(super) fn topics(model: &Model) -> Vec<&str> {
    let of = |type_name: &'static str| {
        let rows = model.topics.rows.values();
        rows.filter(move |row| row.listed && row.info.type_name == type_name && row.info.encoding.is_cdr())
    };
    of(COMPRESSED).chain(of(RAW)).map(|row| row.info.name.as_str()).collect()
}

/// The topic that is shown.
pub fn topic(model: &Model) -> Option<String> {
    let chosen = model.screens.camera.chosen.as_ref();
    chosen.cloned().or_else(|| topics(model).first().map(|topic| (*topic).to_owned()))
}

/// Columns and lines of the picture on a terminal of this size.
pub(super) fn picture_area((columns, lines): (u16, u16)) -> (u16, u16) {
    let (width, height) = (columns.saturating_sub(2), lines.saturating_sub(OTHER_LINES));
    if height < FRAMED_LINES {
        return (width, height.saturating_sub(1));
    }
    (width.saturating_sub(2), height.saturating_sub(2))
}
