//! `roverline queues`.

use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};

use crate::cli::parse_duration;

/// Subcommands for queues.
#[derive(Clone, Debug, Subcommand)]
pub enum QueuesCommand {
    /// Print all queues
    #[command(after_help = "Example:\n  roverline queues list --json | jq '.queues[] | select(.dead > 0)'")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the queues again after every change
    #[command(after_help = "Example:\n  roverline queues watch --json | jq --unbuffered .queues[0].ready")]
    Watch {
        /// Print JSON, one line each
        #[arg(long)]
        json: bool,
    },
    /// Print one queue
    #[command(after_help = "Example:\n  roverline queues status waypoints")]
    Status {
        /// The queue
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        queue: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Enqueue a message and print its id
    ///
    /// The queue is created if it does not exist. A message is stored once its id is printed; a
    /// request repeated after a lost endpoint enqueues it once.
    #[command(
        after_help = "Examples:\n  roverline queues enqueue waypoints '{\"x\": 3, \"y\": 4}' --priority 5\n  \
                            jq .goal mission.json | roverline queues enqueue waypoints -"
    )]
    Enqueue(EnqueueArgs),
    /// Dequeue messages: prints id, delivery and message, separated by tabs
    ///
    /// A message is hidden from other consumers for --visibility; without an acknowledgement by
    /// then it is delivered again. Exit code 1: the queue was empty.
    #[command(after_help = "Examples:\n  roverline queues dequeue waypoints --wait 30s --ack\n  \
                            roverline queues dequeue waypoints | while IFS=$(printf '\\t') read -r id n message; do\n    \
                            ./drive_to \"$message\" && roverline queues ack \"$id\"\n  done")]
    Dequeue(DequeueArgs),
    /// Acknowledge messages: they are never delivered again
    ///
    /// A message belongs to the identity (the token) that took it. Its own worker acknowledges it, also
    /// when its time is over, unless another one has taken it since. A commander may discard any message
    /// with --force and a reason; the event log keeps both.
    #[command(after_help = "Examples:\n  roverline queues ack waypoints:0:7:00000000000000ab\n  \
                            roverline queues ack waypoints:0:7:00000000000000ab --force --reason 'done by hand'")]
    Ack {
        /// The ids printed by `dequeue`
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        /// Only if this is the newest delivery
        #[arg(long, value_name = "N")]
        delivery: Option<u32>,
        /// Discard it, whoever has taken it or if nobody has; for commanders
        #[arg(long, requires = "reason")]
        force: bool,
        /// Why it is discarded; it is recorded in the event log
        #[arg(long, requires = "force")]
        reason: Option<String>,
        /// Print JSON, one line each
        #[arg(long)]
        json: bool,
    },
    /// Return a message, now or after a delay
    ///
    /// Only the identity (the token) that took a message can return it. A commander may take it from its
    /// worker with --force and a reason, and others can take it then; the event log keeps both.
    #[command(
        after_help = "Examples:\n  roverline queues nak waypoints:0:7:00000000000000ab --delay 10s --reason 'wheel stuck'\n  \
                            roverline queues nak waypoints:0:7:00000000000000ab --force --reason 'her link is down'"
    )]
    Nak {
        /// The id printed by `dequeue`
        id: String,
        /// Delay before it can be dequeued again
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        delay: Option<Duration>,
        /// The reason; a dead letter keeps it
        #[arg(long)]
        reason: Option<String>,
        /// Take it from whoever works on it; for commanders
        #[arg(long, requires = "reason")]
        force: bool,
        /// Only if this is the newest delivery
        #[arg(long, value_name = "N")]
        delivery: Option<u32>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Extend a message's visibility timeout
    #[command(after_help = "Example:\n  roverline queues extend waypoints:0:7:00000000000000ab 2m")]
    Extend {
        /// The id printed by `dequeue`
        id: String,
        /// The new timeout, from now
        #[arg(value_name = "TIME", value_parser = parse_duration)]
        visibility: Duration,
        /// Only if this is the newest delivery
        #[arg(long, value_name = "N")]
        delivery: Option<u32>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the first messages of a queue without dequeuing them
    #[command(after_help = "Example:\n  roverline queues peek waypoints -n 3")]
    Peek {
        /// The queue
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        queue: String,
        /// At most this many
        #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
        count: usize,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print dead letters and their reasons
    #[command(after_help = "Example:\n  roverline queues dead waypoints --json | jq .messages[].reason")]
    Dead {
        /// The queue
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        queue: String,
        /// At most this many
        #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
        count: usize,
        /// Only those after this one: `next` of the previous JSON
        #[arg(long, value_name = "N")]
        after: Option<u64>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Move dead letters back into their queue
    #[command(after_help = "Example:\n  roverline queues redrive waypoints")]
    Redrive {
        /// The queue
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        queue: String,
        /// At most this many [default: all]
        #[arg(long, value_name = "N")]
        max: Option<usize>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete all messages of a queue, including those being processed; for commanders
    #[command(after_help = "Example:\n  roverline queues purge waypoints --reason 'new mission'")]
    Purge {
        /// The queue
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        queue: String,
        /// The reason; it is recorded in the event log
        #[arg(long)]
        reason: String,
        /// Delete dead letters as well
        #[arg(long)]
        dead: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// A message to enqueue.
#[derive(Clone, Debug, Args)]
pub struct EnqueueArgs {
    /// The queue
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub queue: String,
    /// The message as JSON; - reads standard input
    #[arg(value_name = "JSON", allow_negative_numbers = true)]
    pub message: String,
    /// Priority 0 to 9; higher is delivered first
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=9))]
    pub priority: u8,
    /// Delay before it can be dequeued
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub delay: Option<Duration>,
    /// Deduplication id: a second message with this id within five minutes is ignored [default:
    /// generated]
    #[arg(long, value_name = "ID")]
    pub dedup: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Options for dequeuing.
#[derive(Clone, Debug, Args)]
pub struct DequeueArgs {
    /// The queue
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub queue: String,
    /// How long to wait for the first message
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub wait: Option<Duration>,
    /// Visibility timeout [default: the queue's]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub visibility: Option<Duration>,
    /// At most this many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1)]
    pub count: usize,
    /// Acknowledge each message once it is printed
    #[arg(long)]
    pub ack: bool,
    /// Print JSON, one line each
    #[arg(long)]
    pub json: bool,
}
