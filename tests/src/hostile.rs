//! Hostile acts: clients without rights attack a running gateway, and a table shows the effect on clients with
//! rights.

mod acts;
mod outcome;
mod target;
mod tls;
mod well_behaved;

use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Parser;
use roverline_protocol::Tier;
use roverline_protocol::status::EventKind;

use crate::certs::Certs;
use crate::disk_stall::DiskWatch;
use crate::faults::table::table;
use crate::gateway::{self, Gateway};
use crate::hostile::acts::ACTS;
use crate::hostile::outcome::{HEAD, Outcome, is_released};
use crate::hostile::target::{Act, Target};
use crate::hostile::well_behaved::WellBehavedClients;
use crate::http;
use crate::temp::{self, TempDir};
use crate::usage;
use crate::wait::poll;

/// How long memory may take to be released: unread responses are dropped after five seconds.
const MEMORY_PATIENCE: Duration = Duration::from_secs(12);

/// Attacks a gateway as a client without rights, and measures the effect on clients with rights.
#[derive(Debug, Parser)]
#[command(name = "hostile", max_term_width = 100)]
struct Cli {
    /// Acts by name; all if none is given. A measurement without an attack always comes first
    acts: Vec<String>,
    /// How long each act takes, in seconds
    #[arg(long, value_name = "N", default_value_t = 8)]
    seconds: u64,
    /// Two seconds for each act
    #[arg(long)]
    quick: bool,
    /// List the acts and exit
    #[arg(long)]
    list: bool,
}

fn rss_mib(pid: u32) -> u64 {
    usage::rss_kib(pid).unwrap_or(0.0) as u64 >> 10
}

/// A token of an operator with this name.
fn operator(scratch: &TempDir, name: &str) -> String {
    let file = scratch.path().join("tokens");
    let args = ["token", "add", "--tokens", file.to_str().unwrap(), name];
    let (code, token, why) = gateway::run(&args, Duration::from_secs(10));
    assert_eq!(code, 0, "{why}");
    token.trim().to_owned()
}

fn pids(gateway: &Gateway) -> Vec<u32> {
    gateway.endpoints.iter().map(|(tier, _)| gateway.endpoint_pid(*tier)).collect()
}

/// The part of a configuration file about these certificates.
fn tls_table(certs: &Certs) -> String {
    let (cert, key) = (certs.file("rover.local.crt"), certs.file("rover.local.key"));
    format!("[tls]\ncert = \"{cert}\"\nkey = \"{key}\"\n")
}

/// The acts whose requests write to the disk.
const WRITING: &[&str] = &["values", "messages", "events", "lock_theft", "stop_attempts"];

/// Runs one act for this long.
fn run_act(act: &Act, duration: Duration) -> Outcome {
    let scratch = temp::dir();
    let (ada, eve) = (operator(&scratch, "ada"), operator(&scratch, "eve"));
    let rover = format!("hostile-{}-{}", std::process::id(), act.name.replace('_', "-"));
    let certs = act.tls.then(|| Certs::with_node("rover.local"));
    let tls = certs.as_ref().map(|certs| tls::config(&certs.path("ca.crt")));
    let config =
        format!("[gateway]\nrover = \"{rover}\"\n{}", certs.as_ref().map(tls_table).unwrap_or_default());
    let config = temp::write(&scratch, "roverline.toml", &config);
    let (config, tokens) = (config.to_str().unwrap(), scratch.path().join("tokens"));
    let mdns = if act.mdns { "on" } else { "off" };
    let access = ["--loopback-role", "observer", "--tokens", tokens.to_str().unwrap()];
    let gateway =
        Gateway::up(&[&["--source", "sim", "--config", config, "--mdns", mdns][..], &access].concat());
    let port = gateway.port(Tier::Primary);
    let before_pids = pids(&gateway);
    let disk = DiskWatch::start(scratch.path());
    let clients = WellBehavedClients::start(port, &ada, tls.clone());
    std::thread::sleep(Duration::from_secs(1));
    let before = rss_mib(before_pids[0]);
    let target = Target::new(Tier::ALL.map(|tier| gateway.port(tier)), &eve, &rover, tls);
    let attacking = act.start(&target);
    std::thread::sleep(duration);
    let during = rss_mib(before_pids[0]);
    let count = target.count.load(Ordering::Relaxed);
    target.end();
    for attacker in attacking {
        // A panic of an attacker does not matter: the other clients are measured.
        let _ = attacker.join();
    }
    // The well-behaved clients go on for a moment: late effects count as well.
    std::thread::sleep(Duration::from_secs(1));
    let measured = clients.finish();
    let disk_ms = disk.finish();
    let given_back = || Some(rss_mib(before_pids[0])).filter(|after| is_released(before, *after));
    let after = poll(MEMORY_PATIENCE, given_back).unwrap_or_else(|| rss_mib(before_pids[0]));
    let restarts = pids(&gateway).iter().zip(&before_pids).filter(|(now, before)| now != before).count();
    let events = http::status(gateway.port(Tier::Secondary)).events;
    let promoted = events.iter().any(|event| event.kind == EventKind::Promotion);
    let rate = count as f64 / duration.as_secs_f64();
    let writes = WRITING.contains(&act.name);
    Outcome {
        act: act.name,
        measured,
        rss_mib: [before, during, after],
        restarts,
        promoted,
        rate,
        disk_ms,
        writes,
    }
}

/// Runs the act of this name for two seconds.
pub fn check(name: &str) -> Outcome {
    let act = ACTS.iter().find(|act| act.name == name).unwrap_or_else(|| panic!("there is no act {name}"));
    run_act(act, Duration::from_secs(2))
}

/// Runs the acts that the command line names, and compares the results with the limits.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.list {
        ACTS.iter().for_each(|act| println!("{:<18} {}", act.name, act.description));
        return ExitCode::SUCCESS;
    }
    if let Some(name) = cli.acts.iter().find(|name| ACTS.iter().all(|act| act.name != **name)) {
        eprintln!("there is no act {name}; --list lists them");
        return ExitCode::FAILURE;
    }
    // The first one is the baseline of the others.
    let is_named = |(at, act): &(usize, &Act)| {
        *at == 0 || cli.acts.is_empty() || cli.acts.iter().any(|name| name == act.name)
    };
    let duration = Duration::from_secs(if cli.quick { 2 } else { cli.seconds });
    let mut outcomes = Vec::new();
    for (_, act) in ACTS.iter().enumerate().filter(is_named) {
        eprintln!("{}: {}", act.name, act.description);
        outcomes.push(run_act(act, duration));
    }
    let baseline = &outcomes[0].measured;
    let rows: Vec<_> = outcomes.iter().map(|outcome| outcome.row(baseline)).collect();
    println!("p50/p99/max of gaps and answers; resident memory before/during/after\n");
    print!("{}", table(&HEAD, &rows));
    let mut failed = false;
    for outcome in &outcomes {
        for failure in outcome.failures().into_iter().chain(outcome.excesses(baseline)) {
            println!("{}: {failure}", outcome.act);
            failed = true;
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
