//! The `down` command: ends a gateway with all of its processes.

use std::path::PathBuf;

use crate::cli::control::{print_text, state_directories};
use crate::cli::error::{CliError, runtime_error};
use crate::cli::{DownArgs, Target};
use crate::supervisor::down::{Ended, end_all, running};

pub(super) fn down(args: &DownArgs) -> Result<(), CliError> {
    let (shown, dirs) = state_directories(&args.target)?;
    let found = dirs.into_iter().flat_map(|dir| {
        let ports = running(&dir);
        ports.into_iter().map(move |port| (port, dir.clone())).collect::<Vec<_>>()
    });
    match choose(found.collect(), &args.target)? {
        Some(dir) => print_text(&report(&end_all(&dir))),
        None => print_text(&format!("no gateway of this user runs in {}\n", shown.display())),
    }
    Ok(())
}

/// The state directory of the only gateway that matches.
fn choose(mut found: Vec<(u16, PathBuf)>, target: &Target) -> Result<Option<PathBuf>, CliError> {
    let port = target.base_port.filter(|port| *port != 0);
    found.retain(|(found, _)| port.is_none_or(|port| port == *found));
    let several = found.iter().any(|(_, dir)| Some(dir) != found.first().map(|(_, dir)| dir));
    if several {
        let list: String =
            found.iter().map(|(port, dir)| format!("\n  --base-port {port}  {}", dir.display())).collect();
        let why = format!("several gateways run; choose one with --base-port or --state:{list}");
        return Err(runtime_error(why));
    }
    Ok(found.pop().map(|(_, dir)| dir))
}

fn report(ended: &[Ended]) -> String {
    let line = |ended: &Ended| {
        let how = if ended.killed { "did not stop in time and was killed" } else { "stopped" };
        format!("{} {how} (pid {})\n", ended.role, ended.pid)
    };
    ended.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_gateway_is_chosen_or_all_are_listed() {
        let target = |base_port| Target { base_port, state: None, config: None };
        let (a, b) = (PathBuf::from("/a"), PathBuf::from("/b"));
        let both = vec![(8_080, a.clone()), (9_000, b.clone())];
        assert_eq!(choose(Vec::new(), &target(None)).unwrap(), None);
        let why = choose(both.clone(), &target(None)).unwrap_err().message;
        assert!(why.contains("--base-port 8080  /a") && why.contains("9000"), "{why}");
        assert_eq!(choose(both.clone(), &target(Some(9_000))).unwrap(), Some(b));
        assert_eq!(choose(both, &target(Some(1))).unwrap(), None);
        // A supervisor and the endpoints of an earlier one are one gateway.
        assert_eq!(choose(vec![(8_080, a.clone()), (8_084, a.clone())], &target(None)).unwrap(), Some(a));
    }
}
