//! A test endpoint with a port and no rover: tests define the graph and inspect what reaches it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use roverline_coordination::Coordination;
use roverline_protocol::{Guid, Routing, SampleId, Tier};
use roverline_schema::Registry;
use roverline_source::{
    Call, Graph, GraphService, Publication, PublishError, Qos, RawSample, Sink, SourceControl, TopicDecl,
    TopicKey,
};
use roverline_test_support::wait::poll_async;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::Message;

use crate::access::{Access, AccessSettings, Role};
use crate::config::SourceKind;
use crate::emergency_stop::EmergencyStop;
use crate::endpoint::peers::PeerTrust;
use crate::endpoint::peers::networks::PeerNetworks;
use crate::endpoint::peers::proof::Prover;
use crate::endpoint::peers::table::Peers;
use crate::endpoint::{Endpoint, EndpointBuilder};
use crate::hub::{Hub, Ingress};
use crate::server::listener::accept_loop;

/// Records what is published, and stores the calls for the test to answer.
#[derive(Default)]
pub(crate) struct FakeRover {
    pub(crate) published: Mutex<Vec<Publication>>,
    pub(crate) calls: Mutex<Vec<Call>>,
}

impl SourceControl for FakeRover {
    fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        self.published.lock().push(publication);
        Ok(())
    }

    fn call(&self, call: Call) -> Result<(), PublishError> {
        self.calls.lock().push(call);
        Ok(())
    }
}

pub(crate) struct Harness {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) fake: Arc<FakeRover>,
    pub(crate) stop: Arc<EmergencyStop>,
    address: std::net::SocketAddr,
    _state: tempfile::TempDir,
}

pub(crate) fn payload(text: &str) -> Bytes {
    let mut writer = roverline_schema::cdr::Writer::new();
    writer.string(text);
    writer.finish().into()
}

pub(crate) fn decl(name: &str, type_name: &str, latched: bool) -> TopicDecl {
    let qos = Qos { reliable: true, transient_local: latched };
    TopicDecl {
        name: name.into(),
        type_name: type_name.into(),
        qos,
        encoding: Default::default(),
        history_depth: 1,
        schema: None,
        route: None,
    }
}

impl Harness {
    pub(crate) async fn new(tier: Tier, role: Role, source_kind: SourceKind) -> Harness {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let fake = Arc::new(FakeRover::default());
        let state = tempfile::tempdir().unwrap();
        let stop = EmergencyStop::new(state.path(), "/emergency_stop");
        let settings = AccessSettings { loopback: role, ..AccessSettings::default() };
        let endpoint = EndpointBuilder {
            tier,
            port: address.port(),
            max_clients: 8,
            hub: Hub::new(tier.scopes(), Registry::bundled()),
            ingress: Ingress::new(Arc::new(Routing::default()), tier.scopes()),
            source_kind,
            peers: Peers::new(Vec::new()),
            peer_trust: PeerTrust {
                prover: Prover { key: None, tier, address: None },
                networks: PeerNetworks::default(),
            },
            emergency_stop: stop.clone(),
            session_budget: None,
            endpoint_budget: None,
            access: Arc::new(Access::new(&settings).unwrap()),
            publisher: fake.clone(),
            stop_topic: "/emergency_stop".to_owned(),
            path_prefix: String::new(),
            rover: "rover".to_owned(),
            guards: Arc::new(crate::authority::Guards::none()),
            coordination: Arc::new(Coordination::disabled("this has no store")),
            state_dir: state.path().to_owned(),
            spans: None,
            log: Arc::default(),
        }
        .build();
        let (hub, ingress) = (endpoint.hub.clone(), endpoint.ingress.clone());
        tokio::spawn(async move { hub.run(&ingress).await });
        tokio::spawn(accept_loop(endpoint.clone(), listener, None));
        Harness { endpoint, fake, stop, address, _state: state }
    }

    pub(crate) fn sample(&self, key: TopicKey, seq: u64, payload: Bytes) {
        let id = SampleId { source: Guid::from_name("test"), seq };
        let receive_time_ns = 1_000 + seq as i64;
        self.endpoint.ingress.sample(key, RawSample { id, source_time_ns: 0, receive_time_ns, payload });
    }

