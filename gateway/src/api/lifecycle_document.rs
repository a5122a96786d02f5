//! The lifecycle document of the API, made from a record of the store.

use roverline_coordination::lifecycle::{Lifecycle, View};
use roverline_protocol::api::lifecycle::{HeartbeatDocument, LifecycleDocument};

/// One entity in its current state.
pub(crate) fn document(lifecycle: &Lifecycle, view: View) -> LifecycleDocument {
    let age_s = lifecycle.last_beat_age(&view.entity).map(|ago| ago.as_secs_f64());
    to_document(view, age_s)
}

pub(crate) fn to_document(view: View, age_s: Option<f64>) -> LifecycleDocument {
    let (healthy, deployable, alive) = (view.is_healthy(), view.is_deployable(), view.is_alive());
    let View { entity, record, modified, senders, .. } = view;
    LifecycleDocument {
        kind: entity.kind.name().to_owned(),
        id: entity.id,
        possible: record.state.targets().to_vec(),
        fails_at: record.state.fails_at(),
        fact: record.transition.name().to_owned(),
        heartbeat: record.heartbeat_ms.map(|missed_after_ms| HeartbeatDocument {
            missed_after_ms,
            alive,
            age_s,
            speakers: senders,
        }),
        healthy,
        deployable,
        revision: modified.0,
        type_name: record.type_name,
        address: record.address,
        state: record.state,
        previous: record.previous,
        since_ns: record.since_ns,
        at_ns: record.at_ns,
        reason: record.reason,
        by: record.by,
        client: record.client,
        manual: record.manual,
        failures: record.failures,
    }
}
