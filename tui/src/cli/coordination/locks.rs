//! `roverline locks`.

use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};

use crate::cli::parse_duration;

/// Subcommands for locks.
#[derive(Clone, Debug, Subcommand)]
pub enum LocksCommand {
    /// Print holders and waiters
    #[command(
        after_help = "Example:\n  roverline locks list --json | jq '.locks[] | select(.waiting != [])'"
    )]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the list again after every change
    #[command(after_help = "Example:\n  roverline locks watch --json | jq --unbuffered -c .locks")]
    Watch {
        /// Print JSON, one line each time
        #[arg(long)]
        json: bool,
    },
    /// Acquire a lock and print its fencing token
    ///
    /// Without --wait, a lock held by others is refused at once. A lock expires after --ttl unless
    /// it is acquired again; each acquire needs its own release. Exit code 1: not acquired.
    #[command(after_help = "Example:\n  roverline locks acquire arm --ttl 30s --wait 1m")]
    Acquire {
        /// The lock to acquire.
        #[command(flatten)]
        args: LockArgs,
    },
    /// Release a lock, or stop waiting for it
    #[command(after_help = "Example:\n  roverline locks release arm")]
    Release {
        /// The locked resource
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        resource: String,
        /// The client that holds it; USER@HOST if not given
        #[arg(long, value_name = "NAME", env = "ROVERLINE_CLIENT")]
        client: Option<String>,
    },
    /// Run a command while holding a lock
    ///
    /// The lock is kept alive while the command runs and released afterwards. If the lock is lost
    /// or taken, the command is ended at once. Signals are passed to the command. Its environment
    /// has ROVERLINE_LOCK and the fencing token ROVERLINE_LOCK_TOKEN; the protected resource should
    /// check the token, because the command has two seconds to end.
    ///
    /// What the command has started ends with it, also if it runs in the background, and if this
    /// program itself is killed (-9).
    ///
    /// Without --client each run is a client of its own.
    ///
    /// Exit code: that of the command; 128 plus the number of the signal that ended it; 127 or 126
    /// if it cannot be started; 75 if the lock could not be acquired or was lost.
    #[command(after_help = "Example:\n  roverline locks run arm --wait 30s -- ./pick_up_sample")]
    Run(RunWithLock),
    /// The process between `locks run` and its command, started by it
    #[command(hide = true)]
    Guard(GuardArgs),
    /// Take a lock away from its holder; for commanders
    #[command(after_help = "Example:\n  roverline locks force arm ann@base --reason 'her link is down'")]
    Force {
        /// The locked resource
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        resource: String,
        /// The holder
        client: String,
        /// The reason, reported to the holder
        #[arg(long)]
        reason: String,
    },
    /// Ask the holder to hand over its lock
    #[command(after_help = "Example:\n  roverline locks handover arm --message 'two minutes for a sample?'")]
    Handover {
        /// The locked resource
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        resource: String,
        /// The requesting client; USER@HOST if not given
        #[arg(long, value_name = "NAME", env = "ROVERLINE_CLIENT")]
        client: Option<String>,
        /// Message for the holder
        #[arg(long, default_value = "")]
        message: String,
        /// Time to live of the lock without a sign of life
        #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
        ttl: Duration,
        /// How long the holder may take to answer
        #[arg(long, value_name = "TIME", default_value = "20s", value_parser = parse_duration)]
        wait: Duration,
    },
    /// Hand a lock over to the requesting client, or refuse
    #[command(
        after_help = "Examples:\n  roverline locks answer arm bob@base\n  roverline locks answer arm bob@base --refuse 'in the middle of it'"
    )]
    Answer {
        /// The locked resource
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        resource: String,
        /// The requesting client
        client: String,
        /// The holder; USER@HOST if not given
        #[arg(long, value_name = "NAME", env = "ROVERLINE_CLIENT")]
        holder: Option<String>,
        /// Refuse, with this reason
        #[arg(long, value_name = "REASON")]
        refuse: Option<String>,
    },
}

/// The lock to acquire.
#[derive(Clone, Debug, Args)]
pub struct LockArgs {
    /// The resource to lock
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub resource: String,
    /// Shared: other shared holders are allowed
    #[arg(long)]
    pub shared: bool,
    /// The client; USER@HOST if not given
    #[arg(long, value_name = "NAME", env = "ROVERLINE_CLIENT")]
    pub client: Option<String>,
    /// Time to live of the lock without a sign of life
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    pub ttl: Duration,
    /// How long to wait for the lock
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub wait: Option<Duration>,
}

/// A command that runs under a lock.
#[derive(Clone, Debug, Args)]
pub struct RunWithLock {
    /// The lock to acquire.
    #[command(flatten)]
    pub args: LockArgs,
    /// The command and its arguments, after --
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// `locks guard`.
#[derive(Clone, Debug, Args)]
pub struct GuardArgs {
    /// The process that holds the lock
    #[arg(long)]
    pub parent: i32,
    /// The command and its arguments, after --
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}
