//! Leases, by the clock since the computer started: nobody sets it, and it goes on during sleep.

use std::path::Path;

use rusqlite::Connection;
use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since the computer started.
pub(super) fn boot_ms() -> i64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec.saturating_mul(1_000).saturating_add(now.tv_nsec / 1_000_000)
}

/// Which start of the computer this is; why that is not known. Whoever took it for another one would
/// end all leases.
pub(super) fn boot_id() -> Result<String, String> {
    boot_id_in(Path::new("/proc/sys/kernel/random/boot_id"))
}

fn boot_id_in(file: &Path) -> Result<String, String> {
    let why = |why: &str| format!("it is not known when the computer started: {}: {why}", file.display());
    let boot = std::fs::read_to_string(file).map_err(|error| why(&error.to_string()))?;
    match boot.trim() {
        "" => Err(why("it is empty")),
        boot => Ok(boot.to_owned()),
    }
}

/// Whether a lease is due.
pub(super) fn is_due(connection: &Connection, due_ms: i64) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM leases WHERE ends_ms <= ?1 LIMIT 1")?.exists([due_ms])
}

/// Whether the store was written last since this start of the computer.
pub(super) fn is_of(connection: &Connection, boot: &str) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM state WHERE boot = ?1")?.exists([boot])
}

/// Ends the leases that are due, and those of an earlier start of the computer. Returns the keys
/// that go with them; nothing where no lease ends.
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
        assert_eq!(boot_id(), boot_id());
        let file = std::env::temp_dir().join(format!("roverline-boot-{}", std::process::id()));
        let refused = boot_id_in(&file).unwrap_err();
        assert!(refused.contains("No such file"), "{refused}");
        std::fs::write(&file, "\n").unwrap();
        let refused = boot_id_in(&file).unwrap_err();
        std::fs::remove_file(&file).unwrap();
        assert!(refused.contains("empty"), "{refused}");
    }
}
