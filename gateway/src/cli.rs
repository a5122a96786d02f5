//! The command line interface: arguments, dispatch and exit codes.

mod cert;
mod commands;
mod control;
mod down;
mod error;
mod log;
mod state;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::{FalseyValueParser, PossibleValuesParser, TypedValueParser};
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use roverline_protocol::Tier;
use roverline_protocol::printable::printable_lines;

use crate::cli::error::{CliError, USAGE};
use crate::config::{Flags, UpstreamFlags};

const EXAMPLES: &str = "\
Examples:
  roverline-gateway up                          live ROS 2 on ports 8080 to 8083
  roverline-gateway up --source sim             the built-in rover, no ROS needed
  roverline-gateway serve --source bag --file run.mcap
                                                play a recording on port 8080
  roverline-gateway relay --upstream ws://rover:8080,ws://rover:8081,ws://rover:8082,ws://rover:8083
                                                serve the rover on the ground station
  roverline-gateway sim --dds                   publish the built-in rover into ROS 2
  roverline-gateway down                        end everything, whatever became of its supervisor
  roverline-gateway log debug --for 10m         log more for ten minutes
  roverline-gateway restart --rolling           go over to a new version, losing nothing
  websocat ws://127.0.0.1:8080                  listen with any WebSocket client
  curl http://127.0.0.1:8080/health             ask how the endpoint is

Exit codes: 0 stopped as asked, 1 failed, 2 bad flags or configuration.";

/// Bridges ROS 2 to four prioritized WebSocket endpoints that do not go dark.
#[derive(Debug, Parser)]
#[command(name = "roverline-gateway", version, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run all four endpoints, watched and restarted
    ///
    /// If this process dies, its endpoints serve on, and the next `up` with the same state directory adopts
    /// them without a restart. A signal (^C, SIGTERM) or `down` ends everything.
    Up(UpArgs),
    /// End a running gateway with all of its processes, also endpoints whose supervisor has died
    Down(DownArgs),
    /// Run one endpoint in this process
    Serve(ServeArgs),
    /// Serve a rover's telemetry from the ground station: one stream over the radio for any number of
    /// clients
    Relay(RelayArgs),
    /// Replace the processes of a running gateway, for example after an upgrade
    ///
    /// Tells the gateway started by `up` to replace its endpoints' processes with the program that is now
    /// installed, the emergency endpoint first and the primary one last. Each replacement warms up while
    /// its predecessor serves, then takes over the same port: no client is refused, and native clients lose
    /// no sample. If a replacement does not come up, its predecessor and the remaining endpoints keep
    /// running. The settings and the supervisor process itself stay as they were when the gateway was
    /// started; to change these, stop the gateway and start it again.
    Restart(RestartArgs),
    /// Show the processes of a running gateway
    Status(StatusArgs),
    /// Show or change the level of a running gateway's log, in all of its processes
    ///
    /// A change holds for an hour unless --for says otherwise, then the configured level is put back, so that
    /// a forgotten `debug` does not fill the disk. It also reaches processes that start meanwhile, and is
    /// itself a line of the log and an event with the name of who made it. For longer than a day, set
    /// `level` under [log] in roverline.toml. docs/logs.md describes the lines.
    #[command(after_help = log::EXAMPLES)]
    Log(log::LogArgs),
    /// Publish the built-in rover into ROS 2
    Sim(SimArgs),
    /// Manage the tokens of operators and commanders
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Make and show certificates, for TLS and for clients without tokens
    #[command(subcommand)]
    Cert(cert::CertCommand),
    /// Back up, restore and verify the shared coordination state
    #[command(subcommand)]
    State(state::StateCommand),
    /// Print the effective configuration as TOML
    Config(Flags),
    /// Print shell completions
    Completions {
        /// bash, zsh, fish, elvish or powershell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// Which endpoint
    #[arg(long, default_value = "primary", value_parser = tiers())]
    tier: Tier,
    /// Port to listen on, instead of the tier's
    #[arg(long)]
    port: Option<u16>,
    /// Another endpoint of the same rover, as TIER=HOST:PORT; may be repeated
    #[arg(long = "peer", value_name = "TIER=HOST:PORT", value_parser = parse_peer)]
    peers: Vec<(Tier, String)>,
    #[command(flatten)]
    flags: Flags,
    /// Internal: the supervisor's process id
    #[arg(long, hide = true)]
    supervised: Option<u32>,
    /// Internal: another process accepts from the socket; accept only on command
    #[arg(long, hide = true)]
    hold: bool,
}

