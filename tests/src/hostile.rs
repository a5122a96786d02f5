//! Hostile acts: clients without rights attack a running gateway, and the table says what that costs those
//! who have some.

mod acts;
mod good;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;
use roverline_protocol::Tier;

use crate::faults::table::table;
use crate::gateway::{self, Gateway};
use crate::hostile::acts::{ACTS, Act};
use crate::hostile::good::{Good, Measured};
use crate::temp;

/// Attacks a gateway as a client without rights, and measures what clients with rights notice.
#[derive(Debug, Parser)]
#[command(name = "hostile", max_term_width = 100)]
struct Cli {
    /// Acts by name; all if none is given
    acts: Vec<String>,
    /// Two seconds for each act instead of eight
    #[arg(long)]
    quick: bool,
    /// List the acts and exit
    #[arg(long)]
    list: bool,
}

/// What an act did to the others.
#[derive(Debug)]
pub struct Outcome {
    act: &'static str,
    measured: Measured,
    rss_mib: [u64; 3],
    restarted: bool,
}

impl Outcome {
    /// What is wrong with it, on a machine however busy.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        let measured = &self.measured;
        if self.restarted {
            failures.push("the primary was restarted".to_owned());
        }
        if measured.lost > 0 || measured.ended > 0 {
            failures.push(format!("{} samples lost, {} clients ended", measured.lost, measured.ended));
        }
        if measured.refused > 0 {
            failures.push(format!("{} requests of the operator refused", measured.refused));
        }
        failures
    }

    fn row(&self) -> Vec<String> {
        let three = |values: &[f64]| {
            let at = |part: f64| {
                let index = (values.len() as f64 * part) as usize;
                values.get(index.min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
            };
            format!("{:.0}/{:.0}/{:.0}", at(0.5), at(0.99), at(1.0))
        };
        let measured = &self.measured;
        let mut row = vec![self.act.to_owned()];
        row.extend([&measured.native, &measured.plain, &measured.lock, &measured.stop].map(|all| three(all)));
        row.extend([measured.lost, measured.refused].map(|count| count.to_string()));
        row.push(self.rss_mib.map(|mib| mib.to_string()).join("/"));
        row.push(u8::from(self.restarted).to_string());
        row
    }
}

fn rss_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) >> 10
}

/// Plays one act for this long.
fn play(act: &Act, duration: Duration) -> Outcome {
    let scratch = temp::dir();
    let file = scratch.path().join("tokens");
    let file = file.to_str().unwrap();
    let (code, token, why) =
        gateway::run(&["token", "add", "--tokens", file, "ada"], Duration::from_secs(10));
    assert_eq!(code, 0, "{why}");
    let gateway = Gateway::up(&["--source", "sim", "--loopback-role", "observer", "--tokens", file]);
    let port = gateway.port(Tier::Primary);
    let pid = gateway.endpoint_pid(Tier::Primary);
    let good = Good::start(port, token.trim());
    std::thread::sleep(Duration::from_secs(1));
    let before = rss_mib(pid);
    let stop = Arc::new(AtomicBool::new(false));
    let attacking = act.start(port, &stop);
    std::thread::sleep(duration);
    let during = rss_mib(pid);
    stop.store(true, Ordering::Relaxed);
    for attacker in attacking {
        // An attacker that fails has nothing to say.
        let _ = attacker.join();
    }
    std::thread::sleep(Duration::from_secs(1));
    let after = rss_mib(pid);
    let measured = good.finish();
    let restarted = gateway.endpoint_pid(Tier::Primary) != pid;
    Outcome { act: act.name, measured, rss_mib: [before, during, after], restarted }
}

/// Plays the act of this name for two seconds.
pub fn check(name: &str) -> Outcome {
    let act = ACTS.iter().find(|act| act.name == name).unwrap_or_else(|| panic!("there is no act {name}"));
    play(act, Duration::from_secs(2))
}

/// Plays the acts that the command line names.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.list {
        ACTS.iter().for_each(|act| println!("{:<18} {}", act.name, act.what));
        return ExitCode::SUCCESS;
    }
    let is_named = |act: &&Act| cli.acts.is_empty() || cli.acts.iter().any(|name| name == act.name);
    let duration = Duration::from_secs(if cli.quick { 2 } else { 8 });
    let mut outcomes = Vec::new();
    for act in ACTS.iter().filter(is_named) {
        eprintln!("{}: {}", act.name, act.what);
        outcomes.push(play(act, duration));
    }
    let head =
        ["act", "native ms", "plain ms", "lock ms", "stop ms", "lost", "refused", "RSS MiB", "restarts"];
    let rows: Vec<_> = outcomes.iter().map(Outcome::row).collect();
    println!("p50/p99/max of gaps and answers; resident memory before/during/after\n");
    print!("{}", table(&head, &rows));
    let mut failed = false;
    for outcome in &outcomes {
        for failure in outcome.failures() {
            println!("{}: {failure}", outcome.act);
            failed = true;
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
