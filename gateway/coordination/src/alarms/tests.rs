//! Tests of the shared records: acknowledgements of two processes, events, and a store that is away.

use std::sync::Arc;

use roverline_protocol::alarms::record::{
    AlarmActionError, AlarmRecord, AlarmSubject, Observation, Operator,
};
use roverline_protocol::api::alarms::{AlarmSeverity, AlarmState};

use crate::Coordination;
use crate::alarms::{AlarmError, Alarms};
use crate::events::{NodeIdentity, Query};
use crate::store::{DisabledStore, SqliteStore, Store};
use crate::test_support::eventually;

fn observation(severity: Option<AlarmSeverity>) -> Observation {
    Observation {
        severity,
        value: Some(90.0),
        text: "90 °C > 85 °C".to_owned(),
        subject: AlarmSubject { name: "motor".to_owned(), latching: true, ..AlarmSubject::default() },
        ..Observation::default()
    }
}

fn raised(at_ns: i64) -> AlarmRecord {
    AlarmRecord::default().observe(&observation(Some(AlarmSeverity::Critical)), at_ns).unwrap()
}

fn ann() -> Operator {
    Operator { by: "ann".to_owned(), client: None }
}

async fn acknowledge(alarms: &Alarms, id: &str) -> Result<AlarmRecord, AlarmError> {
    alarms.update(id, |record| record.acknowledge(&ann(), "seen", None, 5)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_have_one_record() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Alarms::new(Arc::new(SqliteStore::open(folder.path())));
    let (primary, secondary) = (Arc::new(open()), Arc::new(open()));
    let following = tokio::spawn({
        let secondary = secondary.clone();
        async move { secondary.run_replica().await }
    });
    assert!(secondary.unshared().is_some(), "not read yet");
    // Both raise it, in their own time.
    let (later, earlier) = (raised(2), raised(1));
    let (a, b) = tokio::join!(primary.merge("motor", &later), secondary.merge("motor", &earlier));
    assert_eq!((a.unwrap().occurrence, b.unwrap().occurrence), (1, 1));
    let acknowledged = acknowledge(&primary, "motor").await.unwrap();
    assert_eq!((acknowledged.state(), acknowledged.raised_ns), (AlarmState::Acknowledged, 1));
    // A process that still has the old record does not undo it.
    let merged = secondary.merge("motor", &later).await.unwrap();
    assert_eq!(merged, acknowledged);
    eventually("the replica follows", async || {
        let known = secondary.with(|records| records.get("motor").map(AlarmRecord::state));
        (known == Some(AlarmState::Acknowledged) && secondary.unshared().is_none()).then_some(())
    })
    .await;
    assert_eq!(acknowledge(&primary, "none").await, Err(AlarmError::Unknown("none".to_owned())));
    assert_eq!(acknowledge(&primary, "a/../b ").await, Err(AlarmError::Unknown("a/../b ".to_owned())));
    let stale = primary.update("motor", |record| record.acknowledge(&ann(), "", Some(9), 6)).await;
    assert_eq!(stale, Err(AlarmActionError::RaisedAgain(1).into()));
    primary.remove_cleared("motor").await.unwrap();
    assert!(acknowledge(&primary, "motor").await.is_ok(), "it is not cleared");
    following.abort();
}

#[tokio::test]
async fn a_store_that_is_away_is_named() {
    let alarms = Alarms::new(Arc::new(DisabledStore("no disk".to_owned())));
    let mut changes = alarms.changes();
    let refused = alarms.merge("motor", &raised(1)).await.unwrap_err();
    assert!(refused.to_string().contains("no disk"), "{refused}");
    assert!(alarms.unshared().is_some_and(|why| !why.is_empty()));
    assert!(alarms.with(|records| records.is_empty()));
    assert!(!changes.has_changed().unwrap(), "it was unshared before");
    changes.mark_unchanged();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_is_one_event() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(folder.path()));
    let team = Arc::new(Coordination::with_store(store, NodeIdentity::ephemeral("primary")));
    let recording = tokio::spawn({
        let team = team.clone();
        async move { team.record(|| 7).await }
    });
    let alarms = &team.alarms;
    let warning = AlarmRecord::default().observe(&observation(Some(AlarmSeverity::Warning)), 1).unwrap();
    alarms.merge("motor/left", &warning).await.unwrap();
    let step = async |severity, at_ns| {
        alarms.update("motor/left", |record| Ok(record.observe(&observation(severity), at_ns))).await.unwrap()
    };
    step(Some(AlarmSeverity::Critical), 2).await;
    // Again, as another endpoint would.
    step(Some(AlarmSeverity::Critical), 3).await;
    acknowledge(alarms, "motor/left").await.unwrap();
    alarms.update("motor/left", |record| record.shelve(&ann(), "known", 60, 6).map(Some)).await.unwrap();
    alarms.update("motor/left", |record| record.unshelve(&ann(), 8).map(Some)).await.unwrap();
    step(None, 9).await;
    let events = eventually("all events", async || {
        let query = Query { limit: 100, ..Query::default() };
        let page = team.events.read(query).await.ok()?;
        (page.events.len() >= 6).then_some(page.events)
    })
    .await;
    let shown: Vec<_> = events
        .iter()
        .map(|stored| (stored.event.kind.as_str(), stored.event.by.as_deref(), stored.event.at_ns))
        .collect();
    let expected = [
        ("alarm.raised", None, 1),
        ("alarm.escalated", None, 2),
        ("alarm.acknowledged", Some("ann"), 5),
        ("alarm.shelved", Some("ann"), 6),
        ("alarm.unshelved", Some("ann"), 8),
        ("alarm.cleared", None, 9),
    ];
    assert_eq!(shown, expected);
    assert!(events.iter().all(|stored| stored.event.stream == "alarm/motor/left"));
    assert_eq!(events[2].event.data["comment"], "seen");
    recording.abort();
}
