//! The services of the graph as a client knows them, and its calls.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::limits;

use crate::dialect::foxglove::background_tasks::{Errands, has_room};
use crate::dialect::foxglove::client_message::ServiceRequest;
use crate::dialect::foxglove::connection_graph::is_hidden;
use crate::dialect::foxglove::publications::{Encoding, to_cdr};
use crate::dialect::foxglove::server_message::{self, Answer, Half, Level, Service};
use crate::dialect::foxglove::status::Notices;
use crate::dialect::session::Context;

const TIMEOUT: Duration = Duration::from_millis(limits::SERVICE_TIMEOUT_MS);

/// Every node serves these, for what the protocol has words of its own for.
const OF_NODES: [&str; 2] = ["rcl_interfaces/srv/", "type_description_interfaces/srv/"];

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Told {
    name: String,
    type_name: String,
}

/// What one client was told of the services.
#[derive(Default)]
pub(super) struct Services {
    told: HashMap<u32, Told>,
    /// Who comes back has the number of before.
    numbers: HashMap<Told, u32>,
    last: u32,
    /// Types that it was told are not known.
    unknown: HashSet<String>,
}

impl Services {
    /// Tells what came and what went. False when the client has to take some of it first: ask again.
    pub(super) fn sync(&mut self, context: &Context, notices: &mut Notices) -> bool {
        let graph = context.endpoint.graph();
        let is_shown = |name: &str, type_name: &str| {
            let of_node = OF_NODES.iter().any(|package| type_name.starts_with(package));
            !of_node && !is_hidden(name)
        };
        let now: HashSet<Told> = graph
            .services
            .iter()
            .filter(|service| is_shown(&service.name, &service.type_name))
            .map(|service| Told { name: service.name.clone(), type_name: service.type_name.clone() })
            .collect();
        let mut gone: Vec<u32> =
            self.told.iter().filter(|(_, told)| !now.contains(told)).map(|(id, _)| *id).collect();
        gone.sort_unstable();
        if !gone.is_empty() {
            gone.iter().for_each(|id| drop(self.told.remove(id)));
            context.info.outbox().control(Answer::UnadvertiseServices { service_ids: &gone }.frame());
        }
        let known: HashSet<&Told> = self.told.values().collect();
        let mut new: Vec<Told> = now.iter().filter(|told| !known.contains(told)).cloned().collect();
        new.sort();
        self.advertise(context, new, notices)
    }

    fn advertise(&mut self, context: &Context, new: Vec<Told>, notices: &mut Notices) -> bool {
        let outbox = context.info.outbox();
        let (mut batch, mut bytes): (Vec<Service>, usize) = (Vec::new(), 0);
        let tell = |services: &[Service]| outbox.control(Answer::AdvertiseServices { services }.frame());
        for told in new {
            if bytes > limits::FOXGLOVE_BATCH_BYTES {
                tell(&std::mem::take(&mut batch));
                bytes = 0;
            }
            if batch.is_empty() && !has_room(outbox) {
                return false;
            }
            match self.service(context, &told) {
                Ok(service) => {
                    // Each text is in it twice.
                    bytes += 2 * (service.request_schema.len() + service.response_schema.len());
                    bytes += 3 * told.name.len() + 512;
                    self.told.insert(service.id, told);
                    batch.push(service);
                }
                Err(_) if self.unknown.contains(&told.type_name) => {}
                Err(why) => {
                    if self.unknown.len() < limits::SERVICES {
                        self.unknown.insert(told.type_name.clone());
                    }
                    notices.tell(Level::Warning, format!("{} cannot be called from here: {why}", told.name));
                }
            }
        }
        if !batch.is_empty() {
            tell(&batch);
        }
        true
    }

    /// A client without the definitions could send an empty request at most: it is not told of those.
    fn service(&mut self, context: &Context, told: &Told) -> Result<Service, String> {
        if self.unknown.contains(&told.type_name) {
            return Err("unknown as before".to_owned());
        }
        let half = |part: &str| {
            let schema_name = format!("{}_{part}", told.type_name);
            let schema =
                context.endpoint.hub.registry().text(&schema_name).map_err(|error| error.to_string())?;
            Ok::<_, String>(Half { encoding: "cdr", schema_name, schema_encoding: "ros2msg", schema })
        };
        let (request, response) = (half("Request")?, half("Response")?);
        Ok(Service {
            id: self.number(told),
            name: told.name.clone(),
            type_name: told.type_name.clone(),
            request_schema: request.schema.clone(),
            response_schema: response.schema.clone(),
            request,
            response,
        })
    }

    fn number(&mut self, told: &Told) -> u32 {
        if let Some(number) = self.numbers.get(told) {
            return *number;
        }
        if self.numbers.len() >= limits::SERVICES {
            // Those that are told keep theirs.
            self.numbers = self.told.iter().map(|(id, told)| (told.clone(), *id)).collect();
        }
        self.last = self.last.wrapping_add(1);
        self.numbers.insert(told.clone(), self.last);
        self.last
    }

    /// Calls a service; the client hears of the answer, or why there is none.
    pub(super) fn call(&self, context: &Context, errands: &mut Errands, request: ServiceRequest) {
        let (service, call) = (request.service, request.call);
        if let Err(why) = self.try_call(context, errands, request) {
            context.info.outbox().control(server_message::call_failure(service, call, &why));
        }
    }

    fn try_call(
        &self,
        context: &Context,
        errands: &mut Errands,
        request: ServiceRequest,
    ) -> Result<(), String> {
        let ServiceRequest { service, call, encoding, payload } = request;
        let told = self.told.get(&service).ok_or_else(|| format!("there is no service {service}"))?;
        context.may_call(&told.name, &told.type_name).map_err(|denied| denied.to_string())?;
        let encoding = Encoding::parse(&encoding)?;
        let request = to_cdr(context, encoding, &format!("{}_Request", told.type_name), &payload)?;
        let (ros, told) = (context.endpoint.ros.clone(), told.clone());
        errands.start(payload.len(), |desk| async move {
            let response = ros.call(&told.name, &told.type_name, request, TIMEOUT).await;
            let response = response.map_err(|error| error.to_string());
            let response = response.and_then(|cdr| match encoding {
                Encoding::Cdr => Ok(cdr),
                Encoding::Json => ros
                    .decode(&format!("{}_Response", told.type_name), &cdr)
                    .map(Bytes::from)
                    .map_err(|error| error.to_string()),
            });
            match response {
                Ok(response) if response.len() > limits::FOXGLOVE_ANSWER_BYTES => {
                    let why = format!("the response is larger than {} bytes", limits::FOXGLOVE_ANSWER_BYTES);
                    desk.say(server_message::call_failure(service, call, &why));
                }
                Ok(response) => {
                    desk.answer(server_message::service_response(service, call, encoding.name(), &response))
                        .await;
                }
                Err(why) => desk.say(server_message::call_failure(service, call, &why)),
            }
        })
    }
}
