//! The permission that each operation declares. A new operation does not compile without one; OpenAPI has it,
//! and a test tries every route with every kind of client.

use crate::access::Permission;
use crate::api::action::{
    Action, AlarmsAction, EventsAction, KvAction, LifecycleAction, LocksAction, LogAction, QueuesAction,
};

/// The permission that every request of a route needs. Some requests need more, by their bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RoutePermission {
    /// Nothing: telemetry, and what it consists of, is for every page in a browser.
    Telemetry,
    /// Nothing: reading is open, except to a page under a name that others may own.
    Read,
    /// To engage the emergency stop. The permission to release it includes this one, not the other way round.
    EngageStop,
    /// To change what the team shares.
    Share,
    /// To overrule others, whose work this is.
    Overrule(&'static str),
}

impl RoutePermission {
    /// The name in the OpenAPI document.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            RoutePermission::Telemetry => "telemetry",
            RoutePermission::Read => "read",
            RoutePermission::EngageStop => "engage-stop",
            RoutePermission::Share => "share",
            RoutePermission::Overrule(_) => "overrule",
        }
    }

    /// The permission to check, if any.
    pub(crate) const fn required(self) -> Option<Permission<'static>> {
        match self {
            RoutePermission::Telemetry | RoutePermission::Read => None,
            RoutePermission::EngageStop => Some(Permission::EngageStop),
            RoutePermission::Share => Some(Permission::Share("what the team shares")),
            RoutePermission::Overrule(whom) => Some(Permission::Overrule(whom)),
        }
    }
}

impl Action {
    /// The declared permission.
    pub(crate) const fn permission(self) -> RoutePermission {
        match self {
            Action::Page
            | Action::Health
            | Action::Directory
            | Action::Topics
            | Action::Topic
            | Action::Latest
            | Action::Definition
            | Action::Nodes
            | Action::Services
            | Action::StopState
            | Action::OpenApi => RoutePermission::Telemetry,
            Action::Status
            | Action::Metrics
            | Action::Summary
            | Action::Robots
            | Action::Robot
            | Action::Traces
            | Action::TopicStages
            | Action::Trace => RoutePermission::Read,
            Action::Stop => RoutePermission::EngageStop,
            Action::Register | Action::Remove => RoutePermission::Share,
            Action::Locks(action) => locks(action),
            Action::Queues(action) => queues(action),
            Action::Kv(action) => kv(action),
            Action::Events(action) => events(action),
            Action::Lifecycle(action) => lifecycle(action),
            Action::Alarms(action) => alarms(action),
            Action::Log(LogAction::Show) => RoutePermission::Read,
            Action::Log(LogAction::Change | LogAction::Restore) => {
                RoutePermission::Overrule("the configured level of the log")
            }
        }
    }
}

const fn locks(action: LocksAction) -> RoutePermission {
    match action {
        LocksAction::SimpleList | LocksAction::SimpleOne | LocksAction::List | LocksAction::One => {
            RoutePermission::Read
        }
        LocksAction::SimpleAcquire
        | LocksAction::SimpleRelease
        | LocksAction::Acquire
        | LocksAction::KeepAlive
        | LocksAction::Release
        | LocksAction::Check
        | LocksAction::Deadlocks
        | LocksAction::RequestHandover
        | LocksAction::AnswerHandover => RoutePermission::Share,
        LocksAction::Force => RoutePermission::Overrule("whoever holds a lock"),
    }
}

const fn queues(action: QueuesAction) -> RoutePermission {
    match action {
        QueuesAction::SimpleStatus
        | QueuesAction::SimpleAll
        | QueuesAction::List
        | QueuesAction::One
        | QueuesAction::Peek
        | QueuesAction::Dead => RoutePermission::Read,
        QueuesAction::SimpleEnqueue
        | QueuesAction::SimpleDequeue
        | QueuesAction::SimpleAck
        | QueuesAction::Enqueue
        | QueuesAction::Dequeue
        | QueuesAction::Ack
        | QueuesAction::Nak
        | QueuesAction::Extend
        | QueuesAction::Redrive
        | QueuesAction::Configure => RoutePermission::Share,
        QueuesAction::Purge => RoutePermission::Overrule("the messages of a queue"),
    }
}

const fn kv(action: KvAction) -> RoutePermission {
    match action {
        KvAction::List
        | KvAction::Get
        | KvAction::CacheGet
        | KvAction::CacheStatus
        | KvAction::CacheAll
        | KvAction::CacheMetrics => RoutePermission::Read,
        KvAction::Put | KvAction::Delete | KvAction::CachePut | KvAction::CacheDelete => {
            RoutePermission::Share
        }
    }
}

const fn events(action: EventsAction) -> RoutePermission {
    match action {
        EventsAction::List | EventsAction::One | EventsAction::Head | EventsAction::Verify => {
            RoutePermission::Read
        }
        EventsAction::Append => RoutePermission::Share,
    }
}

const fn alarms(action: AlarmsAction) -> RoutePermission {
    match action {
        AlarmsAction::List | AlarmsAction::One => RoutePermission::Read,
        AlarmsAction::Acknowledge | AlarmsAction::Shelve | AlarmsAction::Unshelve => RoutePermission::Share,
    }
}

const fn lifecycle(action: LifecycleAction) -> RoutePermission {
    match action {
        LifecycleAction::List | LifecycleAction::Healthy | LifecycleAction::Deployable => {
            RoutePermission::Read
        }
        LifecycleAction::Transition => RoutePermission::Share,
        LifecycleAction::Fail => RoutePermission::Overrule("what becomes of a robot"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::route::HttpMethod;
    use crate::api::routes;

    #[test]
    fn reading_is_open_and_nothing_else() {
        for route in routes::all() {
            let reads = route.action.permission().required().is_none();
            assert_eq!(reads, route.method == HttpMethod::Get, "{} {}", route.method.name(), route.path);
        }
    }
    #[test]
    fn what_the_team_shares_is_no_telemetry() {
        let telemetry = routes::all().filter(|route| route.action.permission() == RoutePermission::Telemetry);
        let paths: Vec<_> = telemetry.map(|route| route.path).collect();
        let shared = [
            "/log",
            "/locks",
            "/queue",
            "/kv",
            "/cache",
            "/events",
            "/lifecycle",
            "/status",
            "/metrics",
            "/traces",
            "/alarms",
        ];
        let wrong = paths.iter().find(|path| shared.iter().any(|part| path.contains(part)));
        assert!(wrong.is_none() && paths.contains(&"/health"), "{paths:?}");
    }
}
