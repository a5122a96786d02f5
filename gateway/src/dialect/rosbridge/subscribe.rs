//! Subscribing to topics: matches the type that a client expects with the topic's type.

use crate::dialect::rosbridge::Compression;
use crate::dialect::rosbridge::error::TopicError;
use crate::dialect::rosbridge::operation::{OpResult, full_name, long_type};
use crate::dialect::rosbridge::request::{Id, Subscribe, key};
use crate::dialect::rosbridge::session::Session;
use crate::dialect::rosbridge::status::Level;
use crate::dialect::rosbridge::subscriptions::{ComponentOptions, Topic};
use crate::hub::{Hub, SubscribeError};

/// How a topic matches a subscription.
#[derive(Debug, PartialEq)]
enum TopicMatch {
    /// The topic does not exist yet.
    Absent,
    /// The topic can be subscribed.
    Compatible,
    /// The topic cannot be subscribed, and why.
    Incompatible(TopicError),
}

fn match_topic(hub: &Hub, name: &str, wanted: Option<&str>, compression: Compression) -> TopicMatch {
    hub.with_topics(|topics| {
        let mut verdict = TopicMatch::Absent;
        for topic in topics.filter(|topic| topic.info.name == name) {
            let type_name = &topic.info.type_name;
            if wanted.is_some_and(|wanted| wanted != type_name) {
                verdict = TopicMatch::Incompatible(TopicError::OtherType {
                    name: name.to_owned(),
                    actual: type_name.clone(),
                    wanted: wanted.unwrap_or("").to_owned(),
                });
            } else if topic.decoder.is_none() && compression != Compression::CborRaw {
                let (name, type_name) = (name.to_owned(), type_name.clone());
                verdict = TopicMatch::Incompatible(TopicError::NoDefinition { name, type_name });
            } else {
                return TopicMatch::Compatible;
            }
        }
        verdict
    })
}

impl Session<'_> {
    /// Subscribes, or changes a subscription.
    pub(super) fn subscribe(&mut self, id: &Id, request: &Subscribe) -> OpResult {
        let name = full_name(&request.topic)?;
        let options = ComponentOptions::new(request)?;
        let given = request.type_name.as_deref().filter(|given| !given.is_empty());
        let type_name = given.map(|given| long_type(given, "msg")).transpose()?;
        let endpoint = &self.context.endpoint;
        let verdict = match_topic(&endpoint.hub, &name, type_name.as_deref(), options.compression);
        if let TopicMatch::Incompatible(error) = verdict {
            return Err(error.into());
        }
        let graph = endpoint.ros.graph();
        let known = type_name.as_deref().or_else(|| Some(graph.topic(&name)?.type_name.as_str()));
        if verdict == TopicMatch::Absent && known.is_some_and(|known| !endpoint.is_in_scope(&name, known)) {
            return Err(TopicError::OutOfScope { name, tier: endpoint.tier }.into());
        }
        let topic = self.subscriptions.add(&name, key(id), options)?;
        topic.relative = !request.topic.starts_with('/');
        topic.type_name = type_name.or(topic.type_name.take());
        // A new component gets the latched value, even if another one is subscribed already.
        let again = topic.attached;
        attach(&endpoint.hub, self.context.info.id, &name, topic, again)?;
        endpoint.ingress.listener_arrived();
        match verdict {
            TopicMatch::Absent => {
                self.send_status(Level::Info, id, format!("{name} is not there yet; it is waited for"))
            }
            _ => self.send_status(Level::Info, id, format!("subscribed to {name}")),
        }
        Ok(())
    }

    /// Ends a subscription.
    pub(super) fn unsubscribe(&mut self, id: &Id, topic: &str) -> OpResult {
        let name = full_name(topic)?;
        let (hub, session) = (&self.context.endpoint.hub, self.context.info.id);
        match self.subscriptions.remove(&name, &key(id)) {
            None => self.send_status(Level::Warning, id, format!("{name} was not subscribed")),
            Some(None) => hub.unsubscribe_now(session, &[name]),
            Some(Some(left)) => attach(hub, session, &name, left, false)?,
        }
        Ok(())
    }

    /// Topics appeared or disappeared: tries the pending subscriptions again.
    pub(super) fn topics_changed(&mut self) {
        let (hub, session) = (&self.context.endpoint.hub, self.context.info.id);
        let mut unfit = Vec::new();
        for (name, topic) in &mut self.subscriptions.topics {
            match match_topic(hub, name, topic.type_name.as_deref(), topic.compression()) {
                TopicMatch::Incompatible(error) if topic.attached => {
                    hub.unsubscribe_now(session, std::slice::from_ref(name));
                    topic.attached = false;
                    unfit.push(error);
                }
                TopicMatch::Compatible if !topic.attached => {
                    // It was within the limit before.
                    let _ = attach(hub, session, name, topic, false);
                }
                _ => {}
            }
        }
        for error in unfit {
            self.send_status(Level::Error, &None, error);
        }
    }
}

fn attach(hub: &Hub, session: u64, name: &str, topic: &mut Topic, again: bool) -> Result<(), SubscribeError> {
    if again {
        hub.unsubscribe_now(session, &[name.to_owned()]);
    }
    hub.subscribe_now(session, &topic.subscribe_options(name))?;
    topic.attached = true;
    Ok(())
}
