//! Tests of alarms: no flapping inside the hysteresis, no lost acknowledgement, merges in any order.

use std::time::Duration;

use proptest::prelude::*;

use crate::Tier;
use crate::alarms::debounce::{Debounce, Delays};
use crate::alarms::limit::{Assessment, Limit, Limits, Side};
use crate::alarms::list::{AlarmFilter, sort, totals};
use crate::alarms::record::{AlarmActionError, AlarmRecord, AlarmSubject, Observation, Operator, Reading};
use crate::api::alarms::{AlarmQuality, AlarmSeverity, AlarmState};

const SECOND_NS: i64 = 1_000_000_000;
use AlarmSeverity::{Critical, Severe, Warning, Watch};

fn motor() -> Limits {
    let limit = |at, severity| Limit { side: Side::Above, at, severity };
    Limits { limits: vec![limit(70.0, Warning), limit(85.0, Critical)], hysteresis: 5.0 }
}

fn observation(severity: impl Into<Option<AlarmSeverity>>, value: f64) -> Observation {
    Observation {
        severity: severity.into(),
        value: Some(value),
        text: format!("{value} °C"),
        subject: AlarmSubject {
            name: "motor temperature".to_owned(),
            latching: true,
            ..AlarmSubject::default()
        },
        evaluated_by: Some(Tier::Primary),
        ..Observation::default()
    }
}

fn ann() -> Operator {
    Operator { by: "ann".to_owned(), client: Some("console".to_owned()) }
}

/// A record that was raised at one second.
fn raised() -> AlarmRecord {
    AlarmRecord::default().observe(&observation(Warning, 71.0), SECOND_NS).unwrap()
}

#[test]
fn limits_have_hysteresis_on_the_good_side() {
    let severity = |value, current| motor().assess(value, current).severity();
    assert_eq!(severity(70.0, None), Some(None), "equal to the limit is good");
    assert_eq!(severity(70.1, None), Some(Some(Warning)));
    assert_eq!(severity(65.1, Some(Warning)), Some(Some(Warning)));
    assert_eq!(severity(65.0, Some(Warning)), Some(None));
    assert_eq!(severity(80.1, Some(Critical)), Some(Some(Critical)));
    assert_eq!(severity(80.0, Some(Critical)), Some(Some(Warning)));
    // The warning's hysteresis applies to a critical alarm as well.
    assert_eq!(severity(66.0, Some(Critical)), Some(Some(Warning)));
    let below =
        Limits { limits: vec![Limit { side: Side::Below, at: 20.0, severity: Watch }], hysteresis: 2.0 };
    assert_eq!(below.assess(19.9, None).severity(), Some(Some(Watch)));
    assert_eq!(below.assess(21.9, Some(Watch)).severity(), Some(Some(Watch)));
    assert_eq!(below.assess(22.0, Some(Watch)).severity(), Some(None));
}

#[test]
fn what_is_no_number_neither_raises_nor_clears() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(motor().assess(value, None), Assessment::Invalid);
        assert_eq!(motor().assess(value, Some(Critical)).severity(), None);
    }
    let delays = Delays { on: Duration::from_secs(1), off: Duration::from_secs(1) };
    let mut debounce = Debounce::default();
    let at = Duration::from_secs;
    assert_eq!(debounce.observe(None, Some(Some(Warning)), delays, at(0)), None);
    assert_eq!(debounce.observe(None, None, delays, at(5)), None, "not by a value that means nothing");
    assert_eq!(debounce.observe(None, Some(Some(Warning)), delays, at(6)), Some(Warning));
}

#[test]
fn a_condition_has_to_last() {
    let delays = Delays { on: Duration::from_secs(2), off: Duration::from_secs(3) };
    let mut debounce = Debounce::default();
    let mut current = None;
    let mut observe = |current: &mut Option<AlarmSeverity>, severity, at_s| {
        *current = debounce.observe(*current, Some(severity), delays, Duration::from_secs(at_s));
        *current
    };
    assert_eq!(observe(&mut current, Some(Warning), 0), None);
    assert_eq!(observe(&mut current, None, 1), None, "it was good meanwhile");
    assert_eq!(observe(&mut current, Some(Warning), 2), None);
    assert_eq!(observe(&mut current, Some(Critical), 3), None);
    assert_eq!(observe(&mut current, Some(Critical), 4), Some(Warning), "critical for one second only");
    assert_eq!(observe(&mut current, Some(Critical), 5), Some(Critical));
    assert_eq!(observe(&mut current, None, 6), Some(Critical));
    assert_eq!(observe(&mut current, Some(Warning), 8), Some(Critical));
    assert_eq!(
        observe(&mut current, Some(Warning), 9),
        Some(Warning),
        "no longer critical for three seconds"
    );
    assert_eq!(observe(&mut current, None, 10), Some(Warning));
    assert_eq!(observe(&mut current, None, 13), None);
}

