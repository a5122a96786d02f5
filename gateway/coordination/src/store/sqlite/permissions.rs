//! File permissions: store files are accessible only to the user that runs the processes.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// The permission bits of group and others.
const GROUP_AND_OTHERS: u32 = 0o077;

/// Creates the directory if needed, and removes access for others.
pub(super) fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    restrict(path, 0o700);
    Ok(())
}

/// Creates an empty store file if needed, so that SQLite gives its companion files the same permissions.
/// SQLite itself reports failures.
pub(super) fn create_file(path: &Path) {
    if !path.exists() {
        // Never opened under its own name: closing it would release the locks that this process holds on it
        // (<https://sqlite.org/howtocorrupt.html>, section 2.2).
        let draft = path.with_extension(format!("new-{}", std::process::id()));
        let made = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&draft);
        if made.is_ok() {
            // Another process may be first.
            let _ = fs::hard_link(&draft, path);
            let _ = fs::remove_file(&draft);
        }
    }
    for ending in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        restrict(Path::new(&name), 0o600);
    }
}

/// Removes access for group and others. A process that may not do this is not the owner.
fn restrict(path: &Path, mode: u32) {
    let open = path.metadata().is_ok_and(|found| found.permissions().mode() & GROUP_AND_OTHERS != 0);
    if open && let Err(error) = fs::set_permissions(path, Permissions::from_mode(mode)) {
        tracing::debug!(%error, path = %path.display(), "others may read this");
    }
}
