//! Client operations on the ROS graph beyond subscribing: publishing, services, actions and parameters,
//! in CDR and JSON. Everything is bounded in time and number: a node that does not answer costs its own
//! call the timeout, and nothing else.

mod action;
pub(crate) mod parameter;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::limits;
use roverline_protocol::trace::TARGET;
use roverline_schema::Registry;
use serde_json::Value;
use tokio::sync::{oneshot, watch};
use tracing::Instrument;
use tracing::field::Empty;

use crate::clock::unix_ns;
pub use crate::ros::action::{Goal, GoalEvent, GoalHandler, GoalId, GoalStatus, ServedAction, ServedGoal};
pub use crate::ros::parameter::{Parameter, ParameterDescription, ParameterValue};
use crate::{
    Advertisement, Call, CallError, Graph, Handler, PlaybackControl, Publication, PublishError, Service,
    SourceControl, UpstreamRequest,
};

/// Namespace of the gateway's own services; clients cannot serve names below it.
const RESERVED: &str = "/websocket_redundancy/";

/// Why an operation failed; the text says what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RosError {
    /// The message does not fit its type, or the type is unknown.
    #[error("{0}")]
    Message(String),
    /// The source cannot do it now.
    #[error(transparent)]
    Source(#[from] PublishError),
    /// The service call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The graph has nothing of this name.
    #[error("{0}")]
    Unknown(String),
}

/// The ROS graph, as the dialects use it. Cheap to clone.
#[derive(Clone)]
pub struct Ros {
    publisher: Arc<dyn SourceControl>,
    registry: Registry,
    graph: watch::Receiver<Arc<Graph>>,
    events: Arc<parameter::ParameterEvents>,
}

impl Ros {
    /// Combines the way to the source (`publisher`) with the current graph (`graph`).
    pub fn new(
        publisher: Arc<dyn SourceControl>,
        registry: Registry,
        graph: watch::Receiver<Arc<Graph>>,
    ) -> Ros {
        Ros { publisher, registry, graph, events: Arc::default() }
    }

    /// The current graph.
    pub fn graph(&self) -> Arc<Graph> {
        self.graph.borrow().clone()
    }

    /// Publishes a CDR message unchanged.
    pub fn publish(&self, publication: Publication) -> Result<(), RosError> {
        Ok(self.publisher.publish(publication)?)
    }

    /// Opens the writer of a topic that will be published to.
    pub fn advertise(&self, topic: &str, type_name: &str, latched: bool) -> Result<Advertised, RosError> {
        let advertised = Advertised(Arc::new(()));
        let (topic, type_name) = (topic.to_owned(), type_name.to_owned());
        let keeper = Arc::downgrade(&advertised.0);
        self.publisher.advertise(Advertisement { topic, type_name, latched, keeper })?;
        Ok(advertised)
    }

    /// Controls playback, if the source is a recording.
    pub fn control_playback(&self, control: PlaybackControl) -> Result<(), RosError> {
        Ok(self.publisher.control_playback(control)?)
    }

    /// Requests that the source rejoins the graph with a new participant; `false` if it cannot.
    pub fn rejoin(&self) -> bool {
        self.publisher.rejoin()
    }

    /// Reads a path of the HTTP API of the gateway that the source reads from; `None` if there is none, or no response
    /// within `timeout`.
    pub async fn read_upstream(&self, path: String, timeout: Duration) -> Option<(u16, Value)> {
        let (answer, response) = oneshot::channel();
        let (body, traceparent) = (None, None);
        let request = UpstreamRequest { method: "GET", path, body, traceparent, answer };
        self.request_upstream(request, response, timeout).await
    }

    /// Posts a body to a path of that API. `None` does not say whether it was executed: the rover must recognize a
    /// repetition.
    pub async fn post_upstream(
        &self,
        path: String,
        body: Value,
        traceparent: Option<String>,
        timeout: Duration,
    ) -> Option<(u16, Value)> {
        let (answer, response) = oneshot::channel();
        let request = UpstreamRequest { method: "POST", path, body: Some(body), traceparent, answer };
        self.request_upstream(request, response, timeout).await
    }

    async fn request_upstream(
        &self,
        request: UpstreamRequest,
        response: oneshot::Receiver<(u16, Value)>,
        timeout: Duration,
    ) -> Option<(u16, Value)> {
        if !self.publisher.request_upstream(request) {
            return None;
        }
        tokio::time::timeout(timeout, response).await.ok()?.ok()
    }

    /// Whether the definition of this type is known and valid.
    pub fn knows_type(&self, type_name: &str) -> bool {
        self.registry.plan(type_name).is_ok()
    }

    /// Encodes a JSON message as CDR of this type. The string `now` is replaced by the current time.
    pub fn encode(&self, type_name: &str, message: &Value) -> Result<Bytes, RosError> {
        let plan = self.registry.plan(type_name).map_err(|error| RosError::Message(error.to_string()))?;
        let cdr =
            plan.encode_json_at(message, unix_ns()).map_err(|error| RosError::Message(error.to_string()))?;
        Ok(Bytes::from(cdr))
    }

