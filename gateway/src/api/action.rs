//! The operations of the API: what a route leads to.

/// The handler of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Page,
    Health,
    Status,
    Metrics,
    Directory,
    Register,
    Remove,
    Topics,
    Topic,
    Latest,
    Definition,
    Nodes,
    Services,
    Summary,
    Robots,
    Robot,
    StopState,
    Stop,
    OpenApi,
    Traces,
    TopicStages,
    Trace,
    Locks(LocksAction),
    Queues(QueuesAction),
    Kv(KvAction),
    Events(EventsAction),
    Lifecycle(LifecycleAction),
    Log(LogAction),
    Alarms(AlarmsAction),
}

impl Action {
    /// Whether it asks the store or other endpoints, and so may wait.
    pub(crate) const fn may_wait(self) -> bool {
        matches!(
            self,
            Action::Locks(_)
                | Action::Queues(_)
                | Action::Kv(_)
                | Action::Events(_)
                | Action::Lifecycle(_)
                | Action::Log(LogAction::Change | LogAction::Restore)
                | Action::Alarms(AlarmsAction::Acknowledge | AlarmsAction::Shelve | AlarmsAction::Unshelve)
                | Action::Traces
                | Action::TopicStages
                | Action::Trace
        )
    }
}

/// Operations of `locks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LocksAction {
    SimpleAcquire,
    SimpleRelease,
    SimpleList,
    SimpleOne,
    Deadlocks,
    List,
    One,
    Acquire,
    KeepAlive,
    Release,
    Force,
    Check,
    RequestHandover,
    AnswerHandover,
}

/// Operations of `queues`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueuesAction {
    SimpleEnqueue,
    SimpleDequeue,
    SimpleAck,
    SimpleStatus,
    SimpleAll,
    List,
    One,
    Enqueue,
    Dequeue,
    Ack,
    Nak,
    Extend,
    Redrive,
    Purge,
    Configure,
    Peek,
    Dead,
}

/// Operations of `kv`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KvAction {
    List,
    Get,
    Put,
    Delete,
    CacheGet,
    CachePut,
    CacheDelete,
    CacheStatus,
    CacheAll,
    CacheMetrics,
}

/// Operations of `events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventsAction {
    List,
    Append,
    One,
    Head,
    Verify,
}

/// Operations of `alarms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AlarmsAction {
    List,
    One,
    Acknowledge,
    Shelve,
    Unshelve,
}

/// Operations of `log`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogAction {
    Show,
    Change,
    Restore,
}

/// Operations of `lifecycle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LifecycleAction {
    List,
    Healthy,
    Deployable,
    Fail,
    Transition,
}
