//! Reads `metadata.yaml` of a rosbag2 directory: which files the recording has, in playing order.
//!
//! Only events of the parser are used, not a document: aliases are not expanded, and nesting costs no stack.

use std::io::Read;
use std::path::Path;

use yaml_rust2::parser::{Event, Parser};
use yaml_rust2::scanner::ScanError;

/// The file's name.
pub(super) const NAME: &str = "metadata.yaml";
/// Larger files are not read; a recording of 10,000 files needs one megabyte.
const MAX_BYTES: u64 = 16 << 20;
/// Nesting of the parts that are read; deeper ones are passed over.
const MAX_LEVELS: usize = 64;

/// What a recorder says about its recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Metadata {
    /// Paths of the files, in playing order.
    pub(super) files: Vec<String>,
    /// `FILE`, `MESSAGE`, or empty.
    pub(super) compression_mode: String,
    /// `zstd`, or the name of another plugin.
    pub(super) compression_format: String,
}

/// Why metadata is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum MetadataError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("it has more than {} MB", MAX_BYTES >> 20)]
    TooLarge,
    #[error("line {}: {}", .0.marker().line(), .0.info())]
    Yaml(#[from] ScanError),
    #[error("it names no files")]
    NoFiles,
}

/// Reads the metadata of a directory; `None` if it has none.
pub(super) fn read(directory: &Path) -> Result<Option<Metadata>, MetadataError> {
    let file = match std::fs::File::open(directory.join(NAME)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut text = String::new();
    file.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(MetadataError::TooLarge);
    }
    let metadata = parse(&text)?;
    if metadata.files.is_empty() { Err(MetadataError::NoFiles) } else { Ok(Some(metadata)) }
}

/// A mapping or a list around the current event.
enum Level {
    /// With the key whose value comes next.
    Mapping(Option<String>),
    List,
}

fn parse(text: &str) -> Result<Metadata, ScanError> {
    let mut parser = Parser::new_from_str(text);
    let (mut metadata, mut levels) = (Metadata::default(), Vec::new());
    loop {
        let (event, _) = parser.next_token()?;
        match event {
            Event::StreamEnd | Event::DocumentEnd => return Ok(metadata),
            Event::MappingStart(..) => levels.push(Level::Mapping(None)),
            Event::SequenceStart(..) => levels.push(Level::List),
            Event::MappingEnd | Event::SequenceEnd => {
                levels.pop();
                end_value(&mut levels);
            }
            Event::Scalar(value, ..) => match levels.last_mut() {
                Some(Level::Mapping(key @ None)) => *key = Some(value),
                _ => {
                    take(&mut metadata, &levels, value);
                    end_value(&mut levels);
                }
            },
            Event::Alias(_) => end_value(&mut levels),
            _ => {}
        }
        if levels.len() > MAX_LEVELS {
            return Ok(metadata);
        }
    }
}

/// The value of the current key is complete.
fn end_value(levels: &mut [Level]) {
    if let Some(Level::Mapping(key)) = levels.last_mut() {
        *key = None;
    }
}

fn take(metadata: &mut Metadata, levels: &[Level], value: String) {
    let keys: Vec<&str> = levels
        .iter()
        .map(|level| match level {
            Level::Mapping(key) => key.as_deref().unwrap_or_default(),
            Level::List => "-",
        })
        .collect();
    match keys[..] {
        ["rosbag2_bagfile_information", "relative_file_paths", "-"] => metadata.files.push(value),
        ["rosbag2_bagfile_information", "compression_mode"] => metadata.compression_mode = value,
        ["rosbag2_bagfile_information", "compression_format"] => metadata.compression_format = value,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JAZZY: &str = "rosbag2_bagfile_information:
  version: 9
  storage_identifier: mcap
  duration:
    nanoseconds: 4999
  topics_with_message_count:
    - topic_metadata:
        name: /relative_file_paths
        type: std_msgs/msg/String
        offered_qos_profiles:
          - history: keep_last
            durability: volatile
      message_count: 2
  compression_format: \"zstd\"
  compression_mode: FILE
  relative_file_paths:
    - r_1.mcap.zstd
    - 'r 0.mcap.zstd'
  files:
    - path: other.mcap
      message_count: 1
  custom_data: ~
";

    #[test]
    fn the_files_come_in_the_order_that_is_written() {
        let metadata = parse(JAZZY).unwrap();
        assert_eq!(metadata.files, ["r_1.mcap.zstd", "r 0.mcap.zstd"]);
        assert_eq!((&*metadata.compression_mode, &*metadata.compression_format), ("FILE", "zstd"));
        let flow = "{rosbag2_bagfile_information: {relative_file_paths: [a.db3, \"b.db3\"], version: 4}}";
        assert_eq!(parse(flow).unwrap().files, ["a.db3", "b.db3"]);
    }

    #[test]
    fn other_documents_name_no_files() {
        for text in ["", "a: b", "- relative_file_paths", "relative_file_paths: [a]", "~", "&a [*a, *a]"] {
            assert_eq!(parse(text).unwrap(), Metadata::default(), "{text}");
        }
        assert!(parse("a: [").is_err());
        assert!(parse("a: b: c\n\t- d").is_err());
        let deep = parse(&"[".repeat(100_000));
        assert!(deep.is_err() || deep.is_ok_and(|metadata| metadata.files.is_empty()));
        let bomb =
            "rosbag2_bagfile_information: &a {relative_file_paths: [x], b: &c [1, 2]}\nd: [*a, *a, *c]";
        assert_eq!(parse(bomb).unwrap().files, ["x"]);
    }
}
