//! What lies on the disk is for the user that runs the processes, and for nobody else.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Rights of groups and others.
const OTHERS: u32 = 0o077;

/// Makes the folder if there is none; others see nothing of it in either case.
pub(super) fn folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    close(path, 0o700);
    Ok(())
}

/// Makes an empty file of a store if there is none, so that SQLite gives those beside it the same
/// rights. Where that fails, SQLite says what is wrong.
pub(super) fn file(path: &Path) {
    if !path.exists() {
        // Never opened under its name: closing it would end the locks that this process has on it
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
        close(Path::new(&name), 0o600);
    }
}

/// Takes the rights of others away. Who may not do so, may not read it either or is not its owner.
fn close(path: &Path, mode: u32) {
    let open = path.metadata().is_ok_and(|found| found.permissions().mode() & OTHERS != 0);
    if open && let Err(error) = fs::set_permissions(path, Permissions::from_mode(mode)) {
        tracing::debug!(%error, path = %path.display(), "others may read this");
    }
}
