//! Another operator's objects: a lock and a message in work. Only the identity that took them may change them, from
//! wherever a client comes and whatever name it gives itself.

use std::net::IpAddr;

use roverline_tests::http::Response;
use serde_json::{Value, json};

use crate::rover::{From, Needs, Operation, Rover, Shown};

/// The name that the owner gives itself, and every client after it.
const NAME: &str = "console";
/// The owner's identity.
const OWNER: &str = "oscar";
const DAY_MS: u64 = 86_400_000;

/// Operations on locks and queues that need the right to share and touch nothing that another client owns.
const UNOWNED: [&str; 11] = [
    "/locks/acquire",
    "/api/v2/locks/x/acquire",
    "/api/v2/locks/x/check",
    "/api/v2/locks/x/handover",
    "/queue/enqueue",
    "/queue/dequeue",
    "/api/v2/queues/x/enqueue",
    "/api/v2/queues/x/dequeue",
    "/api/v2/queues/x/redrive",
    "/api/v2/queues/x/purge",
    "/api/v2/queues/x/settings",
];

/// An operation on the owner's object.
pub(crate) struct OwnedOperation {
    pub(crate) operation: Operation,
    pub(crate) body: Value,
    /// Whether it asks to overrule the owner. It gives no reason, so that a commander's request changes nothing.
    pub(crate) forces: bool,
}

impl OwnedOperation {
    /// The fault of an answer, given the refusals of a client that owned the object. A client that is permitted
    /// is refused for the owner's sake, and reads whose it is; only force is no refusal, and misses its reason.
    pub(crate) fn judge(&self, what: &str, status: u16, body: &str, refusals: &[u16]) -> Option<String> {
        let is_right = match (refusals, self.forces) {
            ([], true) => status == 422,
            ([], false) => status == 403 && body.contains(OWNER),
            (refusals, _) => refusals.contains(&status) && !body.contains(OWNER),
        };
        (!is_right).then(|| format!("{what}: {status} {body}, expected {refusals:?}, else the owner's name"))
    }
}

/// The owner's lock and message on this rover.
pub(crate) struct Objects {
    lock: Value,
    message: Value,
}

impl Objects {
    /// The owner takes a lock and a message of a queue.
    pub(crate) fn take(rover: &Rover) -> Objects {
        let send = |path: &str, body: Value| -> Value {
            let answer = send_as_owner(rover, "POST", path, &body.to_string());
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
            serde_json::from_str(&answer.body).unwrap()
        };
        send(
            "/api/v2/locks/arm/acquire",
            json!({"client": NAME, "mode": "exclusive", "ttl_ms": DAY_MS / 24}),
        );
        send("/api/v2/queues/jobs/enqueue", json!({"messages": [{"message": 1}]}));
        let taken = send("/api/v2/queues/jobs/dequeue", json!({"visibility_ms": DAY_MS / 24}));
        Objects { lock: holders(rover), message: taken["messages"][0]["message_id"].clone() }
    }

    /// Every operation on the owner's lock and message.
    pub(crate) fn operations(&self) -> Vec<OwnedOperation> {
        let (message, client) = (&self.message, NAME);
        let lock = |operation: &str| format!("/api/v2/locks/arm/{operation}");
        let queue = |operation: &str| format!("/api/v2/queues/jobs/{operation}");
        let mine = |path: String, body: Value| owned(path, body, false);
        let forced = |path: String, body: Value| owned(path, body, true);
        let answer = |grant: bool| json!({"holder": client, "client": client, "grant": grant});
        vec![
            mine(lock("release"), json!({"client": client})),
            mine(lock("keep-alive"), json!({"client": client})),
            mine(lock("handover/answer"), answer(true)),
            mine(lock("handover/answer"), answer(false)),
            mine("/locks/release".to_owned(), json!({"resource": "arm", "client_id": client})),
            mine(queue("ack"), json!({"message_id": message})),
            mine(queue("ack"), json!({"message_id": message, "delivery": 1})),
            mine(queue("nak"), json!({"message_id": message, "reason": "mine"})),
            mine(queue("extend"), json!({"message_id": message, "visibility_ms": 1000})),
            mine("/queue/ack".to_owned(), json!({"message_id": message})),
            forced(lock("force-release"), json!({"client": client, "reason": ""})),
            forced(queue("nak"), json!({"message_id": message, "force": true})),
        ]
    }

    /// The owner still has everything.
    pub(crate) fn assert_untouched(&self, rover: &Rover) {
        assert_eq!(holders(rover), self.lock);
        let extend = json!({"message_id": self.message, "visibility_ms": DAY_MS / 24}).to_string();
        let answer = send_as_owner(rover, "POST", "/api/v2/queues/jobs/extend", &extend);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

/// The lock's holders as the rover shows them.
fn holders(rover: &Rover) -> Value {
    let answer = send_as_owner(rover, "GET", "/api/v2/locks/arm", "");
    let lock: Value = serde_json::from_str(&answer.body).unwrap();
    lock["holders"].clone()
}

fn owned(path: String, body: Value, forces: bool) -> OwnedOperation {
    let needs = if forces { Needs::Commander } else { Needs::Operator };
    OwnedOperation { operation: Operation { method: "POST".to_owned(), path, needs }, body, forces }
}

fn send_as_owner(rover: &Rover, method: &str, path: &str, body: &str) -> Response {
    let operation = Operation { method: method.to_owned(), path: path.to_owned(), needs: Needs::Operator };
    rover.send(&operation, Shown::Owner, From::Loopback, IpAddr::from([127, 0, 0, 1]), body)
}

/// Every operation of locks and queues that changes something is tried on another operator's object, or is listed as
/// one that touches none.
#[test]
fn every_operation_on_locks_and_queues_is_known() {
    let rover = Rover::start();
    let objects = Objects::take(&rover);
    let tried: Vec<String> = objects
        .operations()
        .into_iter()
        .map(|owned| owned.operation.path.replace("arm", "x").replace("jobs", "x"))
        .collect();
    let changes = |operation: &Operation| {
        let prefixes = ["/locks", "/queue", "/api/v2/locks", "/api/v2/queues"];
        operation.method != "GET" && prefixes.iter().any(|prefix| operation.path.starts_with(prefix))
    };
    let unknown: Vec<Operation> = rover
        .operations()
        .into_iter()
        .filter(|operation| changes(operation))
        .filter(|Operation { path, .. }| !tried.contains(path) && !UNOWNED.contains(&path.as_str()))
        .collect();
    assert!(unknown.is_empty(), "neither tried on another's object nor listed as unowned: {unknown:#?}");
    let exists = |path: &&&str| rover.operations().iter().any(|operation| operation.path == **path);
    let stale: Vec<_> = UNOWNED.iter().filter(|path| !exists(path)).collect();
    assert!(stale.is_empty(), "no such operation: {stale:?}");
}
