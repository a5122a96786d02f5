//! Services in the graph. The client library serves only types that are known when it is compiled: those of `std_srvs`.

use std::collections::HashMap;
use std::sync::mpsc::sync_channel;

use futures_util::{FutureExt, StreamExt};
use r2r::{Node, QosProfile, WrappedServiceTypeSupport};
use roverline_schema::Registry;

use crate::r2r::json::{decoded, encoded};
use crate::{MAX_SERVICES, Reply, Service};

/// Responses of one service that wait to be sent; further ones are dropped.
const MAX_RESPONSES: usize = 64;

/// Takes the requests that have arrived and sends the responses that are ready.
type Poll = Box<dyn FnMut()>;

/// The served types.
pub(super) const SERVED: [&str; 3] = ["std_srvs/srv/Trigger", "std_srvs/srv/SetBool", "std_srvs/srv/Empty"];

/// Whether this build has them.
pub(super) const BUILT: bool = cfg!(r2r_std_srvs);

/// The services by name.
pub(super) struct Services {
    registry: Registry,
    served: HashMap<String, Poll>,
}

impl Services {
    pub(super) fn new(registry: Registry) -> Services {
        Services { registry, served: HashMap::new() }
    }

    /// Serves a service; it replaces one of the same name.
    pub(super) fn offer(&mut self, node: &mut Node, service: Service) {
        let name = service.name.clone();
        if self.served.len() >= MAX_SERVICES && !self.served.contains_key(&name) {
            return tracing::warn!("{name} is not served: {MAX_SERVICES} services are served already");
        }
        self.served.remove(&name);
        match served(node, service, &self.registry) {
            Ok(poll) => drop(self.served.insert(name, poll)),
            Err(error) => tracing::warn!("{name} is not served: {error}"),
        }
    }

    pub(super) fn withdraw(&mut self, name: &str) {
        self.served.remove(name);
    }

    pub(super) fn poll(&mut self) {
        self.served.values_mut().for_each(|poll| poll());
    }
}

#[cfg(r2r_std_srvs)]
fn served(node: &mut Node, service: Service, registry: &Registry) -> r2r::Result<Poll> {
    use r2r::std_srvs::srv;
    match service.type_name.as_str() {
        "std_srvs/srv/Trigger" => polled::<srv::Trigger::Service>(node, service, registry),
        "std_srvs/srv/SetBool" => polled::<srv::SetBool::Service>(node, service, registry),
        _ => polled::<srv::Empty::Service>(node, service, registry),
    }
}

/// Checked without `std_srvs`, which the client library does not carry.
#[cfg(not(r2r_std_srvs))]
fn served(node: &mut Node, service: Service, registry: &Registry) -> r2r::Result<Poll> {
    polled::<r2r::rcl_interfaces::srv::GetParameters::Service>(node, service, registry)
}

fn polled<T>(node: &mut Node, service: Service, registry: &Registry) -> r2r::Result<Poll>
where
    T: WrappedServiceTypeSupport + 'static,
{
    let mut requests = node.create_service::<T>(&service.name, QosProfile::services_default())?;
    let (sender, responses) = sync_channel(MAX_RESPONSES);
    let registry = registry.clone();
    Ok(Box::new(move || {
        while let Some(Some(request)) = requests.next().now_or_never() {
            let json = serde_json::to_value(&request.message).unwrap_or_default();
            let Ok(cdr) = encoded(&registry, &format!("{}_Request", service.type_name), &json) else {
                continue;
            };
            let sender = sender.clone();
            (service.handler)(cdr, Reply::new(move |response| drop(sender.try_send((request, response)))));
        }
        for (request, response) in responses.try_iter() {
            let json = decoded(&registry, &format!("{}_Response", service.type_name), &response);
            let message = json.ok().and_then(|json| serde_json::from_value(json).ok());
            if let Some(Err(error)) = message.map(|message| request.respond(message)) {
                tracing::debug!("a response of {} was not sent: {error}", service.name);
            }
        }
    }))
}
