//! The proof of coordination: processes over one store are killed, stopped and starved, and what they
//! wrote down is judged. `scripts/coordination --help` says what there is.

mod actor;
pub mod asleep;
mod clients;
mod crew;
pub mod crowd;
mod dice;
pub mod disk;
pub mod figures;
pub mod ground;
mod history;
mod journal;
pub mod kills;
mod linear;
mod parts;
mod report;
pub mod stall;
mod worker;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use report::Report;

const EXAMPLES: &str = "\
Examples:
  scripts/coordination kills               four processes, 100 kills; a minute or two
  scripts/coordination kills --kills 1000  more of them
  scripts/coordination figures             how fast it is, beside the bare disk
  scripts/coordination disk-full           one of the other scenarios
  scripts/coordination kills --etcd        over three nodes of etcd of its own; their leader is killed
                                           as well
  scripts/coordination kills --store etcd://127.0.0.1:2379,...
                                           over a cluster that is empty and runs already

Every scenario ends by itself, and ends only processes that it started.

Exit codes: 0 all as it must be, 1 something was not, 2 bad flags.";

/// Breaks processes that share a store, and checks that the store kept its word.
#[derive(Debug, Parser)]
#[command(name = "coordination", after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Kills processes again and again: nothing that was acknowledged is lost, all registers are
    /// linearizable, tokens rise
    Kills(kills::Options),
    /// A thousand clients wait for one lock: all get it, in the order of asking
    Waiters(crowd::Options),
    /// Clients that wait for each other in a circle: found at once, the youngest refused
    Deadlock,
    /// A holder sleeps for longer than its lock lives: its late write is refused
    Sleep(asleep::Options),
    /// A process is stopped within a write: the others are refused in time, and go on afterwards
    Stall(stall::Options),
    /// The wall clock is stepped by an hour: no lock ends sooner or later
    Clock,
    /// The disk is full (a small one, in a namespace): writes are refused, reads go on, it recovers
    DiskFull,
    /// The disk cannot be written: the same
    ReadOnly,
    /// The file is overwritten, its log cut within a frame
    Corrupt,
    /// How long things take, alone and contending, and what the bare disk takes
    Figures(figures::Options),
    /// Internal: one process of a measurement
    #[command(hide = true)]
    Rival(figures::Rival),
    /// Internal: what runs on the small disk
    #[command(hide = true)]
    Inside(disk::Inside),
    /// Internal: a process that does what it is told
    #[command(hide = true)]
    Actor {
        /// The store
        #[arg(long)]
        store: String,
    },
    /// Internal: a process that uses the store
    #[command(hide = true)]
    Worker(worker::Options),
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let report = match &cli.command {
        Command::Worker(options) => return worker::run(options),
        Command::Kills(options) => kills::run(options),
        Command::Actor { store } => return actor::run(store),
        Command::Inside(place) => {
            println!("{}", serde_json::to_string(&disk::inside(&place.scenario, &place.folder)).unwrap());
            return ExitCode::SUCCESS;
        }
        Command::Rival(options) => return figures::rival(options),
        Command::Figures(options) => figures::run(options),
        Command::Sleep(options) => asleep::sleep(options),
        Command::Stall(options) => stall::run(options),
        Command::Clock => asleep::clock(),
        Command::DiskFull => disk::on_small_disk("disk-full"),
        Command::ReadOnly => disk::on_small_disk("read-only"),
        Command::Corrupt => disk::corrupt(),
        Command::Waiters(options) => crowd::waiters(options),
        Command::Deadlock => crowd::deadlock(),
    };
    print!("{report}");
    if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
