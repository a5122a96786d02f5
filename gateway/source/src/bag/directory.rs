//! The files of a rosbag2 directory, in playing order: those that its `metadata.yaml` names. A recorder that lost
//! power leaves none; then all recordings in the directory, in the order of their numbers.

use std::path::{Path, PathBuf};

use crate::SourceError;
use crate::bag::metadata::{self, Metadata};

/// Maximum number of files of a split recording.
const FILES: usize = 10_000;
/// The end of the name of a file that rosbag2 has compressed as a whole.
const PACKED: &str = ".zstd";

/// The files of a directory.
pub(super) fn files(directory: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let shown = directory.display();
    match metadata::read(directory) {
        Ok(Some(metadata)) => named(directory, &metadata),
        Ok(None) => listed(directory),
        Err(error) => {
            tracing::warn!("{shown}: {} is not used ({error}); all files are played by name", metadata::NAME);
            listed(directory)
        }
    }
}

/// The files that the metadata names.
fn named(directory: &Path, metadata: &Metadata) -> Result<Vec<PathBuf>, SourceError> {
    let shown = directory.display();
    if metadata.files.len() > FILES {
        return Err(SourceError(format!("{shown} has more than {FILES} recordings; give one of them")));
    }
    let zstd = metadata.compression_format.is_empty() || metadata.compression_format == "zstd";
    if metadata.compression_mode.eq_ignore_ascii_case("message") && !zstd {
        return Err(SourceError(format!(
            "the messages in {shown} are compressed with {}, which only ROS 2 can read; unpack them with `ros2 bag convert`",
            metadata.compression_format
        )));
    }
    let files = metadata.files.iter().map(|named| find(directory, named));
    let files = files.collect::<Result<Vec<PathBuf>, SourceError>>()?;
    let other = list(directory)?.into_iter().filter(|(path, _)| !files.iter().any(|file| same(file, path)));
    let other: Vec<String> = other.map(|(path, _)| path.display().to_string()).collect();
    if !other.is_empty() {
        tracing::warn!(
            "not played, because {shown}/{} does not name them: {}",
            metadata::NAME,
            other.join(", ")
        );
    }
    Ok(files)
}

/// Whether both are the same file, or one is the other one unpacked.
fn same(a: &Path, b: &Path) -> bool {
    let plain = |path: &Path| path.to_string_lossy().trim_end_matches(PACKED).to_owned();
    plain(a) == plain(b)
}

/// A file that the metadata names. Early versions of rosbag2 wrote the directory's name in front; a compressed file may
/// have been unpacked.
fn find(directory: &Path, named: &str) -> Result<PathBuf, SourceError> {
    let whole = directory.join(named);
    let name = Path::new(named).file_name().map(|name| directory.join(name));
    let unpacked = |path: &PathBuf| path.to_str()?.strip_suffix(PACKED).map(PathBuf::from);
    let candidates: Vec<PathBuf> = std::iter::once(whole).chain(name).collect();
    let candidates = candidates.iter().cloned().chain(candidates.iter().filter_map(unpacked));
    candidates.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        let shown = directory.display();
        let metadata = metadata::NAME;
        SourceError(format!(
            "{shown}/{metadata} names {named}, which is not there; restore it, or remove {metadata} to play the rest"
        ))
    })
}

/// All recordings in a directory in natural order: recorders name the parts `_0` to `_10`.
fn listed(directory: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let shown = directory.display();
    let all = list(directory)?;
    let of =
        |kind: &str| all.iter().filter(|(_, other)| other == kind).map(|(path, _)| path.clone()).collect();
    let (mcap, db3): (Vec<PathBuf>, Vec<PathBuf>) = (of("mcap"), of("db3"));
    let mut found = match (mcap.is_empty(), db3.is_empty()) {
        (false, false) => {
            return Err(SourceError(format!("{shown} has both .mcap and .db3 files; give the one to play")));
        }
        (false, true) => mcap,
        (true, false) => db3,
        (true, true) => {
            return Err(SourceError(format!(
                "{shown} has no .mcap or .db3 file; is it the directory that `ros2 bag record` made?"
            )));
        }
    };
    // A file that was unpacked is played once.
    let plain = found.clone();
    found.retain(|path| {
        path.to_str()
            .and_then(|path| path.strip_suffix(PACKED))
            .is_none_or(|unpacked| !plain.iter().any(|other| other == Path::new(unpacked)))
    });
    found.sort_by_cached_key(|path| natural(&path.file_name().unwrap_or_default().to_string_lossy()));
    Ok(found)
}

/// The recordings in a directory, each with its kind: `mcap` or `db3`.
fn list(directory: &Path) -> Result<Vec<(PathBuf, String)>, SourceError> {
    let shown = directory.display();
    let fail = |e: std::io::Error| SourceError(format!("cannot list {shown}: {e}"));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let name = path.to_string_lossy();
        let name = name.strip_suffix(PACKED).unwrap_or(&name);
        let kind = Path::new(name).extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if matches!(kind, "mcap" | "db3") {
            found.push((path.clone(), kind.to_owned()));
        }
        if found.len() > FILES {
            return Err(SourceError(format!("{shown} has more than {FILES} recordings; give one of them")));
        }
    }
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
