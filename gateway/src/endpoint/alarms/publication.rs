//! Alarms as a ROS topic, `/roverline/alarms` (diagnostic_msgs/msg/DiagnosticArray), for clients of rosbridge and for
//! tools like rqt_robot_monitor. It appears with the first alarm.

use std::sync::Arc;
use std::time::Duration;

use roverline_protocol::alarms::ALARMS_TOPIC;
use roverline_protocol::alarms::list::AlarmFilter;
use roverline_protocol::api::alarms::{AlarmDocument, AlarmSeverity, AlarmState};
use roverline_protocol::{Guid, MessageEncoding, SampleId};
use roverline_source::clock::unix_ns;
use roverline_source::{Publication, Qos, RawSample, Sink, SourceControl, TopicDecl};

use crate::config::SourceKind;
use crate::endpoint::Endpoint;
use crate::endpoint::alarms::evaluator::better_scopes;
use crate::endpoint::diagnostics::status::{ERROR, OK, Status, WARN};
use crate::endpoint::diagnostics::{DIAGNOSTICS_TYPE, diagnostic_array};

/// It is published once a second, as aggregators expect.
const PERIOD: Duration = Duration::from_secs(1);
/// Least time between two publications.
const GAP: Duration = Duration::from_millis(200);

/// Publishes forever: in the ROS graph, if the source takes part in one; otherwise to this endpoint's clients only. A
/// relay passes on what the rover publishes.
pub(crate) async fn publish_alarms(endpoint: Arc<Endpoint>, publisher: Arc<dyn SourceControl>) {
    if endpoint.source_kind == SourceKind::Upstream {
        return std::future::pending().await;
    }
    let mut changes = endpoint.alarms.changes();
    let mut sequence = 0;
    loop {
        tokio::time::sleep(GAP).await;
        let _ = tokio::time::timeout(PERIOD - GAP, changes.changed()).await;
        let shared = &endpoint.coordination.alarms;
        let alarms = endpoint.alarms.list(shared, &AlarmFilter::default(), unix_ns()).alarms;
        if alarms.is_empty() {
            continue;
        }
        let statuses: Vec<Status> = alarms.iter().map(status).collect();
        let payload = diagnostic_array(&statuses, &endpoint.rover);
        if !endpoint.source_kind.is_ros_graph() {
            sequence += 1;
            publish_here(&endpoint, payload, sequence);
        } else if better_scopes(&endpoint).is_empty() {
            let (topic, type_name) = (ALARMS_TOPIC.to_owned(), DIAGNOSTICS_TYPE.to_owned());
            if let Err(error) = publisher.publish(Publication { topic, type_name, payload, latched: true }) {
                tracing::debug!(%error, "alarms were not published");
            }
        }
    }
}

/// Publishes to this endpoint's clients. A stored sample is no evidence that the rover is alive.
fn publish_here(endpoint: &Endpoint, payload: bytes::Bytes, sequence: u64) {
    let declaration = TopicDecl {
        name: ALARMS_TOPIC.to_owned(),
        type_name: DIAGNOSTICS_TYPE.to_owned(),
        qos: Qos { reliable: true, transient_local: true },
        encoding: MessageEncoding::Cdr,
        history_depth: 1,
        schema: None,
        route: None,
    };
    // `None` if this endpoint's scopes do not include it.
    let Some(key) = endpoint.ingress.topic_up(declaration) else { return };
    let now_ns = unix_ns();
    let id = SampleId { source: Guid::from_name(ALARMS_TOPIC), seq: sequence };
    let sample = RawSample { id, source_time_ns: now_ns, receive_time_ns: now_ns, payload };
    endpoint.ingress.stored(key, sample, Duration::ZERO);
}

fn status(alarm: &AlarmDocument) -> Status {
    let level = match (alarm.state, alarm.severity) {
        _ if alarm.shelved.is_some() => OK,
        (AlarmState::Cleared, _) => OK,
        (_, AlarmSeverity::Watch | AlarmSeverity::Warning) => WARN,
        _ => ERROR,
    };
    let mut values = vec![
        ("state".to_owned(), alarm.state.name().to_owned()),
        ("severity".to_owned(), alarm.severity.name().to_owned()),
        ("active".to_owned(), alarm.active.to_string()),
        ("occurrence".to_owned(), alarm.occurrence.to_string()),
    ];
    let mut add =
        |key: &str, value: Option<String>| values.extend(value.map(|value| (key.to_owned(), value)));
    add("topic", alarm.topic.clone());
    add("value", alarm.value.map(|value| format!("{value}")));
    add("limit", alarm.limit.map(|limit| format!("{limit}")));
    add("acknowledged by", alarm.acknowledgement.as_ref().map(|acknowledgement| acknowledgement.by.clone()));
    add("shelved by", alarm.shelved.as_ref().map(|shelf| shelf.by.clone()));
    add("shelved because", alarm.shelved.as_ref().map(|shelf| shelf.reason.clone()));
    Status { level, name: alarm.id.clone(), message: alarm.text.clone(), values }
}

#[cfg(test)]
mod tests {
    use roverline_protocol::alarms::record::{AlarmRecord, AlarmSubject, Observation, Operator};

    use super::*;

    #[test]
    fn an_alarm_is_a_status() {
        let observation = Observation {
            severity: Some(AlarmSeverity::Critical),
            value: Some(90.0),
            text: "90 °C > 85 °C".to_owned(),
            subject: AlarmSubject { latching: true, ..AlarmSubject::default() },
            ..Observation::default()
        };
        let raised = AlarmRecord::default().observe(&observation, 1).unwrap();
        let shown = |record: &AlarmRecord| status(&record.document("motor", None, true, 5));
        assert_eq!((shown(&raised).level, shown(&raised).message.as_str()), (ERROR, "90 °C > 85 °C"));
        let ann = Operator { by: "ann".to_owned(), client: None };
        let shelved = raised.shelve(&ann, "sensor is broken", 60, 2).unwrap();
        assert_eq!(shown(&shelved).level, OK);
        assert!(
            shown(&shelved).values.contains(&("shelved because".to_owned(), "sensor is broken".to_owned()))
        );
        let seen = raised.acknowledge(&ann, "", None, 3).unwrap().unwrap();
        assert!(shown(&seen).values.contains(&("acknowledged by".to_owned(), "ann".to_owned())));
    }
}
