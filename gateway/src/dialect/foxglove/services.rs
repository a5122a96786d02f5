//! Service advertisements and service calls of one client.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::api::commands::CommandKind;
use roverline_schema::SchemaError;
use roverline_source::ros::Ros;
use tracing::Instrument;

use crate::dialect::foxglove::background_tasks::{BackgroundTasks, has_space};
use crate::dialect::foxglove::client_message::ServiceRequest;
use crate::dialect::foxglove::connection_graph::is_hidden;
use crate::dialect::foxglove::error::{Limit, RequestError};
use crate::dialect::foxglove::publications::{Encoding, to_cdr};
use crate::dialect::foxglove::server_message::{self, Level, MessageSchema, ServerMessage, Service};
use crate::dialect::foxglove::status::StatusReporter;
use crate::dialect::session::SessionContext;
use crate::limits;

const TIMEOUT: Duration = Duration::from_millis(limits::SERVICE_TIMEOUT_MS);

/// Every node serves these, and the protocol has messages of its own for them.
const NODE_SERVICES: [&str; 2] = ["rcl_interfaces/srv/", "type_description_interfaces/srv/"];

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Advertised {
    name: String,
    type_name: String,
}

/// The services advertised to one client.
#[derive(Default)]
pub(super) struct Services {
    advertised: HashMap<u32, Advertised>,
    /// A service that comes back gets its previous id.
    ids: HashMap<Advertised, u32>,
    last: u32,
    /// Types already reported as unknown.
    unknown: HashSet<String>,
}

impl Services {
    /// Sends the services that appeared or disappeared. Returns false if the client's backlog is too
    /// large; call it again.
    pub(super) fn sync(&mut self, context: &SessionContext, reporter: &mut StatusReporter) -> bool {
        let graph = context.endpoint.graph();
        let is_shown = |name: &str, type_name: &str| {
            let of_node = NODE_SERVICES.iter().any(|package| type_name.starts_with(package));
            !of_node && !is_hidden(name)
        };
        let now: HashSet<Advertised> = graph
            .services
            .iter()
            .filter(|service| is_shown(&service.name, &service.type_name))
            .map(|service| Advertised { name: service.name.clone(), type_name: service.type_name.clone() })
            .collect();
        let mut gone: Vec<u32> = self
            .advertised
            .iter()
            .filter(|(_, advertised)| !now.contains(advertised))
            .map(|(id, _)| *id)
            .collect();
        gone.sort_unstable();
        if !gone.is_empty() {
            gone.iter().for_each(|id| drop(self.advertised.remove(id)));
            context.info.outbox().control(ServerMessage::UnadvertiseServices { service_ids: &gone }.frame());
        }
        let known: HashSet<&Advertised> = self.advertised.values().collect();
        let mut new: Vec<Advertised> =
            now.iter().filter(|advertised| !known.contains(advertised)).cloned().collect();
        new.sort();
        self.advertise(context, new, reporter)
    }

    fn advertise(
        &mut self,
        context: &SessionContext,
        new: Vec<Advertised>,
        reporter: &mut StatusReporter,
    ) -> bool {
        let outbox = context.info.outbox();
        let (mut batch, mut bytes): (Vec<Service>, usize) = (Vec::new(), 0);
        let send_batch =
            |services: &[Service]| outbox.control(ServerMessage::AdvertiseServices { services }.frame());
        for advertised in new {
            if bytes > limits::FOXGLOVE_BATCH_BYTES {
                send_batch(&std::mem::take(&mut batch));
                bytes = 0;
            }
            if batch.is_empty() && !has_space(outbox) {
                return false;
            }
            if self.unknown.contains(&advertised.type_name) {
                continue;
            }
            match self.service(context, &advertised) {
                Ok(service) => {
                    // Each text is sent twice.
                    bytes += 2 * (service.request_schema.len() + service.response_schema.len());
                    bytes += 3 * advertised.name.len() + 512;
                    self.advertised.insert(service.id, advertised);
                    batch.push(service);
                }
                Err(error) => {
                    if self.unknown.len() < limits::SERVICES {
                        self.unknown.insert(advertised.type_name.clone());
                    }
                    reporter.report(
                        Level::Warning,
                        format!("{} cannot be called from here: {error}", advertised.name),
                    );
                }
            }
        }
        if !batch.is_empty() {
            send_batch(&batch);
        }
        true
    }

