//! Calling services of the graph, and our own in place of the rosapi node's. Each call is a task: what
//! does not answer costs its own call the timeout, and nothing else.

use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::limits;
use serde_json::{Value, json};

use crate::dialect::rosbridge::request::{CallService, Id};
use crate::dialect::rosbridge::session::{Done, Fault, Session, full_name, long_type};
use crate::dialect::rosbridge::subscriptions::compression;
use crate::dialect::rosbridge::{Compression, Form, framing, rosapi};

/// How a call is answered.
pub(super) struct Answer {
    id: Id,
    /// As the client wrote it.
    service: String,
    form: Form,
}

impl Answer {
    /// The answer with its values as JSON text, or with why there are none.
    fn frame(&self, values: Result<Vec<u8>, String>) -> Bytes {
        let fits = |json: &Vec<u8>| json.len() <= limits::ROSBRIDGE_ANSWER_BYTES;
        let (result, values) = match values {
            Ok(json) if fits(&json) => (true, json),
            Ok(json) => (false, quoted(&format!("the answer has {} bytes, which is too much", json.len()))),
            Err(why) => (false, quoted(&why)),
        };
        let head =
            json!({"op": "service_response", "service": self.service, "result": result, "id": self.id});
        framing::frames(self.form, &name(&self.id, &self.service), joined(&head, "values", &values))
    }
}

/// What names a message that comes in pieces.
pub(super) fn name(id: &Id, otherwise: &str) -> String {
    match id {
        Some(Value::String(id)) => id.clone(),
        Some(id) => id.to_string(),
        None => otherwise.to_owned(),
    }
}

pub(super) fn quoted(text: &str) -> Vec<u8> {
    // Strings always serialize.
    serde_json::to_vec(text).unwrap_or_default()
}

/// An object, without what is null in it, and one more field of JSON text.
pub(super) fn joined(head: &Value, field: &str, json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() + 256);
    out.push(b'{');
    for (key, value) in head.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        out.extend_from_slice(&quoted(key));
        out.push(b':');
        out.extend_from_slice(value.to_string().as_bytes());
        out.push(b',');
    }
    out.extend_from_slice(&quoted(field));
    out.push(b':');
    out.extend_from_slice(json);
    out.push(b'}');
    out
}

/// The form of an answer; compressions for binary messages are for topics only.
pub(super) fn answer_form(asked: Option<&str>, fragment_size: Option<f64>) -> Result<Form, Fault> {
    let compression = match compression(asked).map_err(Fault::Bad)? {
        Compression::Png => Compression::Png,
        _ => Compression::None,
    };
    let fragment_bytes = fragment_size.filter(|size| *size >= 1.0).map(|size| size.min(1e9) as u32);
    Ok(Form { compression, fragment_bytes, relative: false })
}

/// How long a call may take, from the seconds that a client says; none or less is as long as may be.
fn timeout(seconds: Option<f64>) -> Duration {
    let most = Duration::from_millis(limits::SERVICE_TIMEOUT_MAX_MS);
    match seconds {
        None => Duration::from_millis(limits::SERVICE_TIMEOUT_MS),
        Some(seconds) if seconds > 0.0 => Duration::try_from_secs_f64(seconds).unwrap_or(most).min(most),
        Some(_) => most,
    }
}

impl Session<'_> {
    /// Calls a service. Whatever happens, the client gets a `service_response`, for which it waits.
    pub(super) fn call_service(&mut self, id: &Id, call: CallService) -> Done {
        let CallService { service, type_name, args, timeout: seconds, fragment_size, compression } = call;
        let form = answer_form(compression.as_deref(), fragment_size)?;
        let answer = Answer { id: id.clone(), service, form };
        let given = type_name.filter(|given| !given.is_empty());
        let named = full_name(&answer.service).and_then(|name| {
            let given = given.map(|given| long_type(&given, "srv")).transpose()?;
            Ok((name, given.unwrap_or_default()))
        });
        let result = match named {
            Ok((name, type_name)) => match rosapi::question(&name) {
                Some(question) => return self.ask_rosapi(question, &args, answer),
                None => self.may_call(&name, &type_name).map(|()| (name, type_name)),
            },
            Err(fault) => Err(fault.why()),
        };
        match result {
            Ok((name, type_name)) => {
                let ros = self.context.endpoint.ros.clone();
                let timeout = timeout(seconds);
                self.answer_later(answer, async move {
                    let values = ros.call_json(&name, &type_name, &args, timeout).await;
                    values.map_err(|error| error.to_string())
                });
            }
            Err(why) => self.send(answer.frame(Err(why))),
        }
        Ok(())
    }

    fn may_call(&self, name: &str, given: &str) -> Result<(), String> {
        let graph = self.context.endpoint.ros.graph();
        let known = graph.service(name).map(|service| service.type_name.as_str());
        let type_name = if given.is_empty() { known.unwrap_or("") } else { given };
        self.context.may_call(name, type_name).map_err(|denied| denied.to_string())
    }

    fn ask_rosapi(&mut self, question: &'static str, args: &Value, answer: Answer) -> Done {
        if let Some(values) = rosapi::answer(self.context, question, args) {
            self.send(answer.frame(values));
            return Ok(());
        }
        match rosapi::parameter_question(self.context, question, args) {
            Ok(question) => {
                let ros = self.context.endpoint.ros.clone();
                let turn = self.turn.clone();
                self.answer_later(answer, async move {
                    // Side by side they would take all the calls that the endpoint may make.
                    let _turn = if question.asks_all() { turn.acquire().await.ok() } else { None };
                    question.answer(&ros).await
                });
            }
            Err(why) => self.send(answer.frame(Err(why))),
        }
        Ok(())
    }

    fn answer_later(
        &mut self,
        answer: Answer,
        values: impl Future<Output = Result<Vec<u8>, String>> + Send + 'static,
    ) {
        while self.calls.try_join_next().is_some() {}
        let most = limits::CALLS_PER_SESSION;
        if self.calls.len() >= most {
            self.send(answer.frame(Err(format!("{most} calls wait for their answers already"))));
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

    fn answer(id: Id, values: Result<Vec<u8>, String>) -> Value {
        let answer = Answer { id, service: "rosapi/nodes".to_owned(), form: Form::default() };
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
        let failed = answer(None, Err("no \"such\"".to_owned()));
        assert_eq!((&failed["result"], &failed["values"]), (&json!(false), &json!("no \"such\"")));
        assert!(failed.get("id").is_none());
        let huge = answer(None, Ok(vec![b' '; limits::ROSBRIDGE_ANSWER_BYTES + 1]));
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
