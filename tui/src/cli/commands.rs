//! Arguments of the commands that change the rover: `publish`, `call`, `action`, `param`, and `commands`, which lists them.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::cli::duration::parse_duration;

/// Examples of `roverline publish`.
pub const PUBLISH_HELP: &str = "Examples:\n  roverline publish /led --type std_msgs/msg/Bool '{data: true}'\n  \
    roverline publish /cmd_vel '{linear: {x: 0.2}}'\n\nThe message is JSON or YAML; fields that are left out have their \
    defaults. The exit code is 0 if it was handed to the writer.";
/// Examples of `roverline call`.
pub const CALL_HELP: &str = "Examples:\n  roverline call /camera/snapshot\n  roverline call /arm/enable '{data: true}'\n\n\
    The exit code is 0 if the service has answered, whatever it says.";
/// Examples of `roverline action`.
pub const ACTION_HELP: &str = "Example:\n  roverline action /arm/move '{pose: {x: 0.3}}' --type arm_msgs/action/Move\n\n\
    Waits for the result. Cancel it with: roverline cancel /arm/move ID";

/// How a command is sent.
#[derive(Clone, Debug, Args)]
pub struct CommandOptions {
    /// ROS type, such as geometry_msgs/msg/Twist; may be left out if the graph knows it
    #[arg(long = "type", value_name = "TYPE", default_value = "", hide_default_value = true)]
    pub type_name: String,
    /// Name under which the authority over the target is held, as given to 'roverline locks acquire'
    #[arg(long, env = "ROVERLINE_CLIENT", value_name = "NAME")]
    pub client: Option<String>,
    /// Fencing token of that authority; refused unless it is the newest
    #[arg(long, value_name = "N")]
    pub fencing_token: Option<u64>,
    /// Within this time it is dispatched, or not done at all
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    pub ttl: Duration,
    /// How long a service may take to answer
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    pub timeout: Duration,
    /// Command id (a UUID): the same id is done once, however often it is sent
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// Print the whole outcome as JSON
    #[arg(long)]
    pub json: bool,
}

/// A target and its body.
#[derive(Clone, Debug, Args)]
pub struct TargetArgs {
    /// Name of the topic, service or action
    #[arg(value_name = "NAME")]
    pub target: String,
    /// Message, request or goal, as JSON or YAML; '-' reads it from the standard input
    #[arg(default_value = "{}")]
    pub body: String,
    /// How it is sent.
    #[command(flatten)]
    pub options: CommandOptions,
}

/// The goal to cancel.
#[derive(Clone, Debug, Args)]
pub struct CancelArgs {
    /// Name of the action
    #[arg(value_name = "NAME")]
    pub action: String,
    /// Id of the command that sent the goal
    #[arg(value_name = "ID")]
    pub command: String,
    /// How it is sent.
    #[command(flatten)]
    pub options: CommandOptions,
}

/// `roverline param`.
#[derive(Clone, Debug, Subcommand)]
pub enum ParamCommand {
    /// Set a parameter of a node, and read it back
    #[command(after_help = "Example:\n  roverline param set /drive max_speed 0.8")]
    Set {
        /// Name of the node
        node: String,
        /// Name of the parameter
        name: String,
        /// Value, as JSON or YAML
        value: String,
        /// How it is sent.
        #[command(flatten)]
        options: CommandOptions,
    },
}

/// Filter of `roverline commands`.
#[derive(Clone, Debug, Args)]
pub struct CommandsArgs {
    /// Only in this state: accepted, dispatched, verified, failed, expired
    #[arg(long, value_name = "STATE")]
    pub state: Option<String>,
    /// Only with this target
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,
    /// Print every change as it happens
    #[arg(long)]
    pub watch: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
