//! Opens the recording at a user-supplied path, or explains why it cannot.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::SourceError;
use crate::bag::compressed_message::ZSTD_MAGIC;
use crate::bag::db3::Db3Recording;
use crate::bag::directory;
#[cfg(feature = "mcap")]
use crate::bag::mcap::McapRecording;
use crate::bag::recording::Recording;
use crate::bag::split_recording::SplitRecording;
use crate::bag::unpacked_file::UnpackedFile;

/// The first bytes of an MCAP file (MCAP specification, "Magic").
const MCAP_MAGIC: &[u8] = b"\x89MCAP0\r\n";
/// A recording that is open.
pub(super) struct Opened {
    pub(super) recording: Box<dyn Recording>,
    /// The files that had to be unpacked for it.
    pub(super) unpacked: Vec<UnpackedFile>,
}

/// Opens a recording: a file, or the directory of a rosbag2 recording with one or more files. Compressed files are
/// unpacked into `scratch`.
pub(super) fn open(path: &Path, scratch: &Path) -> Result<Opened, SourceError> {
    let shown = path.display();
    let meta = std::fs::metadata(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => SourceError(format!(
            "there is no {shown}; give an .mcap or .db3 file, or the directory that `ros2 bag record` made"
        )),
        _ => SourceError(format!("cannot open {shown}: {e}")),
    })?;
    let files = if meta.is_dir() { directory::files(path)? } else { vec![path.to_owned()] };
    let is_split = files.len() > 1;
    let (mut parts, mut unpacked) = (Vec::new(), Vec::new());
    for file in files {
        let magic = read_magic(&file)?;
        // A recorder that splits its files may end with one that has nothing in it yet.
        if magic.is_empty() && is_split {
            tracing::warn!("{} is empty and not played", file.display());
            continue;
        }
        let part = if magic.starts_with(ZSTD_MAGIC) {
            let plain = UnpackedFile::of(&file, scratch)?;
            let part = open_file(plain.path())?;
            unpacked.push(plain);
            part
        } else {
            open_file(&file)?
        };
        if !part.is_empty() {
            parts.push(part);
        }
    }
    let recording: Box<dyn Recording> = match parts.len() {
        0 => return Err(SourceError(format!("{shown} is a recording without messages: nothing to play"))),
        1 => parts.remove(0),
        _ => Box::new(SplitRecording::new(parts)),
    };
    Ok(Opened { recording, unpacked })
}

/// The first bytes of a file.
fn read_magic(path: &Path) -> Result<Vec<u8>, SourceError> {
    let shown = path.display();
    let fail = |e: std::io::Error| SourceError(format!("cannot open {shown}: {e}"));
    if !std::fs::metadata(path).map_err(fail)?.is_file() {
        return Err(SourceError(format!("{shown} is not a file; give an .mcap or .db3 file")));
    }
    let mut head = Vec::with_capacity(16);
    File::open(path).map_err(fail)?.take(16).read_to_end(&mut head).map_err(fail)?;
    Ok(head)
}

/// Opens one file. Its first bytes decide the format, not its name.
fn open_file(path: &Path) -> Result<Box<dyn Recording>, SourceError> {
    let shown = path.display();
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let head = read_magic(path)?;
    if head.starts_with(MCAP_MAGIC) {
        return open_mcap(path, &name);
    }
    if head == b"SQLite format 3\0" {
        return Ok(Box::new(Db3Recording::open(path, &name)?));
    }
    Err(SourceError(match head.as_slice() {
        [] => format!("{shown} is empty: nothing was recorded into it; give another file"),
        head if head.starts_with(b"#ROSBAG") => {
            format!("{shown} is a ROS 1 recording; convert it to ROS 2 first (rosbags-convert)")
        }
        head if head.starts_with(ZSTD_MAGIC) => {
            format!("{shown} is compressed twice; unpack it first: zstd -d")
        }
        _ => format!("{shown} is not a recording; give an .mcap or a rosbag2 .db3 file"),
    }))
}

#[cfg(feature = "mcap")]
fn open_mcap(path: &Path, name: &str) -> Result<Box<dyn Recording>, SourceError> {
    Ok(Box::new(McapRecording::open(path, name)?))
}

#[cfg(not(feature = "mcap"))]
fn open_mcap(path: &Path, _: &str) -> Result<Box<dyn Recording>, SourceError> {
    let shown = path.display();
    Err(SourceError(format!(
        "{shown} is an MCAP file, which this build cannot read: build it without `--no-default-features`"
    )))
}
