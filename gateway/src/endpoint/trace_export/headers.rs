//! Header fields of the export's requests, such as credentials, from a file. They are shown nowhere.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};

/// The largest file that is read.
const HEADERS_FILE_BYTES: u64 = 16 << 10;
/// Fields in a file.
const FILE_HEADERS: usize = 32;
/// Fields that belong to the connection or to the body.
const RESERVED: [HeaderName; 5] = [CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING];

/// Why a file of header fields cannot be used. No message shows what the file has.
#[derive(Debug, thiserror::Error)]
pub enum HeadersError {
    /// It cannot be read.
    #[error("otlp_headers_file: cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Other users may read or change it.
    #[error("otlp_headers_file: others may read {0} (mode {mode:03o}); run: chmod 600 {0}", path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is too large.
    #[error("otlp_headers_file: {} is larger than {HEADERS_FILE_BYTES} bytes or has more than {FILE_HEADERS} fields", path.display())]
    Size {
        /// The file.
        path: PathBuf,
    },
    /// A line is no header field.
    #[error("otlp_headers_file: {}:{line}: write 'Name: value', and no field of the body or the connection", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line's number.
        line: usize,
    },
}

/// Reads a file that only its owner may read: lines of `Name: value`, empty ones and comments (`#`).
pub(super) fn read_headers(path: &Path) -> Result<HeaderMap, HeadersError> {
    let path = path.to_owned();
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(source) => return Err(HeadersError::Read { path, source }),
    };
    let mode = match file.metadata() {
        Ok(about) => about.permissions().mode() & 0o777,
        Err(source) => return Err(HeadersError::Read { path, source }),
    };
    if mode & 0o077 != 0 {
        return Err(HeadersError::Permissions { path, mode });
    }
    let mut text = String::new();
    if let Err(source) = file.take(HEADERS_FILE_BYTES + 1).read_to_string(&mut text) {
        return Err(HeadersError::Read { path, source });
    }
    if text.len() as u64 > HEADERS_FILE_BYTES {
        return Err(HeadersError::Size { path });
    }
    let mut headers = HeaderMap::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, value)) = header(line) else {
            return Err(HeadersError::Line { path, line: at + 1 });
        };
        headers.append(name, value);
    }
    if headers.len() > FILE_HEADERS { Err(HeadersError::Size { path }) } else { Ok(headers) }
}

fn header(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    let name: HeaderName = name.trim().parse().ok()?;
    let mut value: HeaderValue = value.trim().parse().ok()?;
    value.set_sensitive(true);
    (!RESERVED.contains(&name)).then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, mode: u32) -> Result<HeaderMap, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("headers");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        read_headers(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn fields_are_read_and_not_shown() {
        let headers = read("# a comment\n\nAuthorization: Basic 5ec2e7:x\nx-team:  rover\n", 0o600).unwrap();
        assert_eq!(headers["authorization"], "Basic 5ec2e7:x");
        assert_eq!(headers["x-team"], "rover");
        assert!(!format!("{headers:?}").contains("5ec2e7"));
        assert_eq!(read("", 0o400), Ok(HeaderMap::new()));
    }

    #[test]
    fn what_cannot_be_used_is_named_without_its_content() {
        for (text, mode, expected) in [
            ("Authorization: 5ec2e7", 0o640, "chmod 600"),
            ("Authorization: 5ec2e7", 0o604, "chmod 600"),
            ("a: b\n5ec2e7", 0o600, ":2: write 'Name: value'"),
            ("5ec2e7 x: b", 0o600, ":1: write"),
            ("Authorization: 5ec2e7\u{7}", 0o600, ":1: write"),
            ("Host: 5ec2e7", 0o600, ":1: write"),
            ("content-length: 3", 0o600, ":1: write"),
            (&"a: b\n".repeat(FILE_HEADERS + 1), 0o600, "more than"),
            (&"# 5ec2e7\n".repeat(10_000), 0o600, "larger than"),
        ] {
            let error = read(text, mode).unwrap_err();
            assert!(error.starts_with("otlp_headers_file: ") && error.contains(expected), "{error}");
            assert!(!error.contains("5ec2e7"), "{error}");
        }
        let missing = read_headers(Path::new("/nowhere/headers")).unwrap_err().to_string();
        assert!(missing.contains("otlp_headers_file: cannot read /nowhere/headers"), "{missing}");
    }
}
