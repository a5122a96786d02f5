//! `roverline queues`.

use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};

use crate::cli::parse_duration;

/// What to do with queues.
#[derive(Clone, Debug, Subcommand)]
pub enum QueuesCommand {
    /// Print all queues
    #[command(after_help = "Example:\n  roverline queues list --json | jq '.queues[] | select(.dead > 0)'")]
    List {
        /// JSON
        #[arg(long)]
        json: bool,
    },
    /// Print them again whenever they change
    #[command(after_help = "Example:\n  roverline queues watch --json | jq --unbuffered .queues[0].ready")]
    Watch {
        /// JSON, one line each time
        #[arg(long)]
        json: bool,
    },
    /// Print one queue
    #[command(after_help = "Example:\n  roverline queues status waypoints")]
    Status {
        /// Its name
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        queue: String,
        /// JSON
        #[arg(long)]
        json: bool,
    },
    /// Put a message into a queue, and print its id
    ///
    /// The queue is made if there is none. A message is in the queue once its id is printed; one that
    /// is sent twice because an endpoint was lost is in it once.
    #[command(
        after_help = "Examples:\n  roverline queues enqueue waypoints '{\"x\": 3, \"y\": 4}' --priority 5\n  \
                            jq .goal mission.json | roverline queues enqueue waypoints -"
    )]
    Enqueue(EnqueueAsk),
    /// Take the first messages of a queue: prints id, delivery and message, separated by tabs
    ///
    /// Nobody else gets them until --visibility is over; a message that is not acknowledged by then comes
    /// again. Exit code 1: there was none.
    #[command(after_help = "Examples:\n  roverline queues dequeue waypoints --wait 30s --ack\n  \
                            roverline queues dequeue waypoints | while IFS=$(printf '\\t') read -r id n message; do\n    \
                            ./drive_to \"$message\" && roverline queues ack \"$id\"\n  done")]
    Dequeue(DequeueAsk),
    /// Say that messages are done with: they never come again
    #[command(after_help = "Example:\n  roverline queues ack waypoints:0:7:00000000000000ab")]
    Ack {
        /// The ids that `dequeue` printed
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        /// Only if this is the newest delivery of it
        #[arg(long, value_name = "N")]
        delivery: Option<u32>,
        /// JSON, one line each
        #[arg(long)]
        json: bool,
    },
    /// Give a message back, for now or later
    #[command(
        after_help = "Example:\n  roverline queues nak waypoints:0:7:00000000000000ab --delay 10s --reason 'wheel stuck'"
    )]
    Nak {
        /// The id that `dequeue` printed
        id: String,
        /// It cannot be taken before this is over
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        delay: Option<Duration>,
        /// Why; a dead letter keeps it
        #[arg(long)]
        reason: Option<String>,
        /// Only if this is the newest delivery of it
        #[arg(long, value_name = "N")]
        delivery: Option<u32>,
        /// JSON
        #[arg(long)]
        json: bool,
    },
    /// Keep a message for longer
    #[command(after_help = "Example:\n  roverline queues extend waypoints:0:7:00000000000000ab 2m")]
    Extend {
        /// The id that `dequeue` printed
        id: String,
        /// So long from now on
        #[arg(value_name = "TIME", value_parser = parse_duration)]
        visibility: Duration,
        /// Only if this is the newest delivery of it
        #[arg(long, value_name = "N")]
        delivery: Option<u32>,
        /// JSON
        #[arg(long)]
        json: bool,
    },
    /// Look at the first messages of a queue without taking them
    #[command(after_help = "Example:\n  roverline queues peek waypoints -n 3")]
    Peek {
        /// Which queue
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        queue: String,
        /// At most so many
        #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
        count: usize,
        /// JSON
        #[arg(long)]
        json: bool,
    },
    /// Look at the messages that nobody could deal with, and why
    #[command(after_help = "Example:\n  roverline queues dead waypoints --json | jq .messages[].reason")]
    Dead {
        /// Which queue
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        queue: String,
        /// At most so many
        #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
        count: usize,
        /// Only those behind this one: `next` of the JSON before
        #[arg(long, value_name = "N")]
        after: Option<u64>,
        /// JSON
        #[arg(long)]
        json: bool,
    },
    /// Put dead letters back into their queue
    #[command(after_help = "Example:\n  roverline queues redrive waypoints")]
    Redrive {
        /// Which queue
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        queue: String,
        /// At most so many [default: all]
        #[arg(long, value_name = "N")]
        max: Option<usize>,
        /// JSON
        #[arg(long)]
        json: bool,
    },
    /// Throw all messages of a queue away, also those that are worked on; for commanders
    #[command(after_help = "Example:\n  roverline queues purge waypoints --reason 'new mission'")]
    Purge {
        /// Which queue
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        queue: String,
        /// Why; everybody can read it in the events
        #[arg(long)]
        reason: String,
        /// Dead letters as well
        #[arg(long)]
        dead: bool,
        /// JSON
        #[arg(long)]
        json: bool,
    },
}

/// A message to be put into a queue.
#[derive(Clone, Debug, Args)]
pub struct EnqueueAsk {
    /// Which queue
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub queue: String,
    /// The message as JSON; - reads it from standard input
    #[arg(value_name = "JSON", allow_negative_numbers = true)]
    pub message: String,
    /// 0 to 9; the higher, the sooner
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=9))]
    pub priority: u8,
    /// It cannot be taken before this is over
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub delay: Option<Duration>,
    /// A second message of this id, within five minutes, is the first one [default: one of its own]
    #[arg(long, value_name = "ID")]
    pub dedup: Option<String>,
    /// JSON
    #[arg(long)]
    pub json: bool,
}

/// How messages are taken.
#[derive(Clone, Debug, Args)]
pub struct DequeueAsk {
    /// Which queue
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub queue: String,
    /// Wait so long for the first one
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub wait: Option<Duration>,
    /// Nobody else gets them for so long [default: as the queue has it]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub visibility: Option<Duration>,
    /// At most so many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1)]
    pub count: usize,
    /// Acknowledge each once it is printed
    #[arg(long)]
    pub ack: bool,
    /// JSON, one line each
    #[arg(long)]
    pub json: bool,
}
