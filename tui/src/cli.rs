//! The command line.

pub mod alarms;
mod appearance;
pub mod commands;
pub mod coordination;
mod duration;
mod preflight;
mod reach;
mod tls;
mod token_file;
pub mod traces;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};
use roverline_client::Config;
use roverline_protocol::api::commands::CommandKind;

pub use crate::cli::appearance::AppearanceArgs;
pub use crate::cli::duration::parse_duration;
pub use crate::cli::preflight::PreflightArgs;
use crate::cli::reach::{ReachArgs, UrlArgs, UrlOption};
use crate::command::{self, Failure};
use crate::environment;

const EXAMPLES: &str = "\
Examples:
  roverline                                    the four endpoints of this computer
  roverline rover.local                        those of another
  roverline ws://10.0.0.5:8080 10.0.0.6:8080   just these
  roverline demo                               a rover that needs no hardware
  roverline demo --headless --for 10s          the same, checked without a screen
  roverline status --json | jq .rover          for scripts
  roverline stop                               the emergency stop
  roverline echo /odom --field pose.pose.position.x
  roverline publish /led --type std_msgs/msg/Bool '{data: true}'
  roverline call /camera/snapshot
  roverline locks run arm --wait 30s -- ./pick_up_sample
  roverline queues dequeue waypoints --wait 30s --ack
  roverline kv put mission/goal '[3, 4]'
  roverline events tail --follow

Endpoints come from the command line, else from ROVERLINE_ENDPOINTS (comma-separated), else they
are ports 8080 to 8083 of this computer. Options may stand before or behind a command. In the console, ? shows all keys.

Exit codes: 0 done, 1 nothing reachable, no data or refused, 2 wrong usage.";

const STOP_HELP: &str = "\
The stop is sent to every endpoint, again and again, until one accepts it and reads back that it is
engaged. Exit code 0 means exactly that. Anything else means: use the red button on the rover.

Examples:
  roverline stop --host rover.local --reason 'person in the way'
  roverline stop --release               only after everybody has left the rover";

