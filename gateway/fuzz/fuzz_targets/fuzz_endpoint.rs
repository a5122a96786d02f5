//! An endpoint without a rover and without a store, for targets that need one.

use std::sync::Arc;

use roverline_coordination::Coordination;
use roverline_gateway::access::{Access, AccessSettings, Role};
use roverline_gateway::config::SourceKind;
use roverline_gateway::emergency_stop::EmergencyStop;
use roverline_gateway::endpoint::peers::PeerTrust;
use roverline_gateway::endpoint::peers::key::PeerKey;
use roverline_gateway::endpoint::peers::networks::PeerNetworks;
use roverline_gateway::endpoint::peers::proof::Prover;
use roverline_gateway::endpoint::peers::table::Peers;
use roverline_gateway::endpoint::{Endpoint, EndpointBuilder};
use roverline_gateway::hub::{Hub, Ingress};
use roverline_protocol::{Routing, Tier};
use roverline_schema::Registry;
use roverline_source::{Publication, PublishError, SourceControl};

/// The rover's name.
pub const ROVER: &str = "rover";
/// Where peers may be.
pub const NETWORKS: [&str; 2] = ["10.0.0.0/8", "fd00::/8"];

/// Takes nothing.
struct NoRover;

impl SourceControl for NoRover {
    fn publish(&self, _: Publication) -> Result<(), PublishError> {
        Err(PublishError::Failed("there is no rover".to_owned()))
    }
}

/// An endpoint whose clients on this computer may do everything.
pub fn endpoint(port: u16) -> Arc<Endpoint> {
    let tier = Tier::Primary;
    let access = AccessSettings {
        loopback: Role::Commander,
        remote: Role::Observer,
        trusted_proxies: vec!["127.0.0.2".to_owned()],
        origins: vec!["http://tool.example".to_owned()],
        ..AccessSettings::default()
    };
    let key = Some(PeerKey::new(&[b'k'; 32]));
    EndpointBuilder {
        tier,
        port,
        max_clients: 50,
        hub: Hub::new(tier.scopes(), Registry::bundled()),
        ingress: Ingress::new(Arc::new(Routing::default()), tier.scopes()),
        source_kind: SourceKind::Sim,
        peers: Peers::new(Vec::new()),
        peer_trust: PeerTrust {
            prover: Prover { key, tier, address: None },
            networks: PeerNetworks::new(
                NETWORKS.iter().map(|text| text.parse().expect("it is a network")).collect(),
            ),
        },
        emergency_stop: EmergencyStop::forwarded(Arc::new(NoRover)),
        session_budget: None,
        endpoint_budget: None,
        access: Arc::new(Access::new(&access).expect("the settings are right")),
        publisher: Arc::new(NoRover),
        stop_topic: "/emergency_stop".to_owned(),
        path_prefix: String::new(),
        rover: ROVER.to_owned(),
        guards: Arc::new(roverline_gateway::authority::Guards::none()),
        coordination: Arc::new(Coordination::disabled("there is no store")),
        state_dir: std::env::temp_dir(),
        spans: None,
        log: Arc::default(),
    }
    .build()
}