#[test]
fn a_delay_does_not_count_for_the_other_direction() {
    let delays = Delays { on: Duration::from_secs(2), off: Duration::from_secs(2) };
    let mut debounce = Debounce::default();
    assert_eq!(debounce.observe(None, Some(Some(Warning)), delays, Duration::ZERO), None);
    // Meanwhile another endpoint raised it.
    let later = Duration::from_secs(9);
    assert_eq!(debounce.observe(Some(Warning), Some(None), delays, later), Some(Warning));
}

#[test]
fn raised_acknowledged_cleared() {
    let alarm = raised();
    assert_eq!((alarm.state(), alarm.occurrence, alarm.triggers), (AlarmState::Raised, 1, 1));
    let acknowledged = alarm.acknowledge(&ann(), "seen", None, 2 * SECOND_NS).unwrap().unwrap();
    assert_eq!(acknowledged.state(), AlarmState::Acknowledged);
    assert_eq!(
        acknowledged.acknowledge(&ann(), "again", None, 3 * SECOND_NS),
        Ok(None),
        "the first one counts"
    );
    let worse = acknowledged.observe(&observation(Critical, 90.0), 3 * SECOND_NS).unwrap();
    assert_eq!(worse.state(), AlarmState::Raised, "it became worse");
    assert!(worse.acknowledgement.is_some());
    let milder = worse.observe(&observation(Warning, 75.0), 4 * SECOND_NS).unwrap();
    assert_eq!(
        (milder.state(), milder.worst),
        (AlarmState::Raised, Critical),
        "nobody saw that it was critical"
    );
    let milder = milder.acknowledge(&ann(), "", None, 5 * SECOND_NS).unwrap().unwrap();
    let cleared = milder.observe(&observation(None, 60.0), 6 * SECOND_NS).unwrap();
    assert_eq!(cleared.state(), AlarmState::Cleared);
    let again = cleared.observe(&observation(Warning, 72.0), 7 * SECOND_NS).unwrap();
    assert_eq!((again.state(), again.occurrence, again.raised_ns), (AlarmState::Raised, 2, 7 * SECOND_NS));
    assert!(again.acknowledgement.is_none());
    assert_eq!(
        again.acknowledge(&ann(), "", Some(1), 8 * SECOND_NS),
        Err(AlarmActionError::RaisedAgain(2)),
        "the operator saw another one"
    );
}

#[test]
fn an_alarm_is_latched_until_it_is_acknowledged() {
    let over = raised().observe(&observation(None, 60.0), 2 * SECOND_NS).unwrap();
    assert_eq!(over.state(), AlarmState::Raised);
    let document = over.document("motor", None, true, 3 * SECOND_NS);
    assert!(document.latched && !document.active);
    assert_eq!(
        (document.ended_ns, document.age_s, document.quality),
        (Some(2 * SECOND_NS), 2.0, AlarmQuality::Remote)
    );
    let again = over.observe(&observation(Warning, 75.0), 3 * SECOND_NS).unwrap();
    assert_eq!((again.occurrence, again.triggers), (1, 2), "the same occurrence");
    let cleared = over.acknowledge(&ann(), "", None, 4 * SECOND_NS).unwrap().unwrap();
    assert_eq!(cleared.state(), AlarmState::Cleared);
    let mut other = observation(Warning, 71.0);
    other.subject.latching = false;
    let over = AlarmRecord::default().observe(&other, 0).unwrap();
    other.severity = None;
    assert_eq!(over.observe(&other, 1).unwrap().state(), AlarmState::Cleared, "this one is not latched");
}

