//! Leases, by the clock since the computer started: nobody sets it, and it goes on during sleep.

use rusqlite::Connection;
use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since the computer started.
pub(super) fn boot_ms() -> i64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec.saturating_mul(1_000).saturating_add(now.tv_nsec / 1_000_000)
}

/// Which start of the computer this is.
pub(super) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Ends the leases that are due, and those of an earlier start of the computer. Returns the keys
/// that go with them.
pub(super) fn expire(connection: &Connection, now_ms: i64) -> rusqlite::Result<Vec<Vec<u8>>> {
    let boot = boot_id();
    let known: String =
        connection.prepare_cached("SELECT boot FROM state")?.query_row([], |row| row.get(0))?;
    let due_ms = if known == boot { now_ms } else { i64::MAX };
    if known != boot {
        connection.execute("UPDATE state SET boot = ?1", [&boot])?;
    }
    let mut due = connection.prepare_cached("SELECT 1 FROM leases WHERE ends_ms <= ?1 LIMIT 1")?;
    if !due.exists([due_ms])? {
        return Ok(Vec::new());
    }
    let keys = connection
        .prepare_cached(
            "SELECT key FROM entries WHERE lease IN (SELECT lease FROM leases WHERE ends_ms <= ?1) ORDER BY key",
        )?
        .query_map([due_ms], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    connection.prepare_cached("DELETE FROM leases WHERE ends_ms <= ?1")?.execute([due_ms])?;
    Ok(keys)
}
