//! The routes of the queues.

use roverline_protocol::api::NAME_PATTERN;
use roverline_protocol::api::queues::{
    Ack, CountDocument, DeadDocument, Dequeue, DequeueDocument, Enqueue, EnqueueDocument, Extend, Nak,
    PeekDocument, Purge, QueueDocument, QueueList, QueueSettings, Redrive, SimpleAck, SimpleDequeue,
    SimpleDequeued, SimpleEnqueue, SimpleEnqueued, SimpleOutcome, SimpleQueue, SimpleQueues,
};
use roverline_protocol::limits;

use crate::api::action::Action as Any;
use crate::api::action::QueuesAction as Action;
use crate::api::route::{Content, Name, Parameter, ParameterKind, Reply, Route, get, list, ok, post, schema};

/// Longest request body that may contain a value for the store, as JSON escapes it.
const API_VALUE_BODY_BYTES: usize = 2 << 20;

const NAME: &str = "The queue's name, percent-encoded: up to 200 bytes, no slash.";
const EXAMPLE: Option<&str> = Some("waypoints");
/// Problems of every read of one queue.
const READ_PROBLEMS: &[u16] = &[404, 410, 413, 422];
const COUNT: &[Reply] = &[ok("To how many", Content::Json(schema::<CountDocument>))];
const MAX: Parameter = Parameter {
    name: "max",
    what: "At most so many messages.",
    kind: ParameterKind::Number(1, limits::QUEUE_BATCH_MESSAGES as u64),
};

const fn of_queue(route: Route) -> Route {
    Route { name: Some(Name { what: NAME, example: EXAMPLE, pattern: Some(NAME_PATTERN) }), ..route }
}

const fn read_of_queue(route: Route) -> Route {
    Route { problems: READ_PROBLEMS, ..route }
}

/// A route whose body may contain messages.
const fn large(route: Route) -> Route {
    Route { body_bytes: API_VALUE_BODY_BYTES, ..route }
}

/// The routes.
pub(crate) static ROUTES: [Route; 17] = [
    large(post(
        "/queue/enqueue",
        Any::Queues(Action::SimpleEnqueue),
        "Puts a message into a queue",
        schema::<SimpleEnqueue>,
        &[ok("Whether it is in it", Content::Json(schema::<SimpleEnqueued>))],
    )),
    post(
        "/queue/dequeue",
        Any::Queues(Action::SimpleDequeue),
        "Takes the first message of a queue; it is hidden from others for a while",
        schema::<SimpleDequeue>,
        &[ok("The message, if there was one", Content::Json(schema::<SimpleDequeued>))],
    ),
    post(
        "/queue/ack",
        Any::Queues(Action::SimpleAck),
        "A message is done with, and never comes again",
        schema::<SimpleAck>,
        &[ok("Whether it was there", Content::Json(schema::<SimpleOutcome>))],
    ),
    read_of_queue(of_queue(get(
        "/queue/status/{name}",
        Any::Queues(Action::SimpleStatus),
        "A queue in short",
        &[ok("The queue", Content::Json(schema::<SimpleQueue>))],
    ))),
    read_of_queue(get(
        "/queue/all",
        Any::Queues(Action::SimpleAll),
        "All queues in short",
        &[ok("By name", Content::Json(schema::<SimpleQueues>))],
    )),
    read_of_queue(list(
        "/api/v2/queues",
        Any::Queues(Action::List),
        "Queues of work that the team shares",
        &[ok("By name", Content::Json(schema::<QueueList>))],
    )),
    read_of_queue(of_queue(get(
        "/api/v2/queues/{name}",
        Any::Queues(Action::One),
        "One queue",
        &[ok("The queue", Content::Json(schema::<QueueDocument>))],
    ))),
    large(of_queue(post(
        "/api/v2/queues/{name}/enqueue",
        Any::Queues(Action::Enqueue),
        "Puts messages into a queue: all or none",
        schema::<Enqueue>,
        &[ok("They are in it, whatever happens", Content::Json(schema::<EnqueueDocument>))],
    ))),
    of_queue(post(
        "/api/v2/queues/{name}/dequeue",
        Any::Queues(Action::Dequeue),
        "Takes the first messages of a queue, and waits for one if so asked",
        schema::<Dequeue>,
        &[ok("The messages; none, if there were none", Content::Json(schema::<DequeueDocument>))],
    )),
    of_queue(post(
        "/api/v2/queues/{name}/ack",
        Any::Queues(Action::Ack),
        "A message is done with, and never comes again",
        schema::<Ack>,
        COUNT,
    )),
    of_queue(post(
        "/api/v2/queues/{name}/nak",
        Any::Queues(Action::Nak),
        "Gives a message back, for now or later; after its last delivery it is a dead letter",
        schema::<Nak>,
        COUNT,
    )),
    of_queue(post(
        "/api/v2/queues/{name}/extend",
        Any::Queues(Action::Extend),
        "Keeps a message that is worked on for longer",
        schema::<Extend>,
        COUNT,
    )),
    of_queue(post(
        "/api/v2/queues/{name}/redrive",
        Any::Queues(Action::Redrive),
        "Puts dead letters back where they were in the queue",
        schema::<Redrive>,
        COUNT,
    )),
    of_queue(post(
        "/api/v2/queues/{name}/purge",
        Any::Queues(Action::Purge),
        "Throws every message of a queue away, also those that are worked on",
        schema::<Purge>,
        COUNT,
    )),
    of_queue(post(
        "/api/v2/queues/{name}/settings",
        Any::Queues(Action::Configure),
        "Changes how a queue deals with its messages; makes it, if there is none",
        schema::<QueueSettings>,
        &[ok("The queue", Content::Json(schema::<QueueDocument>))],
    )),
    Route {
        parameters: &[MAX],
        ..read_of_queue(of_queue(get(
            "/api/v2/queues/{name}/peek",
            Any::Queues(Action::Peek),
            "The first messages of a queue, in the order of delivery, without taking them",
            &[ok("The messages", Content::Json(schema::<PeekDocument>))],
        )))
    },
    Route {
        parameters: &[
            MAX,
            Parameter {
                name: "after",
                what: "Only those behind this one: `next` of the page before.",
                kind: ParameterKind::Number(0, (1 << 53) - 1),
            },
        ],
        ..read_of_queue(of_queue(get(
            "/api/v2/queues/{name}/dead",
            Any::Queues(Action::Dead),
            "Messages that nobody could deal with, and why",
            &[ok("The oldest first", Content::Json(schema::<DeadDocument>))],
        )))
    },
];