#[derive(Debug, Args)]
struct UpArgs {
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    supervision: SupervisionFlags,
}

/// Options for endpoints that lose their supervisor.
#[derive(Debug, Args)]
struct SupervisionFlags {
    /// End the endpoints when the supervisor dies, for demos and tests
    #[arg(long, env = "ROVERLINE_DIE_WITH_SUPERVISOR", value_parser = FalseyValueParser::new())]
    die_with_supervisor: bool,
}

#[derive(Debug, Args)]
struct DownArgs {
    #[command(flatten)]
    target: Target,
}

/// Selects one of the running gateways.
#[derive(Debug, Args)]
struct Target {
    /// Port of its primary endpoint; needed if several gateways run
    #[arg(long, value_name = "PORT", env = "ROVERLINE_BASE_PORT")]
    base_port: Option<u16>,
    /// Its state directory [default: all in the XDG state directory]
    #[arg(long, value_name = "DIR", env = "ROVERLINE_STATE")]
    state: Option<PathBuf>,
    /// Its configuration file, which may name the state directory
    #[arg(long, value_name = "FILE", env = "ROVERLINE_CONFIG")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct RestartArgs {
    /// One endpoint after another, without losing anything; the only mode, but it must be given
    #[arg(long)]
    rolling: bool,
    /// Only this endpoint
    #[arg(long, value_parser = tiers())]
    tier: Option<Tier>,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
struct StatusArgs {
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
struct RelayArgs {
    #[command(flatten)]
    upstream: UpstreamFlags,
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    supervision: SupervisionFlags,
    /// Internal: the supervisor's process id
    #[arg(long, hide = true)]
    supervised: Option<u32>,
}

#[derive(Debug, Args)]
struct SimArgs {
    /// Publish as a DDS participant, so that every ROS 2 tool sees the rover
    #[arg(long)]
    dds: bool,
    #[command(flatten)]
    flags: Flags,
}

/// Parses tiers by name, so that help and completions list them.
fn tiers() -> impl TypedValueParser<Value = Tier> {
    PossibleValuesParser::new(Tier::ALL.map(Tier::name)).try_map(|name| name.parse::<Tier>())
}

fn parse_peer(text: &str) -> Result<(Tier, String), String> {
    let hint = "write TIER=HOST:PORT, for example secondary=192.168.1.11:8081";
    let (tier, address) = text.split_once('=').ok_or(hint)?;
    let tier = tier.parse().map_err(|error| format!("{error}"))?;
    match address.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
            Ok((tier, address.to_owned()))
        }
        _ => Err(hint.to_owned()),
    }
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    let result = match cli.command {
        Command::Up(args) => commands::up(&args),
        Command::Down(args) => down::down(&args),
        Command::Serve(args) => commands::serve(&args),
        Command::Restart(args) => control::restart(&args),
        Command::Status(args) => control::status(&args),
        Command::Relay(args) => commands::relay(&args),
        Command::Log(args) => log::log(&args),
        Command::Sim(args) => commands::sim(&args),
        Command::Cert(command) => cert::cert(&command),
        Command::Token(command) => token::token(&command),
        Command::State(command) => state::state(&command),
        Command::Config(flags) => commands::config(&flags),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "roverline-gateway", &mut std::io::stdout());
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(CliError { code, message }) => {
            eprintln!("roverline-gateway: {}", printable_lines(&message));
            ExitCode::from(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn peers_are_read_or_explained() {
        assert_eq!(parse_peer("secondary=rover:8081"), Ok((Tier::Secondary, "rover:8081".to_owned())));
        assert!(parse_peer("rover:8081").unwrap_err().contains("TIER=HOST:PORT"));
        assert!(parse_peer("fifth=rover:8081").unwrap_err().contains("emergency"));
    }
}