    pub(crate) fn serve(&self, services: &[(&str, &str)]) {
        let service = |(name, type_name): &(&str, &str)| GraphService {
            name: (*name).to_owned(),
            type_name: (*type_name).to_owned(),
            providers: vec!["/node".to_owned()],
        };
        let services = services.iter().map(service).collect();
        self.endpoint.ingress.graph(Graph { services, ..Graph::default() });
    }

    pub(crate) async fn connect(&self) -> Client {
        self.connect_with(crate::dialect::foxglove::SUBPROTOCOLS[0]).await
    }

    /// A client that requests this subprotocol.
    pub(crate) async fn connect_with(&self, subprotocol: &str) -> Client {
        let mut request = format!("ws://{}/", self.address).into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", subprotocol.parse().unwrap());
        self.open(request).await
    }

    /// A client that speaks rosbridge, for behaviour common to both dialects.
    pub(crate) async fn connect_rosbridge(&self) -> Client {
        self.open(format!("ws://{}/rosbridge", self.address).into_client_request().unwrap()).await
    }

    async fn open(&self, request: tungstenite::handshake::client::Request) -> Client {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        Client { socket }
    }
}

pub(crate) struct Client {
    socket: WebSocketStream<TcpStream>,
}

/// A message that a client received.
#[derive(Debug)]
pub(crate) enum Received {
    Json(Value),
    Binary(Bytes),
    Closed(u16),
}

impl Client {
    pub(crate) async fn send_json(&mut self, json: Value) {
        self.socket.send(Message::text(json.to_string())).await.unwrap();
    }

    pub(crate) async fn send_binary(&mut self, bytes: Vec<u8>) {
        self.socket.send(Message::binary(bytes)).await.unwrap();
    }

    pub(crate) async fn call(&mut self, service: u32, call: u32, encoding: &str, payload: &[u8]) {
        let mut bytes = vec![2];
        for number in [service, call, encoding.len() as u32] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        self.send_binary([&bytes, encoding.as_bytes(), payload].concat()).await;
    }

    pub(crate) async fn publish(&mut self, channel: u32, payload: &[u8]) {
        self.send_binary([&[1], &channel.to_le_bytes()[..], payload].concat()).await;
    }

    pub(crate) async fn next(&mut self) -> Received {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(20), self.socket.next());
            match next.await.expect("something is said").expect("the connection stays").unwrap() {
                Message::Text(text) => return Received::Json(serde_json::from_str(text.as_str()).unwrap()),
                Message::Binary(bytes) => return Received::Binary(bytes),
                Message::Close(frame) => {
                    return Received::Closed(frame.map_or(1006, |frame| frame.code.into()));
                }
                _ => {}
            }
        }
    }

    /// The next message of this `op`; others are skipped.
    pub(crate) async fn op(&mut self, op: &str) -> Value {
        loop {
            if let Received::Json(json) = self.next().await
                && json["op"] == op
            {
                return json;
            }
        }
    }

    pub(crate) async fn binary(&mut self) -> Bytes {
        loop {
            if let Received::Binary(bytes) = self.next().await {
                return bytes;
            }
        }
    }

    /// Everything received up to the response to a request sent now: all earlier messages have been
    /// handled by then.
    pub(crate) async fn settle(&mut self) -> Vec<Received> {
        self.send_json(serde_json::json!({"op": "fetchAsset", "uri": "x", "requestId": 999})).await;
        let mut received = Vec::new();
        loop {
            match self.next().await {
                Received::Binary(bytes) if bytes.starts_with(&[4, 0xe7, 3, 0, 0]) => return received,
                other => received.push(other),
            }
        }
    }

    /// The texts of the statuses received until all earlier messages have been handled.
    pub(crate) async fn statuses(&mut self) -> Vec<String> {
        let received = self.settle().await;
        let message = |received: &Received| match received {
            Received::Json(json) if json["op"] == "status" => json["message"].as_str().map(str::to_owned),
            _ => None,
        };
        received.iter().filter_map(message).collect()
    }
}

pub(crate) async fn until<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let found = poll_async(Duration::from_secs(20), async || find()).await;
    found.unwrap_or_else(|| panic!("not in time: {what}"))
}
