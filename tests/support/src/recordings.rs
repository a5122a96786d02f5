//! Test recordings that are not part of this repository.

use std::path::{Path, PathBuf};

use crate::skip::Missing;

/// A file or folder of the shared test data.
pub fn recording(name: &str) -> Result<PathBuf, Missing> {
    let named = std::env::var_os("ROVERLINE_SHARED_DATA").map(PathBuf::from);
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|dir| dir.join("shared/data"));
    let found = named.into_iter().chain(above).map(|dir| dir.join(name)).find(|path| path.exists());
    found.ok_or_else(|| Missing::recording(format!("no shared/data/{name} (set ROVERLINE_SHARED_DATA)")))
}