    /// Decodes CDR of this type to JSON text.
    pub fn decode(&self, type_name: &str, cdr: &[u8]) -> Result<Vec<u8>, RosError> {
        let plan = self.registry.plan(type_name).map_err(|error| RosError::Message(error.to_string()))?;
        let mut json = Vec::with_capacity(cdr.len() * 2);
        plan.write_json(cdr, &mut json).map_err(|error| RosError::Message(error.to_string()))?;
        Ok(json)
    }

    /// Calls a service with CDR. `type_name` may be empty if the graph knows it.
    pub async fn call(
        &self,
        service: &str,
        type_name: &str,
        request: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, RosError> {
        let type_name = self.service_type(service, type_name)?;
        let span = tracing::error_span!(
            target: TARGET,
            "call",
            otel.name = service,
            otel.kind = "client",
            otel.status_code = Empty,
            otel.status_description = Empty,
            rpc.system.name = "ros2",
            rpc.method = service,
            roverline.type = type_name,
        );
        let called = self.answered(service, type_name, request, timeout).instrument(span.clone()).await;
        if let Err(error) = &called {
            span.record("otel.status_code", "ERROR");
            span.record("otel.status_description", error.to_string());
        }
        called
    }

    async fn answered(
        &self,
        service: &str,
        type_name: String,
        request: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, RosError> {
        let timeout = timeout.min(Duration::from_millis(limits::SERVICE_TIMEOUT_MAX_MS));
        let (answer, answered) = oneshot::channel();
        self.publisher.call(Call { service: service.to_owned(), type_name, request, timeout, answer })?;
        let late = || CallError::Timeout { service: service.to_owned(), timeout };
        // The source has the same timeout; wait slightly longer, so that its own error comes first.
        match tokio::time::timeout(timeout + Duration::from_millis(200), answered).await {
            Ok(Ok(answer)) => Ok(answer?),
            Ok(Err(_)) => Err(CallError::Failed(format!("{service} gave no answer")).into()),
            Err(_) => Err(late().into()),
        }
    }

    /// Calls a service with JSON: the request's fields by name, or all of them in order. Returns the
    /// response as JSON text.
    pub async fn call_json(
        &self,
        service: &str,
        type_name: &str,
        arguments: &Value,
        timeout: Duration,
    ) -> Result<Vec<u8>, RosError> {
        let type_name = self.service_type(service, type_name)?;
        let request_type = format!("{type_name}_Request");
        let request = match arguments {
            Value::Array(items) => self.encode(&request_type, &self.by_name(&request_type, items)?)?,
            Value::Null => self.encode(&request_type, &Value::Object(serde_json::Map::new()))?,
            fields => self.encode(&request_type, fields)?,
        };
        let response = self.call(service, &type_name, request, timeout).await?;
        self.decode(&format!("{type_name}_Response"), &response)
    }

    /// Serves a service until the returned value is dropped or another one replaces it under its name.
    pub fn serve(
        &self,
        name: &str,
        type_name: &str,
        handler: Arc<Handler>,
    ) -> Result<ServedService, RosError> {
        if name.starts_with(RESERVED) {
            return Err(RosError::Source(PublishError::Failed(format!("{name} is the gateway's own"))));
        }
        let open = Arc::new(AtomicBool::new(true));
        let (name, type_name) = (name.to_owned(), type_name.to_owned());
        self.publisher.offer(Service { name: name.clone(), type_name, open: open.clone(), handler })?;
        Ok(ServedService { publisher: self.publisher.clone(), name, open })
    }

    /// A service's type: `given`, or else the one in the graph.
    fn service_type(&self, service: &str, given: &str) -> Result<String, RosError> {
        if !given.is_empty() {
            return Ok(given.to_owned());
        }
        let graph = self.graph.borrow();
        let known = graph.service(service).map(|service| service.type_name.clone());
        known.ok_or_else(|| match graph.more_services {
            true => RosError::Unknown(format!(
                "the type of {service} is not known here: this source does not list services; give the type"
            )),
            false => CallError::NoServer(service.to_owned()).into(),
        })
    }

    fn by_name(&self, type_name: &str, items: &[Value]) -> Result<Value, RosError> {
        let plan = self.registry.plan(type_name).map_err(|error| RosError::Message(error.to_string()))?;
        let names: Vec<&str> = plan.field_names().collect();
        if items.len() > names.len() {
            let why = format!("{type_name} has {} fields, not {}", names.len(), items.len());
            return Err(RosError::Message(why));
        }
        let fields = names.iter().zip(items).map(|(name, item)| ((*name).to_owned(), item.clone()));
        Ok(Value::Object(fields.collect()))
    }
}

/// An advertised topic: its writer stays open until all clones of this are dropped, and some time longer.
#[derive(Clone, Debug)]
pub struct Advertised(Arc<()>);

/// A served service; dropping it withdraws the service.
pub struct ServedService {
    publisher: Arc<dyn SourceControl>,
    name: String,
    open: Arc<AtomicBool>,
}

impl Drop for ServedService {
    fn drop(&mut self) {
        self.open.store(false, Ordering::Relaxed);
        self.publisher.withdraw(&self.name);
    }
}
