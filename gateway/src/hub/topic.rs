//! One topic as the hub keeps it: its declaration, its newest samples, its rate, its subscribers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use roverline_protocol::native::TopicInfo;
use roverline_protocol::rate::RateMeter;
use roverline_protocol::resume::{Ring, RingLimits};
use roverline_protocol::{Delivery, Guid, Priority, Route, limits};
use roverline_schema::Plan;
use roverline_source::{Qos, RawSample, TopicDecl};

use crate::hub::SubscriberId;
use crate::hub::fanout::Form;
use crate::hub::subscription::Throttle;

/// A sample kept because it is the newest, and when it came (monotonic).
#[derive(Clone, Debug)]
pub struct Latest {
    /// The sample.
    pub sample: RawSample,
    /// When it came.
    pub at: Duration,
}

/// A session that listens to a topic, and how.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) id: SubscriberId,
    pub(crate) form: Form,
    /// How many of its messages may wait; none: as many as there is room for.
    pub(crate) queue_length: Option<u32>,
    pub(crate) throttle: Throttle,
}

/// A topic in scope.
pub struct Topic {
    /// What clients are told of it.
    pub info: TopicInfo,
    /// Where the routing table put it.
    pub route: Route,
    /// What its publishers offer.
    pub qos: Qos,
    /// How to decode it; `None` when its type is not known.
    pub plan: Option<Arc<Plan>>,
    /// How many samples and bytes came, and how fast.
    pub meter: RateMeter,
    /// The newest sample.
    pub latest: Option<Latest>,
    latched: HashMap<Guid, Latest>,
    pub(super) ring: Ring<RawSample>,
    pub(crate) listeners: Vec<Listener>,
}

impl Topic {
    pub(crate) fn new(id: u32, decl: &TopicDecl, route: Route, plan: Option<Arc<Plan>>) -> Topic {
        Topic {
            info: TopicInfo {
                id,
                name: decl.name.clone(),
                type_name: decl.type_name.clone(),
                scopes: route.scopes,
                priority: route.priority,
                delivery: route.delivery,
                latched: decl.qos.transient_local,
            },
            route,
            qos: decl.qos,
            plan,
            meter: RateMeter::default(),
            latest: None,
            latched: HashMap::new(),
            ring: Ring::new(ring_limits(route.priority)),
            listeners: Vec::new(),
        }
    }

    pub(crate) fn remember(&mut self, sample: &RawSample, now: Duration) {
        let latest = Latest { sample: sample.clone(), at: now };
        if self.qos.transient_local {
            self.latch(sample.id.source, latest.clone());
        }
        self.meter.count(now, sample.payload.len());
        if self.route.delivery == Delivery::Every {
            self.ring.push(sample.id, now, sample.payload.len(), sample.clone());
        }
        self.latest = Some(latest);
    }

    /// The last sample of a writer of a latched topic.
    pub(super) fn latched(&self, writer: Guid) -> Option<&Latest> {
        self.latched.get(&writer)
    }

    /// Keeps a writer's last sample, if there is room for another writer; whether there was.
    pub(super) fn latch(&mut self, writer: Guid, latest: Latest) -> bool {
        let room =
            self.latched.len() < limits::LATCHED_SAMPLES_PER_TOPIC || self.latched.contains_key(&writer);
        if room {
            self.latched.insert(writer, latest);
        }
        room
    }

    /// What a late subscriber is given: of a latched topic the last sample of every writer, of any
    /// other topic the newest sample.
    pub(crate) fn stored(&self) -> Vec<RawSample> {
        if self.qos.transient_local && !self.latched.is_empty() {
            let mut stored: Vec<_> = self.latched.values().map(|latest| latest.sample.clone()).collect();
            stored.sort_by_key(|sample| sample.receive_time_ns);
            return stored;
        }
        self.latest.iter().map(|latest| latest.sample.clone()).collect()
    }
}

fn ring_limits(priority: Priority) -> RingLimits {
    match priority {
        Priority::Vital | Priority::Sensors => RingLimits::default(),
        _ => RingLimits {
            old_samples: limits::REPLAY_HISTORY_SAMPLES,
            old_age: Duration::from_millis(limits::REPLAY_HISTORY_AGE_MS),
            ..RingLimits::default()
        },
    }
}

impl Topic {
    /// A topic that was declared anew keeps what it had received.
    pub(crate) fn inherit(&mut self, old: Topic) {
        if old.info.type_name == self.info.type_name {
            self.meter = old.meter;
            self.latest = old.latest;
            self.latched = old.latched;
            self.ring = old.ring;
            self.listeners = old.listeners;
        }
    }
}
