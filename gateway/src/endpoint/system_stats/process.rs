//! This process, as its kernel counts it.

use std::path::Path;

use procfs::process::{Stat, Status};
use procfs::{FromRead, Uptime, ticks_per_second};
use roverline_protocol::api::metrics::ProcessDocument;
use roverline_source::clock::unix_ns;
use rustix::process::{Resource, getrlimit};

pub(super) fn read(proc: &Path) -> ProcessDocument {
    let status = Status::from_file(proc.join("self/status")).ok();
    ProcessDocument {
        cpu_s: cpu_s(),
        resident_bytes: status.as_ref().and_then(|status| status.vmrss).map(|kib| kib << 10),
        virtual_bytes: status.as_ref().and_then(|status| status.vmsize).map(|kib| kib << 10),
        open_fds: std::fs::read_dir(proc.join("self/fd")).ok().map(|all| all.count() as u64),
        max_fds: getrlimit(Resource::Nofile).current,
        threads: status.map(|status| status.threads),
        start_time_s: start_time_s(proc),
    }
}

/// Processor time spent by this process, seconds.
fn cpu_s() -> f64 {
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9
}

/// When this process started, by the present clock, seconds since the Unix epoch.
fn start_time_s(proc: &Path) -> Option<f64> {
    let since_boot_s =
        Stat::from_file(proc.join("self/stat")).ok()?.starttime as f64 / ticks_per_second() as f64;
    let uptime_s = Uptime::from_file(proc.join("uptime")).ok()?.uptime;
    Some(unix_ns() as f64 / 1e9 - (uptime_s - since_boot_s).max(0.0))
}
