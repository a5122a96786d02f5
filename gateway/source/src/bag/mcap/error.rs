//! Errors of the records and chunks of an MCAP file.

use mcap::McapError;

/// Larger records are rejected. Recorders write chunks of about one megabyte.
pub(super) const MAX_RECORD: u64 = 256 << 20;

/// The texts continue "chunk at byte 123: …".
#[derive(Debug, thiserror::Error)]
pub(super) enum RecordError {
    #[error("the file ends in the middle of it")]
    Truncated,
    #[error("its header is cut off")]
    Header,
    #[error("its compression has no readable name")]
    CompressionName,
    #[error("it claims {0} MB of packed records")]
    PackedSize(u64),
    #[error("it unpacks to {0} MB, more than the {max} MB that are read at once", max = MAX_RECORD >> 20)]
    TooLarge(u64),
    #[error("it unpacks to {actual} bytes instead of {expected}")]
    UnpackedSize { actual: u64, expected: u64 },
    #[error("the record {0} bytes into its records runs past its end")]
    RecordLength(u64),
    #[error("{}", explain(.0))]
    Library(#[from] McapError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// A short text for one of the library's errors; its own text for parse errors spans many lines.
fn explain(error: &McapError) -> String {
    match error {
        McapError::BadChunkCrc { saved, calculated } => {
            format!("CRC mismatch ({calculated:08x}, recorded as {saved:08x})")
        }
        McapError::Parse(_) => "it does not parse".to_owned(),
        McapError::UnexpectedEof | McapError::UnexpectedEoc => "its records end early".to_owned(),
        McapError::UnsupportedCompression(name) => format!("the compression `{name}` is unknown"),
        other => other.to_string(),
    }
}
