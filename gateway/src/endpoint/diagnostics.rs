//! The endpoint's status in the ROS graph: its own on `/diagnostics`, and all endpoints' from a service.
//! Only sources that take part in a ROS graph carry it.

pub(crate) mod status;
mod system_status;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::status::{HealthStatus, PeerDocument};
use roverline_schema::cdr;
use roverline_source::clock::unix_ns;
use roverline_source::{Publication, Reply, Service, SourceControl};
use tokio::sync::watch;

use crate::endpoint::diagnostics::status::{ERROR, OK, Status, WARN};
use crate::endpoint::{Endpoint, memory};

/// The topic on which ROS nodes publish diagnostics (diagnostic_msgs/msg/DiagnosticArray).
pub(crate) const DIAGNOSTICS: &str = "/diagnostics";
/// Their type.
pub(crate) const DIAGNOSTICS_TYPE: &str = "diagnostic_msgs/msg/DiagnosticArray";
/// The service that returns the endpoint directory (std_srvs/srv/Trigger).
pub(crate) const STATUS_SERVICE: &str = "/websocket_redundancy/status";
/// Diagnostics are published once a second, as aggregators expect.
const PERIOD: Duration = Duration::from_secs(1);
/// Minimum time between two publications.
const GAP: Duration = Duration::from_millis(100);

/// Publishes forever. The service is open while `is_leader` is true, so that exactly one endpoint answers.
pub(crate) async fn publish_diagnostics(
    endpoint: Arc<Endpoint>,
    publisher: Arc<dyn SourceControl>,
    rover: String,
    mut is_leader: watch::Receiver<bool>,
) {
    let open = Arc::new(AtomicBool::new(*is_leader.borrow()));
    let service = Service {
        name: STATUS_SERVICE.to_owned(),
        type_name: "std_srvs/srv/Trigger".to_owned(),
        open: open.clone(),
        handler: Arc::new({
            let endpoint = endpoint.clone();
            move |_, reply: Reply| reply.send(Bytes::from(trigger_response(&endpoint)))
        }),
    };
    if let Err(error) = publisher.offer(service) {
        tracing::debug!(%error, "the status service is not offered");
    }
    let mut changes = endpoint.directory_changes();
    loop {
        let system = endpoint.system.read().await;
        let runtime = endpoint.watchdog.document();
        let memory = memory::document();
        let statuses = [
            Status::of(&endpoint),
            system_status::process(endpoint.tier, &system.process, &runtime, &memory),
            system_status::computer(&system.computer),
        ];
        if let Err(error) = publisher.publish(publication(&statuses, &rover)) {
            tracing::debug!(%error, "diagnostics were not published");
        }
        tokio::time::sleep(GAP).await;
        tokio::select! {
            () = tokio::time::sleep(PERIOD - GAP) => {}
            _ = changes.changed() => {}
            changed = is_leader.changed() => match changed {
                Ok(()) => open.store(*is_leader.borrow_and_update(), Ordering::Relaxed),
                Err(_) => std::future::pending().await,
            },
        }
    }
}

/// The response of std_srvs/srv/Trigger: success, and the directory as JSON.
fn trigger_response(endpoint: &Endpoint) -> Vec<u8> {
    let directory = serde_json::to_string(&endpoint.directory_document());
    let mut writer = cdr::Writer::with_capacity(4_096);
    match directory {
        Ok(text) => writer.bool(true).string(&text),
        Err(error) => writer.bool(false).string(&error.to_string()),
    };
    writer.finish()
}