    /// A client without the definitions could send at most an empty request, so such services are not
    /// advertised.
    fn service(&mut self, context: &SessionContext, advertised: &Advertised) -> Result<Service, SchemaError> {
        let message_schema = |part: &str| {
            let schema_name = format!("{}_{part}", advertised.type_name);
            let schema = context.endpoint.hub.registry().text(&schema_name)?;
            Ok(MessageSchema { encoding: "cdr", schema_name, schema_encoding: "ros2msg", schema })
        };
        let (request, response) = (message_schema("Request")?, message_schema("Response")?);
        Ok(Service {
            id: self.id_of(advertised),
            name: advertised.name.clone(),
            type_name: advertised.type_name.clone(),
            request_schema: request.schema.clone(),
            response_schema: response.schema.clone(),
            request,
            response,
        })
    }

    fn id_of(&mut self, advertised: &Advertised) -> u32 {
        if let Some(id) = self.ids.get(advertised) {
            return *id;
        }
        if self.ids.len() >= limits::SERVICES {
            // Advertised services keep their ids.
            self.ids = self.advertised.iter().map(|(id, advertised)| (advertised.clone(), *id)).collect();
        }
        self.last = self.last.wrapping_add(1);
        self.ids.insert(advertised.clone(), self.last);
        self.last
    }

    /// Calls a service; the client receives the response or an error.
    pub(super) fn call(
        &self,
        context: &SessionContext,
        tasks: &mut BackgroundTasks,
        request: ServiceRequest,
    ) {
        let (service, call) = (request.service, request.call);
        if let Err(error) = self.try_call(context, tasks, request) {
            context.info.outbox().control(server_message::call_failure(service, call, &error));
        }
    }

    fn try_call(
        &self,
        context: &SessionContext,
        tasks: &mut BackgroundTasks,
        request: ServiceRequest,
    ) -> Result<(), RequestError> {
        let ServiceRequest { service, call, encoding, payload } = request;
        let advertised = self.advertised.get(&service).ok_or(RequestError::Unknown("service", service))?;
        context.authorize_call(&advertised.name, &advertised.type_name)?;
        let encoding = Encoding::parse(&encoding)?;
        let request = to_cdr(context, encoding, &format!("{}_Request", advertised.type_name), &payload)?;
        let (ros, advertised) = (context.endpoint.ros.clone(), advertised.clone());
        let span = context.call_span(&advertised.name, None);
        let command = context.record_command(CommandKind::Call, &advertised.name, &advertised.type_name);
        tasks.start(payload.len(), |responder| async move {
            let answer = call_service(&ros, &advertised, encoding, request).instrument(span).await;
            command.finish_with(&answer);
            match answer {
                Ok(response) => {
                    responder
                        .respond(server_message::service_response(service, call, encoding.name(), &response))
                        .await;
                }
                Err(error) => responder.send(server_message::call_failure(service, call, &error)),
            }
        })?;
        Ok(())
    }
}

/// Calls a service; the response has the request's encoding.
async fn call_service(
    ros: &Ros,
    service: &Advertised,
    encoding: Encoding,
    request: Bytes,
) -> Result<Bytes, RequestError> {
    let cdr = ros.call(&service.name, &service.type_name, request, TIMEOUT).await?;
    let response = match encoding {
        Encoding::Cdr => cdr,
        Encoding::Json => ros.decode(&format!("{}_Response", service.type_name), &cdr)?.into(),
    };
    match response.len() > limits::FOXGLOVE_RESPONSE_BYTES {
        true => Err(Limit::Response.into()),
        false => Ok(response),
    }
}