/// Operator console for a rover's redundant telemetry endpoints.
#[derive(Debug, Parser)]
#[command(name = "roverline", version, after_help = EXAMPLES, subcommand_precedence_over_arg = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    to: UrlArgs,
    #[command(flatten)]
    reach: ReachArgs,
    #[command(flatten)]
    appearance: AppearanceArgs,
    /// Log level (in ~/.local/state/roverline): error, warn, info, debug, trace, or a filter
    #[arg(long, global = true, env = "ROVERLINE_LOG", value_name = "LEVEL")]
    log_level: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print endpoints and rover once
    Status {
        #[command(flatten)]
        to: UrlArgs,
        #[command(flatten)]
        print: OutputArgs,
    },
    /// Engage the emergency stop, or release it, and check the rover's state
    #[command(after_help = STOP_HELP)]
    Stop {
        #[command(flatten)]
        to: UrlArgs,
        #[command(flatten)]
        args: StopArgs,
    },
    /// Go or no-go before a run: endpoints, clocks, topics, battery, fix, locks, queues, alarms, stop
    #[command(after_help = preflight::HELP)]
    Preflight {
        #[command(flatten)]
        to: UrlArgs,
        #[command(flatten)]
        args: PreflightArgs,
    },
    /// Print the topics with their rates
    Topics {
        #[command(flatten)]
        to: UrlArgs,
        #[command(flatten)]
        print: OutputArgs,
    },
    /// Print the messages of a topic
    Echo {
        /// Name of the topic
        topic: String,
        #[command(flatten)]
        to: UrlArgs,
        /// Print only this field, such as pose.position.x
        #[arg(long, value_name = "PATH")]
        field: Option<String>,
        /// Exit after this many messages
        #[arg(long, short = 'n', value_name = "N")]
        count: Option<u64>,
        #[command(flatten)]
        print: OutputArgs,
    },
    /// Publish a message, once
    #[command(after_help = commands::PUBLISH_HELP)]
    Publish {
        #[command(flatten)]
        to: UrlOption,
        #[command(flatten)]
        args: commands::TargetArgs,
    },
    /// Call a service, once
    #[command(after_help = commands::CALL_HELP)]
    Call {
        #[command(flatten)]
        to: UrlOption,
        #[command(flatten)]
        args: commands::TargetArgs,
    },
    /// Send a goal to an action, and wait for its result
    #[command(after_help = commands::ACTION_HELP)]
    Action {
        #[command(flatten)]
        to: UrlOption,
        #[command(flatten)]
        args: commands::TargetArgs,
    },
    /// Cancel the goal that a command has sent
    Cancel {
        #[command(flatten)]
        to: UrlOption,
        #[command(flatten)]
        args: commands::CancelArgs,
    },
    /// Parameters of nodes
    Param {
        #[command(flatten)]
        to: UrlOption,
        #[command(subcommand)]
        command: commands::ParamCommand,
    },
    /// The newest commands and what became of them
    Commands {
        #[command(flatten)]
        to: UrlOption,
        #[command(flatten)]
        args: commands::CommandsArgs,
    },
    /// Locks: acquire, release, hand over, watch
    Locks {
        #[command(flatten)]
        to: UrlOption,
        #[command(subcommand)]
        command: Option<coordination::LocksCommand>,
    },
    /// Work queues: enqueue, dequeue, acknowledge, redrive
    Queues {
        #[command(flatten)]
        to: UrlOption,
        #[command(subcommand)]
        command: Option<coordination::QueuesCommand>,
    },
    /// Shared values by key
    Kv {
        #[command(flatten)]
        to: UrlOption,
        #[command(subcommand)]
        command: Option<coordination::KvCommand>,
    },
    /// The event log: what happened, in order
    Events {
        #[command(flatten)]
        to: UrlOption,
        #[command(flatten)]
        filter: coordination::EventFilter,
        #[command(subcommand)]
        command: Option<coordination::EventsCommand>,
    },
    /// Alarms: print them, acknowledge, shelve
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "Examples:\n  roverline alarms --follow\n  roverline alarms acknowledge --all --comment seen"
    )]
    Alarms {
        #[command(flatten)]
        to: UrlOption,
        #[command(flatten)]
        args: alarms::AlarmsArgs,
        #[command(subcommand)]
        command: Option<alarms::AlarmsCommand>,
    },
    /// Where the time of requests went: the newest, or one as a tree
    #[command(after_help = "Examples:\n  roverline traces --slow 50ms\n  roverline traces 0af76519")]
    Traces {
        #[command(flatten)]
        to: UrlOption,
        #[command(flatten)]
        args: traces::TracesArgs,
    },
    /// Start a gateway with a simulated rover and attach the console
    Demo(DemoArgs),
    /// List the themes
    Themes,
    /// Print a completion script for a shell
    #[command(
        after_help = "Example:\n  roverline completions bash > ~/.local/share/bash-completion/completions/roverline"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Output options.
#[derive(Clone, Copy, Debug, Args)]
pub struct OutputArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// How long to wait for the first data
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = parse_duration)]
    pub timeout: Duration,
}

/// Options of the emergency stop.
#[derive(Clone, Debug, Args)]
pub struct StopArgs {
    /// Release the stop instead: the rover may move again
    #[arg(long)]
    pub release: bool,
    /// Reason, for the team and for the log
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// How long to try
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    pub timeout: Duration,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Options of the demo.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Without a screen: connect to each endpoint, check what it sends, print a table
    #[arg(long)]
    pub headless: bool,
    /// Duration of the check
    #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = parse_duration, requires = "headless")]
    pub duration: Duration,
    /// Print JSON instead of a table
    #[arg(long, requires = "headless")]
    pub json: bool,
    /// Port of the primary endpoint; 0 picks free ports
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    pub base_port: u16,
    /// Seed of the simulated rover
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Fault of the simulated rover; may be repeated
    #[arg(long, value_name = "FAULT")]
    pub fault: Vec<String>,
    /// Gateway binary to start instead of the one beside this program
    #[arg(long, value_name = "PATH")]
    pub gateway: Option<std::path::PathBuf>,
    /// Appearance of the console.
    #[command(flatten)]
    pub appearance: AppearanceArgs,
}

