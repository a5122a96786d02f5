//! The operations of a client that serves services: advertise and respond.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::dialect::rosbridge::error::{Conflict, Limit, RequestError, Unknown};
use crate::dialect::rosbridge::operation::{OpResult, full_name, long_type};
use crate::dialect::rosbridge::request::Id;
use crate::dialect::rosbridge::service_server::{
    AdvertisedService, PendingRequest, SERVICES_PER_SESSION, forward,
};
use crate::dialect::rosbridge::session::Session;
use crate::limits;

impl Session<'_> {
    /// Checks whether this client may advertise one more service or action of this name, which is advertised
    /// as `key`.
    pub(super) fn authorize_advertise(&self, name: &str, key: &str, type_name: &str) -> OpResult {
        let endpoint = &self.context.endpoint;
        self.context.authorize_serve(name, type_name)?;
        if let Some(owner) = endpoint.advertised.other_owner(&self.context.info.label(), key) {
            return Err(Conflict::OtherOwner { name: name.to_owned(), owner }.into());
        }
        if endpoint.is_gateway_service(name) {
            return Err(Conflict::Gateway(name.to_owned()).into());
        }
        if endpoint.advertised.count(self.context.info.id) >= SERVICES_PER_SESSION {
            return Err(Limit::Services(SERVICES_PER_SESSION).into());
        }
        Ok(())
    }

    /// Advertises a service to the graph.
    pub(super) fn advertise_service(&mut self, service: String, type_name: &str) -> OpResult {
        let name = full_name(&service)?;
        let type_name = long_type(type_name, "srv")?;
        let endpoint = &self.context.endpoint;
        endpoint.hub.registry().plan(&format!("{type_name}_Request"))?;
        // Advertising a service again replaces it.
        endpoint.advertised.remove(self.context.info.id, &name);
        self.authorize_advertise(&name, &name, &type_name)?;
        let (ros, outbox) = (endpoint.ros.clone(), self.context.info.outbox().clone());
        let pending = self.servers.pending.clone();
        let to = AdvertisedService {
            name: name.clone(),
            client_name: service,
            type_name: type_name.clone(),
            pending,
        };
        let handler = Arc::new(move |request: Bytes, reply| forward(&ros, &outbox, &to, &request, reply));
        let served = || endpoint.ros.serve(&name, &type_name, handler).map(|served| vec![served]);
        Ok(self.context.advertise(&name, served)?)
    }

    /// Withdraws a service.
    pub(super) fn unadvertise_service(&mut self, service: &str) -> OpResult {
        let name = full_name(service)?;
        match self.context.endpoint.advertised.remove(self.servers.withdraw.1, &name) {
            true => Ok(()),
            false => Err(Unknown::Advertised(name).into()),
        }
    }

    /// Handles the client's response to a request.
    pub(super) fn service_response(
        &mut self,
        id: &Id,
        service: &str,
        values: &Value,
        result: bool,
    ) -> OpResult {
        let name = full_name(service)?;
        let Some(Value::String(number)) = id else {
            return Err(RequestError::Incomplete("say which request: its id"));
        };
        let mut pending = self.servers.pending.lock();
        if pending.requests.get(number).is_none_or(|request| request.service != name) {
            return Err(Unknown::Request(name).into());
        }
        let Some(PendingRequest { type_name, reply, .. }) = pending.remove(number) else { return Ok(()) };
        drop(pending);
        if !result {
            // ROS 2 has no error response for services: a caller in the graph runs into its own timeout.
            let why = values.as_str().filter(|why| !why.is_empty()).unwrap_or("no reason given");
            let why: String = why.chars().take(limits::EVENT_CHARS).collect();
            reply.fail(format!("the client that serves it reports a failure: {why}"));
            return Ok(());
        }
        let empty = json!({});
        let values = if values.is_null() { &empty } else { values };
        let encoded = self.context.endpoint.ros.encode(&format!("{type_name}_Response"), values);
        reply.send(encoded.map_err(|source| RequestError::Encode { name, source })?);
        Ok(())
    }
}
