//! Memory, processor time and age of a process, from `/proc`.

use std::time::Duration;

/// The unit of processor time and start time in `/proc`.
const TICKS_PER_S: f64 = 100.0;

/// Current resident memory, KiB.
pub fn rss_kib(pid: u32) -> Option<f64> {
    status(pid, "VmRSS:")
}

/// Peak resident memory, KiB.
pub fn peak_rss_kib(pid: u32) -> Option<f64> {
    status(pid, "VmHWM:")
}

/// Processor time so far, seconds.
pub fn cpu_s(pid: u32) -> Option<f64> {
    Some((stat(pid, 14)? + stat(pid, 15)?) / TICKS_PER_S)
}

/// Time since the process started.
pub fn age(pid: u32) -> Option<Duration> {
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    let uptime: f64 = uptime.split(' ').next()?.parse().ok()?;
    Some(Duration::from_secs_f64((uptime - stat(pid, 22)? / TICKS_PER_S).max(0.0)))
}

fn status(pid: u32, key: &str) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_suffix(" kB")?.parse().ok())
}

/// A field of `/proc/PID/stat` by its number in proc(5).
fn stat(pid: u32, number: usize) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may contain anything; the third field follows it.
    text.rsplit_once(") ")?.1.split(' ').nth(number - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_all_of_them() {
        let own = std::process::id();
        assert!(rss_kib(own).unwrap() > 500.0 && peak_rss_kib(own).unwrap() > 500.0);
        assert!(cpu_s(own).is_some() && age(own).unwrap() < Duration::from_secs(3_600));
        assert_eq!(rss_kib(u32::MAX), None);
    }
}
