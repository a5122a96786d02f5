//! Chaos tests for coordination: processes that share a store are killed, paused and starved, and the
//! recorded histories are checked against the store's guarantees. `scripts/chaos --help` lists the
//! scenarios.

mod actor;
pub mod benchmarks;
pub mod contention;
pub mod crash;
pub mod disk;
pub mod environment;
mod history;
mod journal;
mod linearizability;
mod operations;
pub mod paused_holder;
pub mod paused_writer;
mod report;
mod store_clients;
mod worker;
mod workers;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use report::Report;

const EXAMPLES: &str = "\
Examples:
  scripts/chaos kills               four processes, 100 kills; a minute or two
  scripts/chaos kills --kills 1000  more of them
  scripts/chaos figures             latencies, compared with the bare disk
  scripts/chaos disk-full           one of the other scenarios
  scripts/chaos kills --etcd        on an own cluster of three etcd nodes; its leader is killed, too
  scripts/chaos kills --store etcd://127.0.0.1:2379,...
                                    on a running cluster that is empty

Every scenario ends by itself, and ends only processes that it started.

Exit codes: 0 all guarantees hold, 1 violations, 2 bad flags.";

/// Breaks processes that share a store, and checks the store's guarantees.
#[derive(Debug, Parser)]
#[command(name = "chaos", after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Kills processes again and again: no acknowledged write is lost, registers are linearizable, fencing
    /// tokens increase
    Kills(crash::Options),
    /// A thousand clients wait for one lock: all get it, first come, first served
    Waiters(contention::Options),
    /// Clients that wait for each other in a cycle: detected at once, the youngest refused
    Deadlock,
    /// A holder is paused for longer than its lease: its late write is rejected
    Sleep(paused_holder::Options),
    /// A process is stopped within a write: the others are refused in time, and continue afterwards
    Stall(paused_writer::Options),
    /// The wall clock is stepped by an hour: no lease expires earlier or later
    Clock,
    /// The disk is full (a small one, in a namespace): writes are refused, reads continue, it recovers
    DiskFull,
    /// The disk is read-only: writes are refused, reads continue, it recovers
    ReadOnly,
    /// The database file is overwritten, or its WAL truncated within a frame
    Corrupt,
    /// Latencies alone and under contention, and of the bare disk
    Figures(benchmarks::Options),
    /// Internal: one process of a benchmark
    #[command(hide = true)]
    Rival(benchmarks::ContendingProcess),
    /// Internal: the part of a scenario that runs on the small disk
    #[command(hide = true)]
    Inside(disk::SmallDisk),
    /// Internal: a process that performs operations on request
    #[command(hide = true)]
    Actor {
        /// The store
        #[arg(long)]
        store: String,
    },
    /// Internal: a process that puts load on the store
    #[command(hide = true)]
    Worker(worker::Options),
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let report = match &cli.command {
        Command::Worker(options) => return worker::run(options),
        Command::Kills(options) => crash::run(options),
        Command::Actor { store } => return actor::run(store),
        Command::Inside(options) => {
            println!(
                "{}",
                serde_json::to_string(&disk::run_on_small_disk(&options.scenario, &options.folder)).unwrap()
            );
            return ExitCode::SUCCESS;
        }
        Command::Rival(options) => return benchmarks::contending_process(options),
        Command::Figures(options) => benchmarks::run(options),
        Command::Sleep(options) => paused_holder::pause(options),
        Command::Stall(options) => paused_writer::run(options),
        Command::Clock => paused_holder::clock(),
        Command::DiskFull => disk::on_small_disk("disk-full"),
        Command::ReadOnly => disk::on_small_disk("read-only"),
        Command::Corrupt => disk::corrupt(),
        Command::Waiters(options) => contention::waiters(options),
        Command::Deadlock => contention::deadlock(),
    };
    print!("{report}");
    if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
