//! Publishing: the topics that a client advertises and publishes.

use roverline_source::Publication;
use roverline_source::clock::unix_ns;
use serde_json::{Map, Value};

use crate::dialect::rosbridge::error::{Limit, RequestError, TopicError};
use crate::dialect::rosbridge::operation::{OpResult, full_name, long_type, time};
use crate::dialect::rosbridge::publications::{Advertised, Publications};
use crate::dialect::rosbridge::request::{Id, Publish};
use crate::dialect::rosbridge::session::Session;
use crate::dialect::rosbridge::status::Level;
use crate::limits;

impl Session<'_> {
    /// Advertises a topic.
    pub(super) fn advertise(&mut self, topic: &str, type_name: &str, latch: bool) -> OpResult {
        let name = full_name(topic)?;
        let type_name = long_type(type_name, "msg")?;
        if let Some(actual) = self.type_of(&name).filter(|actual| *actual != type_name) {
            return Err(TopicError::OtherType { name, actual, wanted: type_name }.into());
        }
        self.admit(name, type_name, latch).map(drop)
    }

    fn admit(&mut self, name: String, type_name: String, latch: bool) -> Result<Advertised, RequestError> {
        self.context.endpoint.hub.registry().plan(&type_name)?;
        self.context.authorize_publish(&name, &type_name)?;
        let Publications(all) = &mut self.publications;
        if !all.contains_key(&name) && all.len() >= limits::PUBLICATIONS_PER_SESSION {
            return Err(Limit::Publications.into());
        }
        let writer = self.context.open_writer(&name, &type_name, latch);
        let advertised = Advertised { type_name, latch, _writer: writer };
        all.insert(name, advertised.clone());
        Ok(advertised)
    }

    /// Withdraws a topic.
    pub(super) fn unadvertise(&mut self, id: &Id, topic: &str) -> OpResult {
        let name = full_name(topic)?;
        if self.publications.0.remove(&name).is_none() {
            self.send_status(Level::Warning, id, format!("{name} was not advertised"));
        }
        Ok(())
    }

    /// Publishes a message.
    pub(super) fn publish(&mut self, publish: Publish) -> OpResult {
        let Publish { topic, type_name, mut msg, latch } = publish;
        let name = full_name(&topic)?;
        let advertised = match self.publications.0.get(&name) {
            Some(advertised) => advertised.clone(),
            None => {
                let given = type_name.filter(|given| !given.is_empty());
                let given = given.map(|given| long_type(&given, "msg")).transpose()?;
                let Some(type_name) = given.or_else(|| self.type_of(&name)) else {
                    return Err(TopicError::NoType(name).into());
                };
                self.admit(name.clone(), type_name, false)?
            }
        };
        let type_name = advertised.type_name;
        let endpoint = &self.context.endpoint;
        if let Ok(plan) = endpoint.hub.registry().plan(&type_name)
            && plan.has_field("header.stamp.sec")
        {
            stamp(&mut msg, unix_ns());
        }
        let encoded = endpoint.ros.encode(&type_name, &msg);
        let payload = encoded.map_err(|source| RequestError::Encode { name: name.clone(), source })?;
        let latched = advertised.latch || latch.unwrap_or(false);
        let publication = Publication { topic: name, type_name, payload, latched };
        Ok(self.context.publish(publication)?)
    }

    /// The topic's type, if a node publishes or subscribes to it.
    fn type_of(&self, name: &str) -> Option<String> {
        let endpoint = &self.context.endpoint;
        let of_hub = endpoint.hub.with_topics(|topics| {
            let mut named = topics.filter(|topic| topic.info.name == name);
            named.next().map(|topic| topic.info.type_name.clone())
        });
        of_hub.or_else(|| Some(endpoint.ros.graph().topic(name)?.type_name.clone()))
    }
}

/// Fills a missing header stamp with the current time, as rosbridge does.
fn stamp(msg: &mut Value, now_ns: i64) {
    let Value::Object(fields) = msg else { return };
    let header = fields.entry("header").or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(header) = header {
        header.entry("stamp").or_insert_with(|| time(now_ns));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_header_that_is_left_out_is_stamped() {
        let stamped = |mut msg: Value| {
            stamp(&mut msg, 5_000_000_007);
            msg
        };
        let now = json!({"sec": 5, "nanosec": 7});
        assert_eq!(stamped(json!({"x": 1})), json!({"x": 1, "header": {"stamp": now}}));
        let named = json!({"header": {"frame_id": "map"}});
        assert_eq!(stamped(named), json!({"header": {"frame_id": "map", "stamp": now}}));
        let whole = json!({"header": {"stamp": {"sec": 1, "nanosec": 2}}});
        assert_eq!(stamped(whole.clone()), whole);
        assert_eq!(stamped(json!([1])), json!([1]));
    }
}
