//! Opens the recording at a user-supplied path, or explains why it cannot.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::SourceError;
use crate::bag::db3::Db3Recording;
#[cfg(feature = "mcap")]
use crate::bag::mcap::McapRecording;
use crate::bag::recording::Recording;
use crate::bag::split_recording::SplitRecording;

/// The first bytes of an MCAP file (MCAP specification, "Magic").
const MCAP_MAGIC: &[u8] = b"\x89MCAP0\r\n";
/// Maximum number of files of a split recording.
const FILES: usize = 10_000;

/// Opens a recording: a file, or the directory of a rosbag2 recording with one or more files.
pub(super) fn open(path: &Path) -> Result<Box<dyn Recording>, SourceError> {
    let shown = path.display();
    let meta = std::fs::metadata(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => SourceError(format!(
            "there is no {shown}; give an .mcap or .db3 file, or the directory that `ros2 bag record` made"
        )),
        _ => SourceError(format!("cannot open {shown}: {e}")),
    })?;
    if !meta.is_dir() {
        return open_file(path);
    }
    let mut parts = Vec::new();
    for file in files(path)? {
        parts.push(open_file(&file)?);
    }
    match parts.len() {
        1 => Ok(parts.remove(0)),
        _ => Ok(Box::new(SplitRecording::new(parts))),
    }
}

/// The recording's files in a directory in natural order: recorders name the parts `_0` to `_10`.
fn files(directory: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let shown = directory.display();
    let fail = |e: std::io::Error| SourceError(format!("cannot list {shown}: {e}"));
    let (mut mcap, mut db3, mut packed) = (Vec::new(), Vec::new(), false);
    for entry in std::fs::read_dir(directory).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("mcap") => mcap.push(path),
            Some("db3") => db3.push(path),
            Some("zstd") => packed = true,
            _ => {}
        }
        if mcap.len() + db3.len() > FILES {
            return Err(SourceError(format!("{shown} has more than {FILES} recordings; give one of them")));
        }
    }
    let mut found = match (mcap.is_empty(), db3.is_empty()) {
        (false, false) => {
            return Err(SourceError(format!("{shown} has both .mcap and .db3 files; give the one to play")));
        }
        (false, true) => mcap,
        (true, false) => db3,
        (true, true) if packed => {
            return Err(SourceError(format!(
                "the files in {shown} are compressed; unpack them first: zstd -d {shown}/*.zstd"
            )));
        }
        (true, true) => {
            return Err(SourceError(format!(
                "{shown} has no .mcap or .db3 file; is it the directory that `ros2 bag record` made?"
            )));
        }
    };
    found.sort_by_cached_key(|path| natural(&path.file_name().unwrap_or_default().to_string_lossy()));
    Ok(found)
}

/// A key that sorts `bag_2` before `bag_10`.
fn natural(name: &str) -> Vec<(u128, String)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let text = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        parts.push((number.parse().unwrap_or(0), after[..text].to_owned()));
        rest = &after[text..];
    }
    parts
}

/// Opens one file. Its first bytes decide the format, not its name.
fn open_file(path: &Path) -> Result<Box<dyn Recording>, SourceError> {
    let shown = path.display();
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let fail = |e: std::io::Error| SourceError(format!("cannot open {shown}: {e}"));
    if !std::fs::metadata(path).map_err(fail)?.is_file() {
        return Err(SourceError(format!("{shown} is not a file; give an .mcap or .db3 file")));
    }
    let mut head = Vec::with_capacity(16);
    File::open(path).map_err(fail)?.take(16).read_to_end(&mut head).map_err(fail)?;
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
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            format!("{shown} is compressed as a whole; unpack it first: zstd -d {shown}")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_sort_by_number() {
        let mut names =
            ["b_10.mcap", "b_2.mcap", "b_0.mcap", "a_99999999999999999999999999999999999999999.mcap"];
        names.sort_by_cached_key(|name| natural(name));
        assert_eq!(names[1..], ["b_0.mcap", "b_2.mcap", "b_10.mcap"]);
    }
}
