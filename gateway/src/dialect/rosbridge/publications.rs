//! Publishing: what a client advertises and publishes.

use std::collections::HashMap;

use roverline_protocol::limits;
use roverline_source::Publication;
use roverline_source::clock::unix_ns;
use serde_json::{Map, Value, json};

use crate::dialect::rosbridge::request::{Id, Publish};
use crate::dialect::rosbridge::session::{Done, Fault, Session, full_name, long_type, refused};
use crate::dialect::rosbridge::status::Level;

/// What a session publishes, by topic.
#[derive(Debug, Default)]
pub(super) struct Publications(HashMap<String, Advertised>);

#[derive(Clone, Debug, PartialEq)]
struct Advertised {
    type_name: String,
    latch: bool,
}

impl Session<'_> {
    /// Says that it will publish.
    pub(super) fn advertise(&mut self, topic: &str, type_name: &str, latch: bool) -> Done {
        let name = full_name(topic)?;
        let type_name = long_type(type_name, "msg")?;
        if let Some(known) = self.type_of(&name).filter(|known| *known != type_name) {
            return refused(format!("{name} is a {known}, not a {type_name}"));
        }
        self.admit(name, Advertised { type_name, latch })
    }

    fn admit(&mut self, name: String, advertised: Advertised) -> Done {
        let known = self.context.endpoint.hub.registry().plan(&advertised.type_name);
        known.map_err(|error| Fault::Refused(error.to_string()))?;
        let may = self.context.may_publish(&name, &advertised.type_name);
        may.map_err(|denied| Fault::Refused(denied.to_string()))?;
        let most = limits::PUBLICATIONS_PER_SESSION;
        let Publications(all) = &mut self.publications;
        if !all.contains_key(&name) && all.len() >= most {
            return refused(format!("a session may publish {most} topics"));
        }
        all.insert(name, advertised);
        Ok(())
    }

    /// Says that it no longer will.
    pub(super) fn unadvertise(&mut self, id: &Id, topic: &str) -> Done {
        let name = full_name(topic)?;
        if self.publications.0.remove(&name).is_none() {
            self.say(Level::Warning, id, format!("{name} was not advertised"));
        }
        Ok(())
    }

    /// Publishes.
    pub(super) fn publish(&mut self, publish: Publish) -> Done {
        let Publish { topic, type_name, mut msg, latch } = publish;
        let name = full_name(&topic)?;
        let advertised = match self.publications.0.get(&name) {
            Some(advertised) => advertised.clone(),
            None => {
                let given = type_name.filter(|given| !given.is_empty());
                let given = given.map(|given| long_type(&given, "msg")).transpose()?;
                let Some(type_name) = given.or_else(|| self.type_of(&name)) else {
                    return refused(format!("the type of {name} is not known; advertise it first"));
                };
                let advertised = Advertised { type_name, latch: false };
                self.admit(name.clone(), advertised.clone())?;
                advertised
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
        let payload = encoded.map_err(|error| Fault::Refused(format!("{name}: {error}")))?;
        let latched = advertised.latch || latch.unwrap_or(false);
        let publication = Publication { topic: name, type_name, payload, latched };
        self.context.publish(publication).map_err(Fault::Refused)
    }

    /// What the topic is, if anybody publishes or subscribes it.
    fn type_of(&self, name: &str) -> Option<String> {
        let endpoint = &self.context.endpoint;
        let of_hub = endpoint.hub.with_topics(|topics| {
            let mut named = topics.filter(|topic| topic.info.name == name);
            named.next().map(|topic| topic.info.type_name.clone())
        });
        of_hub.or_else(|| Some(endpoint.ros.graph().topic(name)?.type_name.clone()))
    }
}

/// Gives a message that leaves its header or the stamp in it out the time of now, as rosbridge does.
fn stamp(msg: &mut Value, now_ns: i64) {
    let Value::Object(fields) = msg else { return };
    let header = fields.entry("header").or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(header) = header {
        header.entry("stamp").or_insert_with(|| time(now_ns));
    }
}

/// builtin_interfaces/msg/Time.
pub(super) fn time(now_ns: i64) -> Value {
    json!({"sec": now_ns / 1_000_000_000, "nanosec": now_ns % 1_000_000_000})
}

#[cfg(test)]
mod tests {
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
