//! The command line.

pub mod coordination;
mod duration;
mod tls;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};
use roverline_client::Config;

pub use crate::cli::duration::parse_duration;
use crate::cli::tls::TlsArgs;
use crate::command::{self, Failure};
use crate::environment;

const EXAMPLES: &str = "\
Examples:
  roverline                                    the four endpoints of this computer
  roverline --host rover.local                 those of another
  roverline ws://10.0.0.5:8080 10.0.0.6:8080   just these
  roverline demo                               a rover that needs no hardware
  roverline demo --headless --for 10s          the same, checked without a screen
  roverline status --json | jq .rover          for scripts
  roverline stop                               the emergency stop
  roverline echo /odom --field pose.pose.position.x
  roverline locks run arm --wait 30s -- ./pick_up_sample
  roverline queues dequeue waypoints --wait 30s --ack
  roverline kv put mission/goal '[3, 4]'
  roverline events tail --follow

Endpoints come from the command line, else from ROVERLINE_ENDPOINTS (comma-separated), else they
are ports 8080 to 8083 of this computer. In the console, ? shows all keys.

Exit codes: 0 done, 1 nothing reachable, no data or refused, 2 wrong usage.";

const STOP_HELP: &str = "\
The stop is sent to every endpoint, again and again, until one accepts it and reads back that it is
engaged. Exit code 0 means exactly that. Anything else means: use the red button on the rover.

Examples:
  roverline stop --host rover.local --reason 'person in the way'
  roverline stop --release               only after everybody has left the rover";

/// Operator console for a rover's redundant telemetry endpoints.
#[derive(Debug, Parser)]
#[command(name = "roverline", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    reach: EndpointArgs,
    #[command(flatten)]
    appearance: AppearanceArgs,
    /// Log level (in ~/.local/state/roverline): error, warn, info, debug, trace, or a filter
    #[arg(long, global = true, env = "ROVERLINE_LOG", value_name = "LEVEL")]
    log_level: Option<String>,
}

/// The endpoints to connect to.
#[derive(Clone, Debug, Args)]
pub struct EndpointArgs {
    /// Endpoints: ws://HOST:PORT, wss://HOST:PORT or HOST:PORT, the preferred one first
    #[arg(value_name = "URL", conflicts_with_all = ["host", "base_port"])]
    urls: Vec<String>,
    /// Host of all four endpoints
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Port of the primary; the others follow it
    #[arg(long, value_name = "PORT")]
    base_port: Option<u16>,
    /// Token that proves your role; required to command a rover from another computer
    #[arg(long, value_name = "TOKEN", env = "ROVERLINE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    #[command(flatten)]
    tls: TlsArgs,
}

