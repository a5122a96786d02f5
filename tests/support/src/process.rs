//! Inspects and signals processes, by process id only.

use std::process::{Child, ExitStatus};
use std::time::Duration;

pub use rustix::process::Signal;
use rustix::process::{Pid, Resource, Rlimit, kill_process, prlimit};

use crate::wait::poll;

/// Sends a signal to a process that the test started, directly or indirectly.
pub fn signal(pid: u32, signal: Signal) {
    // The process may have ended in the meantime.
    let _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal);
}

/// Resumes suspended processes, the first one last.
pub fn resume(pids: &[u32]) {
    pids.iter().rev().for_each(|pid| signal(*pid, Signal::CONT));
}

/// Limits the memory for data of a process that the test started, directly or indirectly.
pub fn limit_data(pid: u32, bytes: u64) {
    let limit = Rlimit { current: Some(bytes), maximum: None };
    prlimit(Pid::from_raw(pid.cast_signed()), Resource::Data, limit).unwrap();
}

/// Whether a process exists and is not a zombie.
pub fn is_running(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z' && state != 'X')
}

/// The process state as one letter, as `ps` shows it.
pub fn state(pid: u32) -> Option<char> {
    stat(pid)?.first()?.chars().next()
}

/// The processes whose parent is `pid`.
pub fn children(pid: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| stat(*id).is_some_and(|fields| fields.get(1) == Some(&pid.to_string()))).collect()
}

/// The fields of `/proc/PID/stat` after the name: state, parent, ...
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(") ")?.1.split(' ').map(str::to_owned).collect())
}

/// Waits for a child to exit; `None` if it still runs after `patience`.
pub fn wait(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    poll(patience, || child.try_wait().unwrap())
}

/// A child process that is killed when dropped.
#[derive(Debug)]
pub struct Guard(pub Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
