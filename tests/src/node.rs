//! Clients that are not ours, in JavaScript: `scripts/setup-clients` installs them.

use std::path::{Path, PathBuf};

use crate::python::skipped;

/// The Node that runs them, as the first argument of [`crate::python::Script::start`]; `None` means:
/// skip, and it has been said.
pub fn node() -> Option<PathBuf> {
    let modules = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/clients/node_modules/ws"));
    if modules.exists() {
        return Some(PathBuf::from("node"));
    }
    assert!(
        std::env::var("ROVERLINE_REQUIRE_CLIENTS").as_deref() != Ok("1"),
        "the foreign clients are required here: run scripts/setup-clients"
    );
    skipped("run scripts/setup-clients");
    None
}

/// The same, with the browser that Debian installs.
pub fn browser() -> Option<PathBuf> {
    let node = node()?;
    if Path::new("/usr/bin/chromium").exists() {
        return Some(node);
    }
    assert!(
        std::env::var("ROVERLINE_REQUIRE_CLIENTS").as_deref() != Ok("1"),
        "the browser is required here: run scripts/setup-clients"
    );
    skipped("run scripts/setup-clients: there is no chromium");
    None
}
