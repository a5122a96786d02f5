//! Who holds what, for everybody: the document of the API, and a latched ROS topic.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use roverline_protocol::api::authority::{AuthorityClient, AuthorityDocument, AuthorityList};
use roverline_source::Publication;
use roverline_source::clock::monotonic;
use serde_json::json;
use tokio::sync::watch;

use crate::authority::Guard;
use crate::authority::command_file::since_boot;
use crate::endpoint::Endpoint;

/// The topic with the holders (std_msgs/msg/String, JSON as of `GET /api/v2/authority`).
const TOPIC: &str = "/roverline/authority";
const TYPE: &str = "std_msgs/msg/String";
/// Interval at which it is published, as MAVLink's CONTROL_STATUS is.
const PERIOD: Duration = Duration::from_secs(1);

/// All authorities as this endpoint knows them.
pub(crate) fn authority_list(endpoint: &Endpoint) -> AuthorityList {
    AuthorityList { authorities: endpoint.guards.all().iter().map(|guard| document(guard)).collect() }
}

fn document(guard: &Guard) -> AuthorityDocument {
    let settings = guard.settings();
    let last = guard.last_command();
    AuthorityDocument {
        name: guard.name().to_owned(),
        holder: guard.holder().map(|holder| AuthorityClient {
            identity: holder.claimant.identity,
            client: holder.claimant.name,
            token: holder.token,
        }),
        waiting: guard.waiting(),
        phase: guard.phase().word().to_owned(),
        last_command_age_s: last.map(|last| since_boot().saturating_sub(last.at).as_secs_f64()),
        topics: settings.topics.clone(),
        services: settings.services.clone(),
        actions: settings.actions.clone(),
        link_loss: settings.link_loss.word().to_owned(),
        timeout_ms: settings.timeout_ms,
        implicit: settings.implicit,
        granted: guard.counts.granted.load(Ordering::Relaxed),
        refused: guard.counts.refused.load(Ordering::Relaxed),
        problem: guard.problem(monotonic()),
    }
}

/// Publishes the holders while this endpoint leads, forever.
pub(crate) async fn publish_authority(endpoint: Arc<Endpoint>, mut is_leader: watch::Receiver<bool>) {
    loop {
        if is_leader.wait_for(|leads| *leads).await.is_err() {
            return std::future::pending().await;
        }
        let text = serde_json::to_string(&authority_list(&endpoint)).unwrap_or_default();
        let published = endpoint.ros.encode(TYPE, &json!({"data": text})).and_then(|payload| {
            let (topic, type_name) = (TOPIC.to_owned(), TYPE.to_owned());
            endpoint.ros.publish(Publication { topic, type_name, payload, latched: true })
        });
        if let Err(error) = published {
            tracing::debug!(%error, "the authorities were not published");
        }
        tokio::time::sleep(PERIOD).await;
    }
}
