//! The routes of [`crate::api::locks`].

use roverline_protocol::api::NAME_PATTERN;
use roverline_protocol::api::locks::*;
use roverline_protocol::limits;

use crate::api::action::Action as Any;
use crate::api::action::LocksAction as Action;
use crate::api::route::{Content, Name, Parameter, ParameterKind, Reply, Route, get, ok, post, schema};

const RESOURCE: &str = "What is locked.";
const EXAMPLE: Option<&str> = Some("arm");
const DONE: &[Reply] = &[ok("Done", Content::Json(schema::<OutcomeDocument>))];
const STANDING: &[Reply] = &[
    ok("The lock is held, or the wait has ended", Content::Json(schema::<LockClientStatus>)),
    Reply { status: 202, what: "It waits", content: Content::Json(schema::<LockClientStatus>) },
];
const READS: &[u16] = &[404, 422, 503];

const fn of_resource(route: Route) -> Route {
    Route { name: Some(Name { what: RESOURCE, example: EXAMPLE, pattern: Some(NAME_PATTERN) }), ..route }
}

/// The routes.
pub(crate) static ROUTES: [Route; 14] = [
    post(
        "/locks/acquire",
        Any::Locks(Action::SimpleAcquire),
        "Acquires a lock, or joins those who wait for it",
        schema::<AcquireLock>,
        &[ok("Whether it is held, and if not, why", Content::Json(schema::<AcquiredLock>))],
    ),
    post(
        "/locks/release",
        Any::Locks(Action::SimpleRelease),
        "Releases a lock, or stops waiting for it",
        schema::<ReleaseLock>,
        &[ok("Whether it was held", Content::Json(schema::<OutcomeDocument>))],
    ),
    Route {
        problems: READS,
        ..get(
            "/locks",
            Any::Locks(Action::SimpleList),
            "All locks that are held, in short",
            &[ok("By resource", Content::Json(schema::<LockStates>))],
        )
    },
    Route {
        problems: READS,
        ..of_resource(get(
            "/locks/{resource}",
            Any::Locks(Action::SimpleOne),
            "A lock that is held, in short",
            &[ok("The lock", Content::Json(schema::<LockState>))],
        ))
    },
    Route {
        body: None,
        ..post(
            "/detect-deadlock",
            Any::Locks(Action::Deadlocks),
            "Clients that wait for each other; there are none unless something else writes the store",
            schema::<OutcomeDocument>,
            &[ok("The circles", Content::Json(schema::<Deadlocks>))],
        )
    },
    Route {
        problems: &[410, 503],
        parameters: &[
            Parameter {
                name: "after_revision",
                what: "Answer when a lock has changed since this revision, or after `wait_ms`.",
                kind: ParameterKind::Number(0, u64::MAX >> 12),
            },
            Parameter {
                name: "wait_ms",
                what: "How long to wait for a change.",
                kind: ParameterKind::Number(0, limits::API_WAIT_MS),
            },
        ],
        ..get(
            "/api/v2/locks",
            Any::Locks(Action::List),
            "All locks that are held",
            &[ok("By resource", Content::Json(schema::<LockList>))],
        )
    },
    Route {
        problems: READS,
        ..of_resource(get(
            "/api/v2/locks/{resource}",
            Any::Locks(Action::One),
            "A lock that is held",
            &[ok("The lock", Content::Json(schema::<LockDocument>))],
        ))
    },
    of_resource(post(
        "/api/v2/locks/{resource}/acquire",
        Any::Locks(Action::Acquire),
        "Acquires a lock, and waits for it if `wait_ms` says so",
        schema::<AcquireBody>,
        STANDING,
    )),
    of_resource(post(
        "/api/v2/locks/{resource}/keep-alive",
        Any::Locks(Action::KeepAlive),
        "Renews a lock, or the client's position among those who wait",
        schema::<LockClient>,
        STANDING,
    )),
    of_resource(post(
        "/api/v2/locks/{resource}/release",
        Any::Locks(Action::Release),
        "Gives a lock back, or gives up waiting for it",
        schema::<LockClient>,
        DONE,
    )),
    of_resource(post(
        "/api/v2/locks/{resource}/force-release",
        Any::Locks(Action::Force),
        "Takes a lock from whoever has it; for commanders",
        schema::<ForceRelease>,
        DONE,
    )),
    of_resource(post(
        "/api/v2/locks/{resource}/check",
        Any::Locks(Action::Check),
        "Whether a fencing token is that of a holder; 409 if not",
        schema::<TokenCheck>,
        DONE,
    )),
    of_resource(post(
        "/api/v2/locks/{resource}/handover",
        Any::Locks(Action::RequestHandover),
        "Asks the holder to hand its lock over",
        schema::<HandoverBody>,
        &[ok("The holder's answer", Content::Json(schema::<HandoverOutcome>))],
    )),
    of_resource(post(
        "/api/v2/locks/{resource}/handover/answer",
        Any::Locks(Action::AnswerHandover),
        "Hands a lock over to who asks for it, or refuses to",
        schema::<HandoverAnswer>,
        DONE,
    )),
];
