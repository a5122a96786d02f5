//! Recordings that the tests read and that are not part of the project.

use std::path::{Path, PathBuf};

/// A file or folder of the shared test data; `None` means: skip, and it has been said.
pub fn shared(name: &str) -> Option<PathBuf> {
    let named = std::env::var_os("ROVERLINE_SHARED_DATA").map(PathBuf::from);
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|dir| dir.join("shared/data"));
    let found = named.into_iter().chain(above).map(|dir| dir.join(name)).find(|path| path.exists());
    if found.is_none() {
        assert!(std::env::var("ROVERLINE_REQUIRE_SHARED").as_deref() != Ok("1"), "{name} is required here");
        crate::python::skipped(&format!("no shared/data/{name} (set ROVERLINE_SHARED_DATA)"));
    }
    found
}
