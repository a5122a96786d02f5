//! `roverline locks`.

use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};

use crate::cli::parse_duration;

/// What to do with locks.
#[derive(Clone, Debug, Subcommand)]
pub enum LocksCommand {
    /// Print who holds what, and who waits
    #[command(
        after_help = "Example:\n  roverline locks list --json | jq '.locks[] | select(.waiting != [])'"
    )]
    List {
        /// JSON
        #[arg(long)]
        json: bool,
    },
    /// Print it again whenever it changes
    #[command(after_help = "Example:\n  roverline locks watch --json | jq --unbuffered -c .locks")]
    Watch {
        /// JSON, one line each time
        #[arg(long)]
        json: bool,
    },
    /// Ask for a lock, and print the fencing token
    ///
    /// Without --wait it is had at once or not at all. It ends by itself after --ttl unless it is asked
    /// for again; what is asked for twice has to be released twice. Exit code 1: not held.
    #[command(after_help = "Example:\n  roverline locks acquire arm --ttl 30s --wait 1m")]
    Acquire {
        /// What is asked for, and how.
        #[command(flatten)]
        ask: LockAsk,
    },
    /// Give a lock back, or give up waiting for it
    #[command(after_help = "Example:\n  roverline locks release arm")]
    Release {
        /// What is locked
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        resource: String,
        /// Who has it; USER@HOST if it is not said
        #[arg(long, value_name = "NAME", env = "ROVERLINE_CLIENT")]
        client: Option<String>,
    },
    /// Run a command while holding a lock
    ///
    /// The lock is kept alive until the command ends, and given back then. If it is lost, or taken, the
    /// command is ended at once. Signals are passed to the command. It finds ROVERLINE_LOCK and the fencing
    /// token ROVERLINE_LOCK_TOKEN in its environment: what the lock protects should check the token, since
    /// nothing ends the command when this program itself is killed (-9).
    ///
    /// Without --client each run is a client of its own.
    ///
    /// Exit code: that of the command, 128 and the number of the signal that ended it, 127 or 126 if it
    /// cannot be started, 75 if the lock was not had or was lost.
    #[command(after_help = "Example:\n  roverline locks run arm --wait 30s -- ./pick_up_sample")]
    Run(RunWithLock),
    /// Take a lock from whoever has it; for commanders
    #[command(after_help = "Example:\n  roverline locks force arm ann@base --reason 'her link is down'")]
    Force {
        /// What is locked
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        resource: String,
        /// Who has it
        client: String,
        /// Why; the client is told
        #[arg(long)]
        reason: String,
    },
    /// Ask the holder to hand its lock over
    #[command(after_help = "Example:\n  roverline locks handover arm --message 'two minutes for a sample?'")]
    Handover {
        /// What is locked
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        resource: String,
        /// Who asks; USER@HOST if it is not said
        #[arg(long, value_name = "NAME", env = "ROVERLINE_CLIENT")]
        client: Option<String>,
        /// What the holder is told
        #[arg(long, default_value = "")]
        message: String,
        /// The lock lives so long without a sign of life
        #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
        ttl: Duration,
        /// The holder has so long to answer
        #[arg(long, value_name = "TIME", default_value = "20s", value_parser = parse_duration)]
        wait: Duration,
    },
    /// Hand a lock over to who asks for it, or refuse to
    #[command(
        after_help = "Examples:\n  roverline locks answer arm bob@base\n  roverline locks answer arm bob@base --refuse 'in the middle of it'"
    )]
    Answer {
        /// What is locked
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        resource: String,
        /// Who asks for it
        client: String,
        /// Who holds it; USER@HOST if it is not said
        #[arg(long, value_name = "NAME", env = "ROVERLINE_CLIENT")]
        holder: Option<String>,
        /// Keep it, for this reason
        #[arg(long, value_name = "REASON")]
        refuse: Option<String>,
    },
}

/// What is asked for, and how.
#[derive(Clone, Debug, Args)]
pub struct LockAsk {
    /// What is locked
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub resource: String,
    /// Others that share may hold it too
    #[arg(long)]
    pub shared: bool,
    /// Who asks; USER@HOST if it is not said
    #[arg(long, value_name = "NAME", env = "ROVERLINE_CLIENT")]
    pub client: Option<String>,
    /// The lock lives so long without a sign of life
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    pub ttl: Duration,
    /// Wait so long for it, and then give up
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub wait: Option<Duration>,
}

/// A command that needs a lock.
#[derive(Clone, Debug, Args)]
pub struct RunWithLock {
    /// What is asked for, and how.
    #[command(flatten)]
    pub ask: LockAsk,
    /// The command and its arguments, behind --
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}
