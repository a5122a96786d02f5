//! Temporary directories and files.

use std::path::PathBuf;

pub use tempfile::TempDir;

/// A fresh directory; removed when dropped.
pub fn dir() -> TempDir {
    tempfile::Builder::new().prefix("roverline-test-").tempdir().unwrap()
}

/// Writes a file in the directory and returns its path.
pub fn write(dir: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}
