//! The computer: processors, load, memory, disk and uptime.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use procfs::{CpuTime, FromRead, FromReadSI, KernelStats, LoadAverage, Meminfo, Uptime, ticks_per_second};
use roverline_protocol::api::metrics::{ComputerDocument, DiskDocument};
use rustix::fs::{stat, statvfs};

use crate::endpoint::system_stats::{Roots, network, temperature};

/// Directories between the state directory and the root of its file system.
const PARENTS_DEPTH: usize = 64;

pub(super) fn read(roots: &Roots) -> ComputerDocument {
    let proc = &roots.proc;
    let kernel = KernelStats::from_file(proc.join("stat"), procfs::current_system_info()).ok();
    let load = LoadAverage::from_file(proc.join("loadavg")).ok();
    let memory = Meminfo::from_file(proc.join("meminfo")).ok();
    let (interfaces, interfaces_left_out) = network::read(proc, &roots.sys);
    let (temperatures, temperatures_left_out) = temperature::read(&roots.sys);
    ComputerDocument {
        name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        cpus: kernel.as_ref().map(|kernel| kernel.cpu_time.len()),
        cpu_s: kernel.map(|kernel| modes(&kernel.total)).unwrap_or_default(),
        load1: load.as_ref().map(|load| rounded(load.one)),
        load5: load.as_ref().map(|load| rounded(load.five)),
        load15: load.as_ref().map(|load| rounded(load.fifteen)),
        memory_total_bytes: memory.as_ref().map(|memory| memory.mem_total),
        memory_available_bytes: memory.as_ref().and_then(|memory| memory.mem_available),
        swap_total_bytes: memory.as_ref().map(|memory| memory.swap_total),
        swap_free_bytes: memory.as_ref().map(|memory| memory.swap_free),
        disk: disk(&roots.state),
        interfaces,
        interfaces_left_out,
        temperatures,
        temperatures_left_out,
        uptime_s: Uptime::from_file(proc.join("uptime")).ok().map(|uptime| uptime.uptime),
    }
}

/// The kernel writes two digits.
fn rounded(load: f32) -> f64 {
    (f64::from(load) * 100.0).round() / 100.0
}

/// Seconds by mode. The time of guests is in that of users as well, as the kernel counts.
fn modes(total: &CpuTime) -> BTreeMap<String, f64> {
    let all = [
        ("user", Some(total.user)),
        ("nice", Some(total.nice)),
        ("system", Some(total.system)),
        ("idle", Some(total.idle)),
        ("iowait", total.iowait),
        ("irq", total.irq),
        ("softirq", total.softirq),
        ("steal", total.steal),
    ];
    let seconds = |ticks: u64| ticks as f64 / ticks_per_second() as f64;
    all.into_iter().filter_map(|(mode, ticks)| Some((mode.to_owned(), seconds(ticks?)))).collect()
}

fn disk(state: &Path) -> Option<DiskDocument> {
    // Before the first start there may be no state directory yet.
    let state = state.ancestors().take(PARENTS_DEPTH).find(|path| path.exists())?;
    let disk = statvfs(state).ok()?;
    let size_bytes = disk.f_blocks.saturating_mul(disk.f_frsize);
    let available_bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
    // A file system without blocks has no size.
    let mountpoint = mountpoint(state)?.display().to_string();
    (size_bytes > 0).then_some(DiskDocument { mountpoint, size_bytes, available_bytes })
}

/// The highest directory that is on the same device.
fn mountpoint(path: &Path) -> Option<PathBuf> {
    let path = path.canonicalize().ok()?;
    let device = stat(&path).ok()?.st_dev;
    let on_device = |path: &&Path| stat(*path).is_ok_and(|stat| stat.st_dev == device);
    path.ancestors().take(PARENTS_DEPTH).take_while(on_device).last().map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of a kernel, as far as they are given.
    fn read_files(files: &[(&str, &str)]) -> ComputerDocument {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let below = |name: &str| root.path().join(name);
        read(&Roots { proc: below("proc"), sys: below("sys"), state: below("state") })
    }

    #[test]
    fn the_kernels_files_are_understood() {
        let ticks = ticks_per_second();
        let stat = format!(
            "cpu  {} 0 {} {} 0 0 0 0 0 0\ncpu0 1 0 0 1 0 0 0 0 0 0\ncpu1 1 0 0 1 0 0 0 0 0 0\nintr 0\nctxt 1\n\
             btime 1700000000\nprocesses 5\nprocs_running 1\nprocs_blocked 0\nsoftirq 0\n",
            2 * ticks,
            ticks,
            9 * ticks
        );
        let read = read_files(&[
            ("proc/stat", &stat),
            ("proc/loadavg", "0.10 1.25 15.00 1/200 4242\n"),
            ("proc/uptime", "4000.50 7000.00\n"),
        ]);
        assert_eq!(read.cpus, Some(2));
        assert_eq!((read.cpu_s["user"], read.cpu_s["system"], read.cpu_s["idle"]), (2.0, 1.0, 9.0));
        assert_eq!((read.load1, read.load5, read.load15), (Some(0.1), Some(1.25), Some(15.0)));
        assert_eq!((read.uptime_s, read.memory_total_bytes), (Some(4_000.5), None));
        assert!(read.disk.is_some(), "the nearest directory that exists");
    }

    #[test]
    fn a_file_that_makes_no_sense_is_as_none() {
        for text in ["", "\n", "cpu\n", "x y z", "-1 -1 -1", "99999999999999999999999 1 1 1/1 1"] {
            let read = read_files(&[
                ("proc/stat", text),
                ("proc/loadavg", text),
                ("proc/meminfo", text),
                ("proc/net/dev", text),
            ]);
            assert_eq!(
                (read.cpus, read.memory_total_bytes, read.interfaces.len()),
                (None, None, 0),
                "{text}"
            );
        }
    }
}
