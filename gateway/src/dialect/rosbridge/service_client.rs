//! Service client for rosbridge: calls services of the graph, and answers rosapi's itself. Each call is
//! a task: a service that does not answer costs its own call the timeout and nothing else.

use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::api::commands::CommandKind;
use serde_json::{Value, json};
use tracing::Instrument;

use crate::access::PermissionDenied;
use crate::dialect::rosbridge::error::{Limit, RequestError};
use crate::dialect::rosbridge::malformed::MalformedMessage;
use crate::dialect::rosbridge::operation::{OpResult, full_name, joined, long_type, quoted};
use crate::dialect::rosbridge::request::{CallService, Id};
use crate::dialect::rosbridge::session::Session;
use crate::dialect::rosbridge::subscriptions::compression;
use crate::dialect::rosbridge::{Compression, SampleFormat, framing, rosapi};
use crate::limits;

/// The format of a response.
pub(super) struct ResponseFormat {
    id: Id,
    /// The name as the client wrote it.
    service: String,
    format: SampleFormat,
}

impl ResponseFormat {
    /// The response with its values as JSON text, or with the reason for the failure.
    fn frame(&self, values: Result<Vec<u8>, RequestError>) -> Bytes {
        let values = values.and_then(|json| match json.len() {
            bytes if bytes > limits::ROSBRIDGE_RESPONSE_BYTES => Err(Limit::Response(bytes).into()),
            _ => Ok(json),
        });
        let (result, values) = match values {
            Ok(json) => (true, json),
            Err(error) => (false, quoted(&error.to_string())),
        };
        let head =
            json!({"op": "service_response", "service": self.service, "result": result, "id": self.id});
        framing::frames(self.format, &name(&self.id, &self.service), joined(&head, "values", &values))
    }
}

/// Names a message that is fragmented.
pub(super) fn name(id: &Id, otherwise: &str) -> String {
    match id {
        Some(Value::String(id)) => id.clone(),
        Some(id) => id.to_string(),
        None => otherwise.to_owned(),
    }
}

/// The format of a response; binary encodings are for topics only.
pub(super) fn response_format(
    requested: Option<&str>,
    fragment_size: Option<f64>,
) -> Result<SampleFormat, MalformedMessage> {
    let compression = match compression(requested)? {
        Compression::Png => Compression::Png,
        _ => Compression::None,
    };
    let fragment_bytes = fragment_size.filter(|size| *size >= 1.0).map(|size| size.min(1e9) as u32);
    Ok(SampleFormat { compression, fragment_bytes, relative: false })
}

/// A service's full name, and its long type or an empty text if the client gives none.
fn full_service(name: &str, given: Option<&str>) -> Result<(String, String), MalformedMessage> {
    let name = full_name(name)?;
    let given = given.filter(|given| !given.is_empty());
    let type_name = given.map(|given| long_type(given, "srv")).transpose()?;
    Ok((name, type_name.unwrap_or_default()))
}

/// The timeout of a call from the client's seconds; zero or less means the longest allowed.
fn timeout(seconds: Option<f64>) -> Duration {
    let most = Duration::from_millis(limits::SERVICE_TIMEOUT_MAX_MS);
    match seconds {
        None => Duration::from_millis(limits::SERVICE_TIMEOUT_MS),
        Some(seconds) if seconds > 0.0 => Duration::try_from_secs_f64(seconds).unwrap_or(most).min(most),
        Some(_) => most,
    }
}