#[test]
fn a_shelf_ends_by_itself() {
    let shelved = raised().shelve(&ann(), "sensor is broken", 60 * SECOND_NS, 2 * SECOND_NS).unwrap();
    assert!(shelved.is_shelved(61 * SECOND_NS) && !shelved.is_shelved(62 * SECOND_NS));
    assert!(!shelved.is_shelved(-90_000 * SECOND_NS), "the clock was set back by a day");
    assert_eq!(shelved.state(), AlarmState::Raised);
    let document = shelved.document("motor", None, true, 32 * SECOND_NS);
    assert_eq!(document.shelved.as_ref().map(|shelf| shelf.remaining_s), Some(30.0));
    let totals = totals(&[document]);
    assert_eq!((totals.open, totals.shelved, totals.worst), (0, 1, None));
    assert_eq!(shelved.unshelve(&ann(), 70 * SECOND_NS), Err(AlarmActionError::NotShelved));
    let back = shelved.unshelve(&ann(), 3 * SECOND_NS).unwrap();
    assert!(!back.is_shelved(4 * SECOND_NS));
    // Whoever missed that learns of it.
    assert!(!shelved.merge(&back).is_shelved(4 * SECOND_NS));
    assert_eq!(AlarmRecord::default().shelve(&ann(), "", 1, 0), Err(AlarmActionError::NeverRaised));
    assert_eq!(AlarmRecord::default().acknowledge(&ann(), "", None, 0), Err(AlarmActionError::NeverRaised));
}

#[test]
fn the_most_urgent_alarm_is_first() {
    let document = |id: &str, record: &AlarmRecord| record.document(id, None, true, 9 * SECOND_NS);
    let warning = raised();
    let critical = AlarmRecord::default().observe(&observation(Critical, 90.0), 0).unwrap();
    let newer = AlarmRecord::default().observe(&observation(Critical, 90.0), 5).unwrap();
    let seen = critical.acknowledge(&ann(), "", None, 1).unwrap().unwrap();
    let shelved = critical.shelve(&ann(), "known", 60 * SECOND_NS, 1).unwrap();
    let mut list = vec![
        document("shelved", &shelved),
        document("seen", &seen),
        document("warning", &warning),
        document("older", &critical),
        document("newer", &newer),
    ];
    sort(&mut list);
    let ids: Vec<&str> = list.iter().map(|alarm| alarm.id.as_str()).collect();
    assert_eq!(ids, ["newer", "older", "warning", "seen", "shelved"]);
    let totals = totals(&list);
    assert_eq!((totals.open, totals.unacknowledged, totals.by_severity[&Critical]), (4, 3, 3));
    let filter = AlarmFilter { severity: Some(Critical), shelved: Some(false), ..AlarmFilter::default() };
    assert_eq!(list.iter().filter(|alarm| filter.matches(alarm)).count(), 3);
}

#[test]
fn a_reading_of_the_answering_endpoint_is_shown() {
    let reading =
        Reading { value: Some(f64::NAN), text: "no number".to_owned(), quality: AlarmQuality::Invalid };
    let document = raised().document("motor", Some(&reading), false, SECOND_NS);
    assert_eq!(
        (document.value, document.quality, document.text.as_str()),
        (None, AlarmQuality::Invalid, "no number")
    );
    let json = serde_json::to_value(&document).unwrap();
    assert_eq!((&json["state"], &json["severity"]), (&"raised".into(), &"warning".into()));
    assert_eq!(serde_json::from_value::<crate::api::alarms::AlarmDocument>(json).unwrap(), document);
}

#[test]
fn a_value_is_refreshed_now_and_then() {
    let alarm = raised();
    assert_eq!(alarm.observe(&observation(Warning, 72.0), 2 * SECOND_NS), None);
    let refreshed = alarm.observe(&observation(Warning, 72.0), 11 * SECOND_NS).unwrap();
    assert_eq!((refreshed.condition.value, refreshed.condition.at_ns), (Some(72.0), SECOND_NS));
    assert_eq!(alarm.observe(&observation(Warning, 71.0), 11 * SECOND_NS), None, "nothing to refresh");
}

