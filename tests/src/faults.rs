//! The fault matrix: breaks a running rover as the scenarios define, and measures the effect on clients.
//! `docs/faults.md` describes the scenarios and how to read the results.

mod benchmarks;
mod environment;
mod listener;
mod listener_process;
mod live_rover;
mod lying_peer;
mod matrix;
mod measure;
mod proxy;
mod scenario;
mod step;
pub(crate) mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use matrix::{Mode, Outcome, run_scenario, summary};
use scenario::Scenario;

const EXAMPLES: &str = "\
Examples:
  scripts/faults                        every scenario, one table; half an hour
  scripts/faults kill hang --trials 50  two scenarios, fifty times each
  scripts/faults --quick                all scenarios, a few minutes
  scripts/faults --live --trials 1      every scenario once, with a rover in a live ROS graph
  scripts/faults --list                 the scenarios' names
  scripts/faults rolling                a rolling restart under load
  scripts/faults soak --minutes 30      random kills for half an hour

Scenarios are files in tests/scenarios. Those with a radio need root (network namespaces and TUN).
A scenario that cannot run here is reported as skipped.

Exit codes: 0 all bounds met, 1 missed bounds, 2 bad flags or a bad scenario.";

/// Breaks a running rover in every way it should survive, and measures the effect on its clients.
#[derive(Debug, Parser)]
#[command(name = "faults", after_help = EXAMPLES, max_term_width = 100, args_conflicts_with_subcommands = true)]
struct Cli {
    /// Scenarios by name; all if none is given
    scenarios: Vec<String>,
    /// Trials of each scenario, overriding its own number
    #[arg(long, value_name = "N")]
    trials: Option<usize>,
    /// Few trials and short waits
    #[arg(long)]
    quick: bool,
    /// Use the bounds for busy machines and unoptimized binaries
    #[arg(long)]
    wide: bool,
    /// Read the rover from a live ROS graph, over DDS, instead of simulating it in each endpoint
    #[arg(long)]
    live: bool,
    /// List the scenarios and exit
    #[arg(long)]
    list: bool,
    /// Write the results of every trial as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Internal: the measuring client
    #[command(hide = true)]
    Listen(listener::Options),
    #[command(flatten)]
    Benchmark(benchmarks::Benchmark),
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match &cli.command {
        Some(Command::Listen(options)) => listener::run(options),
        Some(Command::Benchmark(figure)) => figure.run(),
        None => run(&cli),
    }
}

fn run(cli: &Cli) -> ExitCode {
    let chosen = match choose(&cli.scenarios) {
        Ok(chosen) => chosen,
        Err(why) => {
            eprintln!("faults: {why}");
            return ExitCode::from(2);
        }
    };
    if cli.list {
        for scenario in chosen {
            println!("{:<18} {}", scenario.name, scenario.title);
        }
        return ExitCode::SUCCESS;
    }
    let mode = Mode { trials: cli.trials, quick: cli.quick, wide: cli.wide, live: cli.live };
    let outcomes: Vec<Outcome> =
        chosen.iter().map(|scenario| run_scenario(scenario, mode, &|line| eprintln!("{line}"))).collect();
    println!("{}", summary(&outcomes));
    if let Some(path) = &cli.json
        && let Err(error) = std::fs::write(path, serde_json::to_string_pretty(&outcomes).unwrap())
    {
        eprintln!("faults: {}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    let failed = outcomes.iter().any(|outcome| !outcome.failures.is_empty());
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn choose(names: &[String]) -> Result<Vec<Scenario>, String> {
    let all = scenario::all()?;
    if let Some(unknown) = names.iter().find(|name| all.iter().all(|scenario| scenario.name != **name)) {
        let known: Vec<&str> = all.iter().map(|scenario| scenario.name.as_str()).collect();
        return Err(format!("there is no scenario '{unknown}'; there are {}", known.join(", ")));
    }
    Ok(all.into_iter().filter(|scenario| names.is_empty() || names.contains(&scenario.name)).collect())
}

/// Runs a scenario quickly, with the bounds for busy machines. The missed bounds as text; `Err` with the
/// reason if it cannot run here.
pub fn check(name: &str, trials: usize) -> Result<Vec<String>, String> {
    let chosen = choose(&[name.to_owned()]).unwrap_or_else(|why| panic!("{why}"));
    let mode = Mode { trials: Some(trials), quick: true, wide: true, live: false };
    let outcome = run_scenario(&chosen[0], mode, &|line| println!("{line}"));
    match outcome.skipped {
        Some(why) => Err(why),
        None => Ok(outcome.failures),
    }
}