impl Session<'_> {
    /// Calls a service. In any case the client gets the `service_response` that it waits for.
    pub(super) fn call_service(&mut self, id: &Id, call: CallService) -> OpResult {
        let CallService { service, type_name, args, timeout: seconds, .. } = call;
        let (fragment_size, compression) = (call.fragment_size, call.compression);
        let format = response_format(compression.as_deref(), fragment_size)?;
        let answer = ResponseFormat { id: id.clone(), service, format };
        let named = full_service(&answer.service, type_name.as_deref());
        if let Some(query) = named.as_ref().ok().and_then(|(name, _)| rosapi::query(name)) {
            self.query_rosapi(query, &args, answer);
            return Ok(());
        }
        let authorized = named.map_err(RequestError::from).and_then(|(name, type_name)| {
            self.authorize_call(&name, &type_name)?;
            Ok((name, type_name))
        });
        match authorized {
            Ok((name, type_name)) => {
                let ros = self.context.endpoint.ros.clone();
                let timeout = timeout(seconds);
                let span = self.context.call_span(&name, call.traceparent.as_deref());
                let command = self.context.record_command(CommandKind::Call, &name, &type_name);
                let calling = async move {
                    let answer = ros.call_json(&name, &type_name, &args, timeout).await;
                    command.finish_with(&answer);
                    Ok(answer?)
                };
                self.respond_later(answer, calling.instrument(span));
            }
            Err(error) => self.send(answer.frame(Err(error))),
        }
        Ok(())
    }

    fn authorize_call(&self, name: &str, given: &str) -> Result<(), PermissionDenied> {
        let graph = self.context.endpoint.ros.graph();
        let known = graph.service(name).map(|service| service.type_name.as_str());
        let type_name = if given.is_empty() { known.unwrap_or("") } else { given };
        self.context.authorize_call(name, type_name)
    }

    fn query_rosapi(&mut self, query: &'static str, args: &Value, answer: ResponseFormat) {
        if let Some(values) = rosapi::answer(self.context, query, args) {
            return self.send(answer.frame(values.map_err(RequestError::from)));
        }
        match rosapi::parameter_query(self.context, query, args) {
            Ok(query) => {
                let ros = self.context.endpoint.ros.clone();
                let all_nodes = self.all_nodes.clone();
                self.respond_later(answer, async move {
                    // In parallel they would use all the calls that the endpoint may make.
                    let _permit = if query.needs_all_nodes() { all_nodes.acquire().await.ok() } else { None };
                    Ok(query.answer(&ros).await?)
                });
            }
            Err(error) => self.send(answer.frame(Err(error.into()))),
        }
    }

    fn respond_later(
        &mut self,
        answer: ResponseFormat,
        values: impl Future<Output = Result<Vec<u8>, RequestError>> + Send + 'static,
    ) {
        while self.calls.try_join_next().is_some() {}
        if self.calls.len() >= limits::CALLS_PER_SESSION {
            self.send(answer.frame(Err(Limit::Calls.into())));
            return;
        }
        let outbox = self.context.info.outbox().clone();
        self.calls.spawn(async move { outbox.control(answer.frame(values.await)) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::rosbridge::framing::tests::messages;

    fn answer(id: Id, values: Result<Vec<u8>, RequestError>) -> Value {
        let answer =
            ResponseFormat { id, service: "rosapi/nodes".to_owned(), format: SampleFormat::default() };
        serde_json::from_slice(&messages(&answer.frame(values))[0]).unwrap()
    }

    #[test]
    fn answers_have_values_or_a_reason() {
        let ok = answer(Some(json!("call:1")), Ok(b"{\"nodes\":[]}".to_vec()));
        assert_eq!(
            ok,
            json!({"op": "service_response", "service": "rosapi/nodes", "result": true, "id": "call:1",
                "values": {"nodes": []}})
        );
        let failed = answer(None, Err(PermissionDenied("no \"such\"".to_owned()).into()));
        assert_eq!((&failed["result"], &failed["values"]), (&json!(false), &json!("no \"such\"")));
        assert!(failed.get("id").is_none());
        let huge = answer(None, Ok(vec![b' '; limits::ROSBRIDGE_RESPONSE_BYTES + 1]));
        assert!(huge["values"].as_str().unwrap().contains("too much"));
    }

    #[test]
    fn timeouts_are_bounded() {
        let most = Duration::from_millis(limits::SERVICE_TIMEOUT_MAX_MS);
        assert_eq!(timeout(None), Duration::from_millis(limits::SERVICE_TIMEOUT_MS));
        assert_eq!(timeout(Some(0.25)), Duration::from_millis(250));
        for endless in [0.0, -1.0, 1e300, f64::NAN, f64::INFINITY] {
            assert_eq!(timeout(Some(endless)), most, "{endless}");
        }
    }
}
