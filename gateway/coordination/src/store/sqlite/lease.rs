//! Leases, measured in time since boot: this clock cannot be set, and it advances while the computer is
//! suspended.

use std::io;
use std::path::Path;

use rusqlite::Connection;

use crate::boot_clock;

/// Milliseconds since boot.
pub(super) fn boot_ms() -> i64 {
    i64::try_from(boot_clock::now().as_millis()).unwrap_or(i64::MAX)
}

/// The boot id of the computer. It must not be guessed: a wrong one would end all leases.
pub(super) fn boot_id() -> io::Result<String> {
    boot_id_in(Path::new("/proc/sys/kernel/random/boot_id"))
}

fn boot_id_in(file: &Path) -> io::Result<String> {
    let unknown = |kind, reason: &str| {
        io::Error::new(
            kind,
            format!("it is not known when the computer started: {}: {reason}", file.display()),
        )
    };
    let boot = std::fs::read_to_string(file).map_err(|error| unknown(error.kind(), &error.to_string()))?;
    match boot.trim() {
        "" => Err(unknown(io::ErrorKind::InvalidData, "it is empty")),
        boot => Ok(boot.to_owned()),
    }
}

/// Whether a lease is due.
pub(super) fn is_due(connection: &Connection, due_ms: i64) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM leases WHERE ends_ms <= ?1 LIMIT 1")?.exists([due_ms])
}

/// Whether the store was last written since this boot.
pub(super) fn is_of(connection: &Connection, boot: &str) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM state WHERE boot = ?1")?.exists([boot])
}

/// Ends the leases that are due, and those from before the last boot. Returns the keys that are attached to
/// them; `None` if no lease ends.
pub(super) fn expire(
    connection: &Connection,
    boot: &str,
    now_ms: i64,
) -> rusqlite::Result<Option<Vec<Vec<u8>>>> {
    let mut due_ms = now_ms;
    if !is_of(connection, boot)? {
        due_ms = i64::MAX;
        connection.execute("UPDATE state SET boot = ?1", [boot])?;
    }
    if !is_due(connection, due_ms)? {
        return Ok(None);
    }
    let keys = connection
        .prepare_cached(
            "SELECT key FROM entries WHERE lease IN (SELECT lease FROM leases WHERE ends_ms <= ?1) ORDER BY key",
        )?
        .query_map([due_ms], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    connection.prepare_cached("DELETE FROM leases WHERE ends_ms <= ?1")?.execute([due_ms])?;
    Ok(Some(keys))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_of_the_computer_is_known_or_it_is_said_why_not() {
        assert_eq!(boot_id().unwrap(), boot_id().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("boot_id");
        let refused = boot_id_in(&file).unwrap_err().to_string();
        assert!(refused.contains("No such file"), "{refused}");
        std::fs::write(&file, "\n").unwrap();
        let refused = boot_id_in(&file).unwrap_err().to_string();
        assert!(refused.contains("empty"), "{refused}");
    }
}
