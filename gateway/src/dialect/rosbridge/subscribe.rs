//! Subscribing: what a client wants of a topic, made to agree with what the topic is.

use crate::dialect::rosbridge::Compression;
use crate::dialect::rosbridge::request::{Id, Subscribe, key};
use crate::dialect::rosbridge::session::{Done, Fault, Session, full_name, long_type, refused};
use crate::dialect::rosbridge::status::Level;
use crate::dialect::rosbridge::subscriptions::{Terms, Topic};
use crate::hub::Hub;

/// What a topic is, for somebody who wants it.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// It is not there yet.
    Absent,
    /// It can be given.
    Fits,
    /// It cannot; why.
    Unfit(String),
}

fn judge(hub: &Hub, name: &str, wanted: Option<&str>, compression: Compression) -> Verdict {
    hub.with_topics(|topics| {
        let mut verdict = Verdict::Absent;
        for topic in topics.filter(|topic| topic.info.name == name) {
            let type_name = &topic.info.type_name;
            if wanted.is_some_and(|wanted| wanted != type_name) {
                verdict = Verdict::Unfit(format!("{name} is a {type_name}, not a {}", wanted.unwrap_or("")));
            } else if topic.plan.is_none() && compression != Compression::CborRaw {
                let why = format!("{name} cannot be decoded, {type_name} is not known; use cbor-raw");
                verdict = Verdict::Unfit(why);
            } else {
                return Verdict::Fits;
            }
        }
        verdict
    })
}

impl Session<'_> {
    /// Subscribes, or changes a subscription.
    pub(super) fn subscribe(&mut self, id: &Id, wish: &Subscribe) -> Done {
        let name = full_name(&wish.topic)?;
        let terms = Terms::new(wish).map_err(Fault::Bad)?;
        let given = wish.type_name.as_deref().filter(|given| !given.is_empty());
        let type_name = given.map(|given| long_type(given, "msg")).transpose()?;
        let endpoint = &self.context.endpoint;
        let verdict = judge(&endpoint.hub, &name, type_name.as_deref(), terms.compression);
        if let Verdict::Unfit(why) = verdict {
            return refused(why);
        }
        let graph = endpoint.ros.graph();
        let known = type_name.as_deref().or_else(|| Some(graph.topic(&name)?.type_name.as_str()));
        if verdict == Verdict::Absent && known.is_some_and(|known| !endpoint.is_in_scope(&name, known)) {
            let tier = endpoint.tier;
            return refused(format!(
                "{name} is not in the scope of the {tier} endpoint; use the primary one"
            ));
        }
        let topic = self.subscriptions.add(&name, key(id), terms).map_err(Fault::Refused)?;
        topic.relative = !wish.topic.starts_with('/');
        topic.type_name = type_name.or(topic.type_name.take());
        // Who comes anew is given what is latched, though another component listens already.
        let again = topic.wired;
        wire(&endpoint.hub, self.context.info.id, &name, topic, again).map_err(Fault::Refused)?;
        endpoint.ingress.listener_arrived();
        match verdict {
            Verdict::Absent => {
                self.say(Level::Info, id, format!("{name} is not there yet; it is waited for"))
            }
            _ => self.say(Level::Info, id, format!("subscribed to {name}")),
        }
        Ok(())
    }

    /// Takes a subscription back.
    pub(super) fn unsubscribe(&mut self, id: &Id, topic: &str) -> Done {
        let name = full_name(topic)?;
        let (hub, session) = (&self.context.endpoint.hub, self.context.info.id);
        match self.subscriptions.remove(&name, &key(id)) {
            None => self.say(Level::Warning, id, format!("{name} was not subscribed")),
            Some(None) => hub.unsubscribe(session, &[name]),
            Some(Some(left)) => wire(hub, session, &name, left, false).map_err(Fault::Refused)?,
        }
        Ok(())
    }

    /// Topics came or went: what waits for one is looked at again.
    pub(super) fn topics_changed(&mut self) {
        let (hub, session) = (&self.context.endpoint.hub, self.context.info.id);
        let mut unfit = Vec::new();
        for (name, topic) in &mut self.subscriptions.topics {
            match judge(hub, name, topic.type_name.as_deref(), topic.compression()) {
                Verdict::Unfit(why) if topic.wired => {
                    hub.unsubscribe(session, std::slice::from_ref(name));
                    topic.wired = false;
                    unfit.push(why);
                }
                Verdict::Fits if !topic.wired => {
                    // It had room before.
                    let _ = wire(hub, session, name, topic, false);
                }
                _ => {}
            }
        }
        for why in unfit {
            self.say(Level::Error, &None, why);
        }
    }
}

fn wire(hub: &Hub, session: u64, name: &str, topic: &mut Topic, again: bool) -> Result<(), String> {
    if again {
        hub.unsubscribe(session, &[name.to_owned()]);
    }
    hub.subscribe(session, &topic.wish(name)).map_err(|error| error.to_string())?;
    topic.wired = true;
    Ok(())
}