impl Status {
    fn of(endpoint: &Endpoint) -> Status {
        let health = endpoint.health();
        let own = &health.endpoint;
        let peers = endpoint.peers.documents();
        let lost: Vec<&PeerDocument> = peers
            .iter()
            .filter(|peer| peer.endpoint.status > HealthStatus::Degraded && peer.age_s.is_some())
            .collect();
        let mut findings = own.reasons.clone();
        findings.extend(own.covers.iter().map(|tier| format!("covers {tier}")));
        findings.extend(
            lost.iter().map(|peer| format!("{} is {}", peer.endpoint.tier, peer.endpoint.status.word())),
        );
        let level = match own.status {
            HealthStatus::Unhealthy | HealthStatus::Down => ERROR,
            HealthStatus::Healthy if findings.is_empty() => OK,
            _ => WARN,
        };
        let mut values = vec![
            ("port".to_owned(), own.port.to_string()),
            ("status".to_owned(), own.status.word().to_owned()),
            ("clients".to_owned(), format!("{} of {}", own.clients, own.max_clients)),
            ("scopes".to_owned(), own.scopes.to_string()),
            ("covers".to_owned(), own.covers.iter().map(|tier| tier.name()).collect::<Vec<_>>().join(" ")),
            ("draining".to_owned(), own.draining.to_string()),
            ("version".to_owned(), own.version.clone()),
        ];
        values.extend(
            health
                .freshness_s
                .iter()
                .map(|(scope, age)| (format!("age of {scope} (s)"), format!("{age:.3}"))),
        );
        for peer in &peers {
            let state = match peer.rtt_ms {
                _ if peer.unproven.is_some() => "unproven".to_owned(),
                Some(rtt) if peer.endpoint.status <= HealthStatus::Unhealthy => {
                    format!("{}, {rtt:.1} ms", peer.endpoint.status.word())
                }
                _ => peer.endpoint.status.word().to_owned(),
            };
            let address = peer.endpoint.address.as_deref().unwrap_or_default();
            values.push((format!("{} {address}", peer.endpoint.tier), state));
        }
        let message = if findings.is_empty() { "serves".to_owned() } else { findings.join("; ") };
        Status { level, name: format!("roverline: {} endpoint", own.tier), message, values }
    }
}

fn publication(statuses: &[Status], hardware_id: &str) -> Publication {
    Publication {
        topic: DIAGNOSTICS.to_owned(),
        type_name: DIAGNOSTICS_TYPE.to_owned(),
        payload: diagnostic_array(statuses, hardware_id),
        latched: false,
    }
}

/// A diagnostic_msgs/msg/DiagnosticArray of these.
pub(crate) fn diagnostic_array(statuses: &[Status], hardware_id: &str) -> Bytes {
    let now = unix_ns();
    let mut writer = cdr::Writer::with_capacity(4_096);
    // std_msgs/Header
    writer.i32((now / 1_000_000_000) as i32).u32((now % 1_000_000_000) as u32).string("");
    writer.len(statuses.len() as u32);
    for status in statuses {
        status.write(&mut writer, hardware_id);
    }
    Bytes::from(writer.finish())
}

#[cfg(test)]
mod tests {
    use roverline_protocol::api::metrics::ComputerDocument;
    use roverline_schema::Registry;

    use super::*;

    #[test]
    fn diagnostics_decode_as_their_type() {
        let status = Status {
            level: WARN,
            name: "roverline: primary endpoint".to_owned(),
            message: "covers secondary".to_owned(),
            values: vec![("clients".to_owned(), "3 of 50".to_owned()), ("covers".to_owned(), String::new())],
        };
        let computer = system_status::computer(&ComputerDocument::default());
        let publication = publication(&[status, computer], "rover-1");
        let plan = Registry::bundled().plan(DIAGNOSTICS_TYPE).unwrap();
        let mut json = Vec::new();
        plan.write_json(&publication.payload, &mut json).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let entry = &value["status"][0];
        assert_eq!((&entry["level"], &entry["hardware_id"]), (&1.into(), &"rover-1".into()));
        assert_eq!(entry["values"][0]["value"], "3 of 50");
        assert_eq!(value["status"][1]["name"], "roverline: computer ");
        assert_eq!(value["status"].as_array().unwrap().len(), 2);
    }
}
