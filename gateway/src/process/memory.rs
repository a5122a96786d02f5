//! The memory limit of a process: an endpoint that would take the computer's memory ends instead, and is
//! started again.
//!
//! The limit is the kernel's `RLIMIT_DATA`. `RLIMIT_AS` would count what is only reserved, such as the
//! allocator's arenas of 64 MiB each, and mapped files; an endpoint has about 130 MiB of that and 20 to 40
//! MiB of data. An allocation beyond the limit fails, which ends the process (SIGABRT).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Sets this process's limit, MiB; 0 leaves it as it is. A lower limit of the system stays.
pub fn set_limit(mib: u64) {
    let Some(limit) = limit(mib, getrlimit(Resource::Data)) else { return };
    if let Err(error) = setrlimit(Resource::Data, limit) {
        tracing::warn!(%error, mib, "the memory limit cannot be set");
    }
}

fn limit(mib: u64, before: Rlimit) -> Option<Rlimit> {
    if mib == 0 {
        return None;
    }
    let bytes = mib.saturating_mul(1 << 20);
    let current = before.maximum.map_or(bytes, |most| most.min(bytes));
    Some(Rlimit { current: Some(current), maximum: before.maximum })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_set_below_the_systems() {
        let unlimited = Rlimit { current: None, maximum: None };
        assert_eq!(limit(0, unlimited), None);
        assert_eq!(limit(64, unlimited), Some(Rlimit { current: Some(64 << 20), maximum: None }));
        let system = Rlimit { current: Some(1 << 20), maximum: Some(32 << 20) };
        assert_eq!(limit(64, system), Some(Rlimit { current: Some(32 << 20), maximum: Some(32 << 20) }));
        assert_eq!(limit(u64::MAX, unlimited).unwrap().current, Some(u64::MAX));
    }
}
