//! The command line.

mod commands;
mod control;
mod state;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use roverline_protocol::Tier;

use crate::access::Role;
use crate::config::{Flags, UpstreamFlags};

/// Exit code of a run that failed.
pub const FAILED: u8 = 1;
/// Exit code of bad flags or a bad configuration.
pub const USAGE: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  roverline-gateway up                          live ROS 2 on ports 8080 to 8083
  roverline-gateway up --source sim             the built-in rover, no ROS needed
  roverline-gateway serve --source bag --file run.mcap
                                                play a recording on port 8080
  roverline-gateway relay --upstream ws://rover:8080,ws://rover:8081,ws://rover:8082,ws://rover:8083
                                                serve the rover on the ground station
  roverline-gateway sim --dds                   publish the built-in rover into ROS 2
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
    Up(Flags),
    /// Run one endpoint in this process
    Serve(ServeArgs),
    /// Serve a rover's telemetry from the ground station: one stream over the radio, however many listen
    Relay(RelayArgs),
    /// Replace the processes of a running gateway, as after an upgrade
    ///
    /// Tells the gateway that `up` started to replace its endpoints' processes with the program that is
    /// now installed, the emergency endpoint first and the primary one last. Each replacement warms up
    /// while its predecessor serves, then takes over the same port: no client is refused, and native
    /// clients lose no sample. If a replacement does not come up, its predecessor goes on, and so do the
    /// endpoints whose turn it would have been. Settings stay as they were when the gateway was
    /// started, and so does the supervising process itself: to change these, stop it and start it again.
    Restart(RestartArgs),
    /// Show the processes of a running gateway
    Status(StatusArgs),
    /// Publish the built-in rover into ROS 2
    Sim(SimArgs),
    /// Tokens, by which operators and commanders prove who they are
    #[command(subcommand)]
    Token(TokenCommand),
    /// What the team shares, as a file: keep a copy, put it back, verify it
    #[command(subcommand)]
    State(state::StateCommand),
    /// Print the configuration in force as TOML
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
    /// Internal: another process accepts from the socket, wait for the word
    #[arg(long, hide = true)]
    hold: bool,
}

/// Which of the running gateways is meant.
#[derive(Debug, Args)]
struct Target {
    /// Port of its primary endpoint; needed when several run
    #[arg(long, value_name = "PORT", env = "ROVERLINE_BASE_PORT")]
    base_port: Option<u16>,
    /// Its directory for state [default: all in the XDG state directory]
    #[arg(long, value_name = "DIR", env = "ROVERLINE_STATE")]
    state: Option<PathBuf>,
    /// Its configuration file, for the directory that it names
    #[arg(long, value_name = "FILE", env = "ROVERLINE_CONFIG")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct RestartArgs {
    /// One endpoint after another, with nothing lost; the only way offered, to be said in full
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
    /// Internal: the supervisor's process id
    #[arg(long, hide = true)]
    supervised: Option<u32>,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token for somebody, add it to the file, and print it
    ///
    /// Give it to its holder over a way that others do not read. Clients show it as
    /// `Authorization: Bearer TOKEN`, as `?token=TOKEN`, or in their first message. A gateway that runs
    /// takes it up at its next start: `roverline-gateway restart --rolling`.
    Add {
        /// The file; it is made if there is none, readable by its owner only
        #[arg(long, value_name = "FILE", env = "ROVERLINE_TOKENS")]
        tokens: PathBuf,
        /// What its holder may do
        #[arg(long, value_enum, default_value = "operator")]
        role: Role,
        /// Its holder's name, shown in logs
        name: String,
    },
}

#[derive(Debug, Args)]
struct SimArgs {
    /// Publish as a DDS participant, so that every ROS 2 tool sees the rover
    #[arg(long)]
    dds: bool,
    #[command(flatten)]
    flags: Flags,
}

/// Tiers by name, so that help and completions list them.
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
        Command::Up(flags) => commands::up(&flags),
        Command::Serve(args) => commands::serve(&args),
        Command::Restart(args) => control::restart(&args),
        Command::Status(args) => control::status(&args),
        Command::Relay(args) => commands::relay(&args),
        Command::Sim(args) => commands::sim(&args),
        Command::Token(command) => commands::token(&command),
        Command::State(command) => state::state(&command),
        Command::Config(flags) => commands::config(&flags),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "roverline-gateway", &mut std::io::stdout());
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, why }) => {
            eprintln!("roverline-gateway: {why}");
            ExitCode::from(code)
        }
    }
}

/// Why a command ended: an exit code and a sentence.
struct Failure {
    code: u8,
    why: String,
}

/// Says on standard output that these endpoints listen: a table for people at a terminal, one line
/// `ready {json}` for programs.
pub fn say_ready(endpoints: &[(Tier, String, u16)]) {
    if std::io::IsTerminal::is_terminal(&std::io::stdout()) {
        let mut table = String::from("Serving; ^C ends it.\n");
        for (tier, address, port) in endpoints {
            let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
            table += &format!("  {tier:<10} ws://{host}:{port}\n");
        }
        let _ = std::io::Write::write_all(&mut std::io::stdout(), table.as_bytes());
        return;
    }
    let list: Vec<_> = endpoints
        .iter()
        .map(|(tier, address, port)| {
            let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
            serde_json::json!({"tier": tier, "url": format!("ws://{host}:{port}")})
        })
        .collect();
    let line = format!("ready {}\n", serde_json::json!({"endpoints": list}));
    // Nobody may be reading; that is no reason to stop.
    let _ = std::io::Write::write_all(&mut std::io::stdout(), line.as_bytes());
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
