//! The processes that this one has started, with all that they have started (proc_pid_stat(5)).

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tokio::time::Instant;

/// How long they may take to end after each signal.
pub(super) const GRACE: Duration = Duration::from_secs(2);
/// Interval at which their end is checked.
const POLL: Duration = Duration::from_millis(20);

/// Makes processes whose parent ends children of this one, so that they stay its descendants.
pub(super) fn adopt_orphans() -> rustix::io::Result<()> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
}

/// Asks all descendants to end, and kills those that have not done so in time.
pub(super) async fn end_all() {
    for signal in [Signal::TERM, Signal::KILL] {
        let deadline = Instant::now() + GRACE;
        let mut told = HashSet::new();
        loop {
            let left = living(rustix::process::getpid());
            if left.is_empty() {
                return;
            }
            for process in left {
                if told.insert(process) {
                    // It may have ended by itself.
                    let _ = kill_process(process, signal);
                }
            }
            if Instant::now() >= deadline {
                break;
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// Reaps orphans that have ended; until then the system keeps a zombie of each. Another function waits for `child`.
pub(super) fn reap_orphans(child: Option<u32>) {
    let this = rustix::process::getpid().as_raw_nonzero().get();
    let is_child = |process: i32| child.is_some_and(|child| u32::try_from(process) == Ok(child));
    for (process, state) in processes() {
        if state.has_ended && state.parent == this && !is_child(process) {
            // It has ended, so this does not wait.
            let _ = waitpid(Pid::from_raw(process), WaitOptions::NOHANG);
        }
    }
}

/// The descendants of a process that have not ended.
fn living(root: Pid) -> Vec<Pid> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for (process, state) in processes() {
        if !state.has_ended {
            children.entry(state.parent).or_default().push(process);
        }
    }
    let mut found = Vec::new();
    let mut parents = vec![root.as_raw_nonzero().get()];
    while let Some(parent) = parents.pop() {
        let children = children.remove(&parent).unwrap_or_default();
        found.extend(children.iter().copied().filter_map(Pid::from_raw));
        parents.extend(children);
    }
    found
}

/// What `stat` says of a process.
#[derive(Debug, PartialEq, Eq)]
struct ProcessState {
    parent: i32,
    has_ended: bool,
}

/// Every process, also those that have ended and that their parent has not taken note of.
fn processes() -> impl Iterator<Item = (i32, ProcessState)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let process = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        Some((process, state(&stat)?))
    })
}

fn state(stat: &str) -> Option<ProcessState> {
    // The name before it is in parentheses, and may contain any character.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let has_ended = matches!(fields.next()?, "Z" | "X");
    Some(ProcessState { parent: fields.next()?.parse().ok()?, has_ended })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_state_follows_a_name_with_any_character() {
        assert_eq!(state("7 (a) b) S 3 7 7 0"), Some(ProcessState { parent: 3, has_ended: false }));
        assert_eq!(state("7 (sh) Z 4 7 7 0"), Some(ProcessState { parent: 4, has_ended: true }));
        assert_eq!(state("7 (sh"), None);
        assert_eq!(state("7 (sh) S"), None);
    }

    #[test]
    fn children_of_children_are_descendants() {
        let script = "sh -c 'sleep 60 & echo up; wait' & wait";
        let mut child = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let out = child.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).unwrap();
        let root = Pid::from_child(&child);
        assert!(living(rustix::process::getpid()).contains(&root));
        let found = living(root);
        assert_eq!(found.len(), 2, "{found:?}");
        for process in found {
            kill_process(process, Signal::KILL).unwrap();
        }
        child.wait().unwrap();
        assert!(living(root).is_empty());
    }
}
