//! An endpoint with a port and no rover: the tests say what the graph does and see what reaches it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use roverline_coordination::Coordination;
use roverline_protocol::{Guid, Routing, SampleId, Tier};
use roverline_schema::Registry;
use roverline_source::{
    Call, Graph, GraphService, Publication, PublishError, Publisher, Qos, RawSample, Sink, TopicDecl,
    TopicKey,
};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::Message;

use crate::access::{Access, AccessSettings, Role};
use crate::emergency_stop::EmergencyStop;
use crate::endpoint::{Endpoint, Parts, Peers};
use crate::hub::{Hub, Ingress};
use crate::server::listener::accept_loop;

/// Takes what is published, and keeps the calls for the test to answer.
#[derive(Default)]
pub(super) struct Fake {
    pub(super) published: Mutex<Vec<Publication>>,
    pub(super) calls: Mutex<Vec<Call>>,
}

impl Publisher for Fake {
    fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        self.published.lock().unwrap().push(publication);
        Ok(())
    }

    fn call(&self, call: Call) -> Result<(), PublishError> {
        self.calls.lock().unwrap().push(call);
        Ok(())
    }
}

pub(super) struct Rig {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) fake: Arc<Fake>,
    pub(super) stop: Arc<EmergencyStop>,
    address: std::net::SocketAddr,
}

pub(super) fn payload(text: &str) -> Bytes {
    let mut writer = roverline_schema::cdr::Writer::new();
    writer.string(text);
    writer.finish().into()
}

pub(super) fn decl(name: &str, type_name: &str, latched: bool) -> TopicDecl {
    let qos = Qos { reliable: true, transient_local: latched };
    TopicDecl { name: name.into(), type_name: type_name.into(), qos, schema: None, route: None }
}

impl Rig {
    pub(super) async fn new(tier: Tier, role: Role, source_kind: &'static str) -> Rig {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let fake = Arc::new(Fake::default());
        let state = format!("roverline-rig-{}-{}", std::process::id(), address.port());
        let stop = EmergencyStop::new(&std::env::temp_dir().join(state), "/emergency_stop");
        let settings = AccessSettings { loopback: role, ..AccessSettings::default() };
        let endpoint = Endpoint::new(Parts {
            tier,
            port: address.port(),
            max_clients: 8,
            hub: Hub::new(tier.scopes(), Registry::bundled()),
            ingress: Ingress::new(Arc::new(Routing::default()), tier.scopes()),
            source_kind,
            peers: Peers::new(Vec::new()),
            estop: stop.clone(),
            session_budget: None,
            endpoint_budget: None,
            access: Arc::new(Access::new(&settings).unwrap()),
            publisher: fake.clone(),
            stop_topic: "/emergency_stop".to_owned(),
            rover: "rover".to_owned(),
            coordination: Arc::new(Coordination::nowhere("this has no store")),
        });
        let (hub, ingress) = (endpoint.hub.clone(), endpoint.ingress.clone());
        tokio::spawn(async move { hub.run(&ingress).await });
        tokio::spawn(accept_loop(endpoint.clone(), listener));
        Rig { endpoint, fake, stop, address }
    }

    pub(super) fn sample(&self, key: TopicKey, seq: u64, payload: Bytes) {
        let id = SampleId { source: Guid::from_name("test"), seq };
        let receive_time_ns = 1_000 + seq as i64;
        self.endpoint.ingress.sample(key, RawSample { id, source_time_ns: 0, receive_time_ns, payload });
    }

    pub(super) fn serve(&self, services: &[(&str, &str)]) {
        let service = |(name, type_name): &(&str, &str)| GraphService {
            name: (*name).to_owned(),
            type_name: (*type_name).to_owned(),
            providers: vec!["/node".to_owned()],
        };
        let services = services.iter().map(service).collect();
        self.endpoint.ingress.graph(Graph { services, ..Graph::default() });
    }

    pub(super) async fn connect(&self) -> Client {
        let mut request = format!("ws://{}/", self.address).into_client_request().unwrap();
        let subprotocol = crate::dialect::foxglove::SUBPROTOCOLS[0].parse().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", subprotocol);
        self.open(request).await
    }

    /// A client that speaks rosbridge, for what holds in both.
    pub(super) async fn connect_rosbridge(&self) -> Client {
        self.open(format!("ws://{}/rosbridge", self.address).into_client_request().unwrap()).await
    }

    async fn open(&self, request: tungstenite::handshake::client::Request) -> Client {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        Client { socket }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let state = format!("roverline-rig-{}-{}", std::process::id(), self.address.port());
        let _ = std::fs::remove_dir_all(std::env::temp_dir().join(state));
    }
}

pub(super) struct Client {
    socket: WebSocketStream<TcpStream>,
}

/// What a client hears.
#[derive(Debug)]
pub(super) enum Heard {
    Json(Value),
    Binary(Bytes),
    Closed(u16),
}

impl Client {
    pub(super) async fn say(&mut self, json: Value) {
        self.socket.send(Message::text(json.to_string())).await.unwrap();
    }

    pub(super) async fn send(&mut self, bytes: Vec<u8>) {
        self.socket.send(Message::binary(bytes)).await.unwrap();
    }

    pub(super) async fn call(&mut self, service: u32, call: u32, encoding: &str, payload: &[u8]) {
        let mut bytes = vec![2];
        for number in [service, call, encoding.len() as u32] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        self.send([&bytes, encoding.as_bytes(), payload].concat()).await;
    }

    pub(super) async fn publish(&mut self, channel: u32, payload: &[u8]) {
        self.send([&[1], &channel.to_le_bytes()[..], payload].concat()).await;
    }

    pub(super) async fn next(&mut self) -> Heard {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(20), self.socket.next());
            match next.await.expect("something is said").expect("the connection stays").unwrap() {
                Message::Text(text) => return Heard::Json(serde_json::from_str(text.as_str()).unwrap()),
                Message::Binary(bytes) => return Heard::Binary(bytes),
                Message::Close(frame) => return Heard::Closed(frame.map_or(1006, |frame| frame.code.into())),
                _ => {}
            }
        }
    }

    /// The next message of this `op`, whatever comes before.
    pub(super) async fn op(&mut self, op: &str) -> Value {
        loop {
            if let Heard::Json(json) = self.next().await
                && json["op"] == op
            {
                return json;
            }
        }
    }

    pub(super) async fn binary(&mut self) -> Bytes {
        loop {
            if let Heard::Binary(bytes) = self.next().await {
                return bytes;
            }
        }
    }

    /// Everything up to the answer to something said now: what was said before is done by then.
    pub(super) async fn settle(&mut self) -> Vec<Heard> {
        self.say(serde_json::json!({"op": "fetchAsset", "uri": "x", "requestId": 999})).await;
        let mut heard = Vec::new();
        loop {
            match self.next().await {
                Heard::Binary(bytes) if bytes.starts_with(&[4, 0xe7, 3, 0, 0]) => return heard,
                other => heard.push(other),
            }
        }
    }

    /// The messages of the statuses that come until what was said before is done.
    pub(super) async fn statuses(&mut self) -> Vec<String> {
        let heard = self.settle().await;
        let message = |heard: &Heard| match heard {
            Heard::Json(json) if json["op"] == "status" => json["message"].as_str().map(str::to_owned),
            _ => None,
        };
        heard.iter().filter_map(message).collect()
    }
}

pub(super) async fn until<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    for _ in 0..20_000 {
        if let Some(found) = find() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("not in time: {what}")
}