/// One step in the life of a record.
#[derive(Clone, Debug)]
enum Step {
    Observe(Option<AlarmSeverity>, f64),
    Acknowledge(&'static str),
    Shelve,
    Unshelve,
}

fn severity() -> impl Strategy<Value = Option<AlarmSeverity>> {
    proptest::option::of(proptest::sample::select(vec![Watch, Warning, Critical, Severe]))
}

fn steps() -> impl Strategy<Value = Vec<(Step, i64)>> {
    let step = prop_oneof![
        4 => (severity(), -100.0..100.0).prop_map(|(severity, value)| Step::Observe(severity, value)),
        2 => proptest::sample::select(vec!["ann", "bob"]).prop_map(Step::Acknowledge),
        1 => Just(Step::Shelve),
        1 => Just(Step::Unshelve),
    ];
    // Clocks of different computers, and clocks that are set.
    proptest::collection::vec((step, 0..40 * SECOND_NS), 0..12)
}

fn apply(record: &AlarmRecord, step: &Step, now_ns: i64) -> AlarmRecord {
    let next = match step {
        Step::Observe(severity, value) => record.observe(&observation(*severity, *value), now_ns),
        Step::Acknowledge(by) => {
            let operator = Operator { by: (*by).to_owned(), client: None };
            record.acknowledge(&operator, "", None, now_ns).ok().flatten()
        }
        Step::Shelve => record.shelve(&ann(), "because", 5 * SECOND_NS, now_ns).ok(),
        Step::Unshelve => record.unshelve(&ann(), now_ns).ok(),
    };
    next.unwrap_or_else(|| record.clone())
}

fn record() -> impl Strategy<Value = AlarmRecord> {
    steps().prop_map(|steps| {
        steps.iter().fold(AlarmRecord::default(), |record, (step, now_ns)| apply(&record, step, *now_ns))
    })
}

/// Records with a common past, as two endpoints have them that lost the store.
fn diverged() -> impl Strategy<Value = (AlarmRecord, AlarmRecord, AlarmRecord)> {
    (record(), steps(), steps(), steps()).prop_map(|(past, a, b, c)| {
        let run = |steps: Vec<(Step, i64)>| {
            steps.iter().fold(past.clone(), |record, (step, now_ns)| apply(&record, step, *now_ns))
        };
        (run(a), run(b), run(c))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn merging_is_a_join((a, b, c) in diverged()) {
        prop_assert_eq!(a.merge(&b), b.merge(&a));
        prop_assert_eq!(a.merge(&a), a.clone());
        prop_assert_eq!(a.merge(&b).merge(&c), a.merge(&b.merge(&c)));
        prop_assert_eq!(a.merge(&b).merge(&b), a.merge(&b));
    }

    #[test]
    fn an_acknowledgement_is_never_lost((a, b, _) in diverged()) {
        // Whatever the other endpoint did to the same occurrence meanwhile.
        let merged = a.merge(&b);
        for record in [&a, &b] {
            if record.occurrence == merged.occurrence && let Some(own) = &record.acknowledgement {
                let kept = merged.acknowledgement.as_ref();
                prop_assert!(kept.is_some_and(|kept| kept.severity >= own.severity));
            }
            prop_assert!(merged.occurrence >= record.occurrence);
        }
        // Only a worse severity, or a new occurrence, demands another one.
        if merged.occurrence == a.occurrence && a.is_acknowledged() && merged.worst == a.worst {
            prop_assert!(merged.is_acknowledged());
        }
    }

    #[test]
    fn values_within_the_hysteresis_do_not_flap(values in proptest::collection::vec(65.1..70.0, 1..200), start in 60.0..80.0) {
        let limits = motor();
        let mut record = AlarmRecord::default();
        let mut debounce = Debounce::default();
        let mut transitions = 0;
        for (tick, value) in std::iter::once(start).chain(values).enumerate() {
            let now = Duration::from_millis(100 * tick as u64);
            let current = record.condition.severity;
            let observed = limits.assess(value, current).severity();
            let severity = debounce.observe(current, observed, Delays::default(), now);
            if let Some(next) = record.observe(&observation(severity, value), now.as_nanos() as i64) {
                transitions += usize::from(next.condition.sequence != record.condition.sequence);
                record = next;
            }
        }
        // The start may raise it; nothing within changes it any more.
        prop_assert!(transitions <= 1, "{transitions}");
    }

    #[test]
    fn a_condition_changes_once_per_delay(values in proptest::collection::vec(severity(), 1..100)) {
        let delays = Delays { on: Duration::from_millis(300), off: Duration::from_millis(500) };
        let (mut debounce, mut current, mut changes) = (Debounce::default(), None, Vec::new());
        for (tick, observed) in values.into_iter().enumerate() {
            let now = Duration::from_millis(100 * tick as u64);
            let next = debounce.observe(current, Some(observed), delays, now);
            if next.is_some() != current.is_some() {
                changes.push(now);
            }
            current = next;
        }
        prop_assert!(changes.windows(2).all(|pair| pair[1] - pair[0] >= delays.on));
    }

    #[test]
    fn records_survive_the_store(record in record()) {
        let json = serde_json::to_string(&record).unwrap();
        prop_assert_eq!(serde_json::from_str::<AlarmRecord>(&json).unwrap(), record);
    }
}
