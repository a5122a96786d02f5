//! The memory of this process: what is in use, and its limit.

use roverline_protocol::status::MemoryDocument;
use rustix::process::{Resource, getrlimit};

/// The process's memory, as the kernel counts it.
pub(crate) fn document() -> MemoryDocument {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    MemoryDocument {
        resident_bytes: field(&status, "VmRSS:").unwrap_or_default(),
        data_bytes: field(&status, "VmData:").unwrap_or_default(),
        limit_bytes: getrlimit(Resource::Data).current,
    }
}

/// A field of `/proc/self/status`, bytes.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_figures_are_read() {
        let status = "Name:\tx\nVmRSS:\t    36372 kB\nVmData:\t   17392 kB\n";
        assert_eq!(field(status, "VmData:"), Some(17_392 << 10));
        assert_eq!(field(status, "VmSwap:"), None);
        let own = document();
        assert!(own.resident_bytes > 1 << 20 && own.data_bytes > 1 << 16, "{own:?}");
    }
}