/// Appearance of the console.
#[derive(Clone, Debug, Args)]
pub struct AppearanceArgs {
    /// Name of a theme; `roverline themes` lists them
    #[arg(long, env = "ROVERLINE_THEME", value_name = "NAME")]
    pub theme: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print endpoints and rover once
    Status {
        #[command(flatten)]
        reach: EndpointArgs,
        #[command(flatten)]
        print: OutputArgs,
    },
    /// Engage the emergency stop, or release it, and check the rover's state
    #[command(after_help = STOP_HELP)]
    Stop {
        #[command(flatten)]
        reach: EndpointArgs,
        #[command(flatten)]
        args: StopArgs,
    },
    /// Print the topics with their rates
    Topics {
        #[command(flatten)]
        reach: EndpointArgs,
        #[command(flatten)]
        print: OutputArgs,
    },
    /// Print the messages of a topic
    Echo {
        /// Name of the topic
        topic: String,
        #[command(flatten)]
        reach: EndpointArgs,
        /// Print only this field, such as pose.position.x
        #[arg(long, value_name = "PATH")]
        field: Option<String>,
        /// Exit after this many messages
        #[arg(long, short = 'n', value_name = "N")]
        count: Option<u64>,
        #[command(flatten)]
        print: OutputArgs,
    },
    /// Locks: acquire, release, hand over, watch
    Locks {
        #[command(flatten)]
        reach: CoordinationEndpointArgs,
        #[command(subcommand)]
        command: Option<coordination::LocksCommand>,
    },
    /// Work queues: enqueue, dequeue, acknowledge, redrive
    Queues {
        #[command(flatten)]
        reach: CoordinationEndpointArgs,
        #[command(subcommand)]
        command: Option<coordination::QueuesCommand>,
    },
    /// Shared values by key
    Kv {
        #[command(flatten)]
        reach: CoordinationEndpointArgs,
        #[command(subcommand)]
        command: Option<coordination::KvCommand>,
    },
    /// The event log: what happened, in order
    Events {
        #[command(flatten)]
        reach: CoordinationEndpointArgs,
        #[command(flatten)]
        filter: coordination::EventFilter,
        #[command(subcommand)]
        command: Option<coordination::EventsCommand>,
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

/// The endpoints to connect to, for commands with arguments of their own.
#[derive(Clone, Debug, Args)]
pub struct CoordinationEndpointArgs {
    /// An endpoint: ws://HOST:PORT or HOST:PORT; may be repeated
    #[arg(long = "url", value_name = "URL", global = true, conflicts_with_all = ["host", "base_port"])]
    urls: Vec<String>,
    /// Host of all four endpoints
    #[arg(long, value_name = "HOST", global = true)]
    host: Option<String>,
    /// Port of the primary; the others follow it
    #[arg(long, value_name = "PORT", global = true)]
    base_port: Option<u16>,
    /// Token that proves your role; required to change something from another computer
    #[arg(long, value_name = "TOKEN", global = true, env = "ROVERLINE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    #[command(flatten)]
    tls: TlsArgs,
}

impl CoordinationEndpointArgs {
    fn config(self) -> Result<Config, Failure> {
        let CoordinationEndpointArgs { urls, host, base_port, token, tls } = self;
        let config = EndpointArgs { urls, host, base_port, token, tls }.config()?;
        // Changes are stored with a client name; without a token, this one.
        let who = command::coordination::client(std::env::var("ROVERLINE_CLIENT").ok());
        Ok(config.named(&who))
    }
}

impl EndpointArgs {
    /// The client configuration from the command line, else from the environment.
    fn config(&self) -> Result<Config, Failure> {
        self.tls.apply(Config { token: self.token.clone(), ..self.endpoints()? })
    }

    fn endpoints(&self) -> Result<Config, Failure> {
        let usage = |error: roverline_client::ConfigError| Failure::Usage(error.to_string());
        let by_url = |urls: &[&str]| {
            let urls: Vec<String> = urls.iter().map(|url| self.tls.with_scheme(url)).collect();
            Config::with_urls(&urls).map_err(usage)
        };
        if !self.urls.is_empty() {
            return by_url(&self.urls.iter().map(String::as_str).collect::<Vec<_>>());
        }
        let set = std::env::var("ROVERLINE_ENDPOINTS").ok();
        match (&self.host, self.base_port, set) {
            (None, None, Some(set)) if !set.trim().is_empty() => {
                let urls: Vec<&str> = set.split(',').map(str::trim).filter(|url| !url.is_empty()).collect();
                by_url(&urls)
            }
            (None, None, _) => Ok(self.tls.of_host(Config::local())),
            (host, port, _) => {
                let config = Config::at(host.as_deref().unwrap_or("127.0.0.1"), port.unwrap_or(8080));
                Config::with_urls(&self.tls.of_host(config).endpoints).map_err(usage)
            }
        }
    }
}

/// Parses the command line, runs the command, and returns its exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // Dropped last: it writes the remaining log lines.
    let log = environment::start_log(cli.log_level.as_deref());
    if let Err(why) = &log {
        eprintln!("roverline: {why}");
    }
    let done = run(cli);
    drop(log);
    match done {
        Ok(code) => code,
        // The reader of our output has closed it.
        Err(Failure::Io(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("roverline: {failure}");
            failure.code()
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    match cli.command {
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "roverline", &mut script);
            std::io::stdout().write_all(&script)?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Themes) => return command::themes::run(),
        _ => {}
    }
    // Two threads: drawing may wait for a slow terminal, links may not.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let done = runtime.block_on(async {
        match cli.command {
            None => command::console::run(cli.reach.config()?, cli.appearance.theme.as_deref()).await,
            Some(Command::Status { reach, print }) => command::status::run(reach.config()?, print).await,
            Some(Command::Stop { reach, args }) => command::stop::run(reach.config()?, args).await,
            Some(Command::Topics { reach, print }) => command::topics::run(reach.config()?, print).await,
            Some(Command::Echo { topic, reach, field, count, print }) => {
                let what = command::echo::What { topic, field, count, print };
                command::echo::run(reach.config()?, what).await
            }
            Some(Command::Locks { reach, command }) => {
                let command = command.unwrap_or(coordination::LocksCommand::List { json: false });
                command::coordination::locks::run(reach.config()?, command).await
            }
            Some(Command::Queues { reach, command }) => {
                let command = command.unwrap_or(coordination::QueuesCommand::List { json: false });
                command::coordination::queues::run(reach.config()?, command).await
            }
            Some(Command::Kv { reach, command }) => {
                let list = || coordination::KvCommand::all();
                command::coordination::kv::run(reach.config()?, command.unwrap_or_else(list)).await
            }
            Some(Command::Events { reach, filter, command }) => {
                command::coordination::events::run(reach.config()?, filter, command).await
            }
            Some(Command::Demo(demo)) => command::demo::run(demo).await,
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

    #[test]
    fn endpoints_by_url_by_host_and_by_default() {
        let urls = |args: &[&str]| {
            let cli = Cli::try_parse_from(args).unwrap();
            cli.reach.config().unwrap().endpoints
        };
        assert_eq!(urls(&["roverline", "a:1", "ws://b:2"]), ["ws://a:1", "ws://b:2"]);
        assert_eq!(urls(&["roverline", "--host", "a", "--base-port", "9000"])[3], "ws://a:9003");
        assert!(Cli::try_parse_from(["roverline", "a:1", "--host", "b"]).is_err());
        assert_eq!(urls(&["roverline", "--tls", "a:1", "ws://b:2"]), ["wss://a:1", "ws://b:2"]);
        assert_eq!(urls(&["roverline", "--tls", "--host", "a"])[3], "wss://a:8083");
        let missing = Cli::try_parse_from(["roverline", "--ca", "/nonexistent/ca.crt"]).unwrap();
        assert!(missing.reach.config().unwrap_err().to_string().starts_with("/nonexistent/ca.crt: "));
    }

    #[test]
    fn a_mistyped_command_is_explained() {
        let cli = Cli::try_parse_from(["roverline", "stauts"]).unwrap();
        let error = cli.reach.config().unwrap_err();
        assert!(error.to_string().contains("'stauts' is not an endpoint"), "{error}");
    }
}