impl Cli {
    /// The client configuration of the console or of the command.
    fn config(&self) -> Result<Config, Failure> {
        let (urls, is_coordination) = match &self.command {
            Some(
                Command::Status { to, .. }
                | Command::Stop { to, .. }
                | Command::Topics { to, .. }
                | Command::Preflight { to, .. }
                | Command::Echo { to, .. },
            ) => (&to.urls, false),
            Some(
                Command::Locks { to, .. }
                | Command::Queues { to, .. }
                | Command::Kv { to, .. }
                | Command::Events { to, .. }
                | Command::Publish { to, .. }
                | Command::Call { to, .. }
                | Command::Action { to, .. }
                | Command::Cancel { to, .. }
                | Command::Param { to, .. }
                | Command::Commands { to, .. }
                | Command::Alarms { to, .. }
                | Command::Traces { to, .. },
            ) => (&to.url, true),
            _ => (&Vec::new(), false),
        };
        let urls: Vec<String> = self.to.urls.iter().chain(urls).cloned().collect();
        let config = self.reach.config(&urls)?;
        if !is_coordination {
            return Ok(config);
        }
        // Changes are stored with a client name; without a token, this one.
        let who = command::coordination::client(std::env::var("ROVERLINE_CLIENT").ok());
        Ok(config.named(&who))
    }
}

/// Parses the command line, runs the command, and returns its exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // Dropped last: it writes the remaining log lines.
    let log = environment::start_log(cli.log_level.as_deref());
    if let Err(why) = &log {
        command::print::complain(why);
    }
    let done = run(cli);
    drop(log);
    match done {
        Ok(code) => code,
        // The reader of our output has closed it.
        Err(Failure::Io(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            command::print::complain(&failure);
            failure.code()
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    match cli.command {
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "roverline", &mut script);
            command::print::print_own(&script)?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Themes) => return command::themes::run(),
        Some(Command::Locks { command: Some(coordination::LocksCommand::Guard(guard)), .. }) => {
            return command::coordination::locks::guard::run(&guard);
        }
        _ => {}
    }
    // Two threads: drawing may wait for a slow terminal, links may not.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let config = cli.config();
    let done = runtime.block_on(async {
        match cli.command {
            None => command::console::run(config?, &cli.appearance).await,
            Some(Command::Status { print, .. }) => command::status::run(config?, print).await,
            Some(Command::Stop { args, .. }) => command::stop::run(config?, args).await,
            Some(Command::Preflight { args, .. }) => command::preflight::run(config?, args).await,
            Some(Command::Topics { print, .. }) => command::topics::run(config?, print).await,
            Some(Command::Echo { topic, field, count, print, .. }) => {
                let what = command::echo::What { topic, field, count, print };
                command::echo::run(config?, what).await
            }
            Some(Command::Locks { command, .. }) => {
                let command = command.unwrap_or(coordination::LocksCommand::List { json: false });
                command::coordination::locks::run(config?, command).await
            }
            Some(Command::Queues { command, .. }) => {
                let command = command.unwrap_or(coordination::QueuesCommand::List { json: false });
                command::coordination::queues::run(config?, command).await
            }
            Some(Command::Kv { command, .. }) => {
                let list = || coordination::KvCommand::all();
                command::coordination::kv::run(config?, command.unwrap_or_else(list)).await
            }
            Some(Command::Events { filter, command, .. }) => {
                command::coordination::events::run(config?, filter, command).await
            }
            Some(Command::Alarms { args, command, .. }) => command::alarms::run(config?, args, command).await,
            Some(Command::Traces { args, .. }) => command::traces::run(config?, args).await,
            Some(Command::Publish { args, .. }) => {
                command::commands::send(config?, CommandKind::Publish, args).await
            }
            Some(Command::Call { args, .. }) => {
                command::commands::send(config?, CommandKind::Call, args).await
            }
            Some(Command::Action { args, .. }) => {
                command::commands::send(config?, CommandKind::Goal, args).await
            }
            Some(Command::Cancel { args, .. }) => command::commands::cancel(config?, args).await,
            Some(Command::Param { command, .. }) => command::commands::param(config?, command).await,
            Some(Command::Commands { args, .. }) => command::commands::list(config?, args).await,
            Some(Command::Demo(mut demo)) => {
                demo.appearance = demo.appearance.or(cli.appearance);
                command::demo::run(demo).await
            }
            Some(Command::Themes | Command::Completions { .. }) => Ok(ExitCode::SUCCESS),
        }
    });
    // A pending terminal read must not keep the process alive.
    runtime.shutdown_timeout(Duration::from_millis(200));
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds() {
        Cli::command().debug_assert();
    }
}
