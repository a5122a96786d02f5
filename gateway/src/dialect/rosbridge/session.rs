//! One rosbridge session: what it has asked for, and what it is told.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use roverline_protocol::limits;
use roverline_schema::TypeName;
use roverline_source::clock::monotonic;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tungstenite::protocol::Message;

use crate::dialect::rosbridge::action_client::Goals;
use crate::dialect::rosbridge::action_server::ActionServers;
use crate::dialect::rosbridge::publications::Publications;
use crate::dialect::rosbridge::reassembly::{Assembly, text_of_png};
use crate::dialect::rosbridge::request::{Id, Malformed, Piece, Request, key, parse};
use crate::dialect::rosbridge::service_server::Offers;
use crate::dialect::rosbridge::status::{Level, status};
use crate::dialect::rosbridge::subscriptions::Subscriptions;
use crate::dialect::session::{Context, Ending, Service};

/// Why something that a client asked for is not done, in words.
#[derive(Debug, PartialEq)]
pub(super) enum Fault {
    /// It makes no sense; too many of these end the session.
    Bad(String),
    /// It may not be, or cannot be now.
    Refused(String),
}

impl Fault {
    pub(super) fn why(self) -> String {
        match self {
            Fault::Bad(why) | Fault::Refused(why) => why,
        }
    }
}

/// What an operation comes to.
pub(super) type Done = Result<(), Fault>;

/// A refusal.
pub(super) fn refused<T>(why: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Refused(why.into()))
}

/// The state of one session. Everything in it is bounded, and ends with it.
pub(super) struct Session<'a> {
    pub(super) context: &'a Context,
    pub(super) subscriptions: Subscriptions,
    pub(super) publications: Publications,
    // Its goals are answered before its services go.
    pub(super) actions: ActionServers,
    pub(super) offers: Offers,
    pub(super) goals: Goals,
    /// Calls that wait for their answers.
    pub(super) calls: JoinSet<()>,
    /// All nodes are asked for one of them at a time.
    pub(super) turn: Arc<Semaphore>,
    level: Level,
    assembly: Assembly,
    bad: u32,
    told_drops: Duration,
}

const TELL: Duration = Duration::from_millis(limits::SHED_TELL_MS);
/// A message in pieces may hold one in an image; no further.
const WRAPPINGS: u32 = 2;

impl<'a> Session<'a> {
    pub(super) fn new(context: &'a Context) -> Session<'a> {
        Session {
            context,
            subscriptions: Subscriptions::default(),
            publications: Publications::default(),
            offers: Offers::new(context),
            goals: Goals::default(),
            actions: ActionServers::new(context),
            calls: JoinSet::new(),
            turn: Arc::new(Semaphore::new(1)),
            level: Level::default(),
            assembly: Assembly::default(),
            bad: 0,
            told_drops: Duration::ZERO,
        }
    }

    /// Takes what the client says. The error ends the session.
    pub(super) fn hear(&mut self, message: &Message) -> Result<(), Ending> {
        let Message::Text(text) = message else {
            return self.bad(&None, "send JSON as text messages".to_owned());
        };
        self.hear_text(text.as_str(), WRAPPINGS)
    }

    fn hear_text(&mut self, text: &str, wrappings: u32) -> Result<(), Ending> {
        let (id, request) = match parse(text) {
            Ok(understood) => understood,
            Err(Malformed { id, why }) => return self.bad(&id, why),
        };
        let whole = match request {
            Request::Fragment(_) | Request::Png { .. } if wrappings == 0 => {
                Err("pieces of pieces are not put together".to_owned())
            }
            Request::Fragment(piece) => self.assembly.add(piece, monotonic()),
            Request::Png { data, pieces } => self.unpack(data, pieces, &id),
            request => {
                return match self.act(&id, request) {
                    Ok(()) => Ok(()),
                    Err(Fault::Refused(why)) => {
                        self.say(Level::Error, &id, why);
                        Ok(())
                    }
                    Err(Fault::Bad(why)) => self.bad(&id, why),
                };
            }
        };
        match whole {
            Ok(None) => Ok(()),
            Ok(Some(text)) => self.hear_text(&text, wrappings - 1),
            Err(why) => self.bad(&id, why),
        }
    }

    fn unpack(
        &mut self,
        data: String,
        pieces: Option<(usize, usize)>,
        id: &Id,
    ) -> Result<Option<String>, String> {
        let Some((num, total)) = pieces else { return text_of_png(&data).map(Some) };
        // Apart from the fragments, which may have the same id.
        let id = key(id).map(|id| format!("png {id}")).ok_or("pieces have an id")?;
        let whole = self.assembly.add(Piece { id, data, num, total }, monotonic())?;
        whole.map(|data| text_of_png(&data)).transpose()
    }

    fn act(&mut self, id: &Id, request: Request) -> Done {
        match request {
            Request::Subscribe(wish) => self.subscribe(id, &wish),
            Request::Unsubscribe { topic } => self.unsubscribe(id, &topic),
            Request::Advertise { topic, type_name, latch } => self.advertise(&topic, &type_name, latch),
            Request::Unadvertise { topic } => self.unadvertise(id, &topic),
            Request::Publish(publish) => self.publish(publish),
            Request::CallService(call) => self.call_service(id, call),
            Request::AdvertiseService { service, type_name } => self.advertise_service(service, &type_name),
            Request::UnadvertiseService { service } => self.unadvertise_service(&service),
            Request::ServiceResponse { service, values, result } => {
                self.service_response(id, &service, &values, result)
            }
            Request::SendGoal(goal) => self.send_goal(id, goal),
            Request::CancelGoal { action } => self.cancel_goal(id, &action),
            Request::AdvertiseAction { action, type_name } => self.advertise_action(action, &type_name),
            Request::UnadvertiseAction { action } => self.unadvertise_action(&action),
            Request::ActionFeedback { action, values } => self.action_feedback(id, &action, &values),
            Request::ActionResult { action, values, status, result } => {
                self.action_result(id, &action, &values, status, result)
            }
            Request::SetLevel { level } => match Level::parse(&level) {
                Some(level) => {
                    self.level = level;
                    Ok(())
                }
                None => Err(Fault::Bad("a level is info, warning, error or none".to_owned())),
            },
            Request::Auth { token } => self.authenticate(id, token),
            // Unpacked before.
            Request::Fragment(_) | Request::Png { .. } => Ok(()),
        }
    }

    fn authenticate(&mut self, id: &Id, token: Option<String>) -> Done {
        let Some(token) = token else {
            return refused(
                "the credentials of ROS 1 are not known here; send {\"op\":\"auth\",\"token\":\"…\"}",
            );
        };
        match self.context.authenticate(&token) {
            Ok(role) => {
                // It was asked for, so it is said at any level.
                self.send(status(Level::Info, id, format!("you are {}", role.name())));
                Ok(())
            }
            Err(denied) => refused(denied.to_string()),
        }
    }

    fn bad(&mut self, id: &Id, why: String) -> Result<(), Ending> {
        self.bad += 1;
        self.context.endpoint.counters.bad_input.fetch_add(1, Ordering::Relaxed);
        self.say(Level::Error, id, why);
        match self.bad > limits::BAD_MESSAGES_PER_SESSION {
            true => Err(Ending::new(1008, "too many bad messages")),
            false => Ok(()),
        }
    }

    /// Sends a message.
    pub(super) fn send(&self, frame: Bytes) {
        self.context.info.outbox().control(frame);
    }

    /// Tells the client, if it wants to hear such things.
    pub(super) fn say(&self, level: Level, id: &Id, msg: impl Into<String>) {
        if level >= self.level && self.level != Level::None {
            self.send(status(level, id, msg.into()));
        }
    }

    /// Tells what the link carries.
    pub(super) fn tell_service(&self, service: &Service) {
        let Service { level, reason, shed } = service;
        let level = level.word();
        self.say(Level::Warning, &None, format!("service is {level}: {reason}; {shed} messages not sent"));
    }

    /// What is to be done now and then, at `now` (monotonic).
    pub(super) fn tidy(&mut self, now: Duration) {
        while self.calls.try_join_next().is_some() {}
        let lost = self.assembly.expire(now);
        if lost > 0 {
            self.say(Level::Error, &None, format!("{lost} messages whose pieces did not all come are lost"));
        }
        self.offers.expire(now);
        let due = now.saturating_sub(self.told_drops) >= TELL;
        if due && !self.context.info.outbox().is_paused() {
            self.told_drops = now;
            self.tell_drops();
        }
    }

    fn tell_drops(&self) {
        let drops = self.context.info.outbox().take_drops();
        if drops.is_empty() || self.level > Level::Warning {
            return;
        }
        let infos = self.context.endpoint.hub.topic_infos();
        let names: HashMap<u32, &str> = infos.iter().map(|info| (info.id, info.name.as_str())).collect();
        let list: Vec<String> = drops
            .iter()
            .map(|drop| {
                format!("{} of {}", drop.count, names.get(&drop.id).unwrap_or(&"a topic that is gone"))
            })
            .take(16)
            .collect();
        self.say(Level::Warning, &None, format!("not sent, the link is too slow: {}", list.join(", ")));
    }
}

/// A ROS name in full, from how a client wrote it.
pub(super) fn full_name(name: &str) -> Result<String, Fault> {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/');
    let full = if name.starts_with('/') { name.to_owned() } else { format!("/{name}") };
    let shape = full.len() > 1 && !full.contains("//") && !full.ends_with('/');
    if name.len() >= limits::TOPIC_NAME_CHARS || !shape || !full.chars().all(known) {
        let name = name.chars().take(64).collect::<String>();
        return Err(Fault::Bad(format!("'{name}' is not a ROS name such as /imu/data")));
    }
    Ok(full)
}

/// A type's name in its long form; `kind` is `msg`, `srv` or `action`.
pub(super) fn long_type(name: &str, kind: &str) -> Result<String, Fault> {
    let long = match name.split('/').collect::<Vec<_>>().as_slice() {
        [package, short] => format!("{package}/{kind}/{short}"),
        _ => name.to_owned(),
    };
    match TypeName::parse(&long) {
        Ok(name) if name.kind().word() == kind => Ok(name.to_string()),
        Ok(_) => Err(Fault::Bad(format!("{long} is not a {kind} type"))),
        Err(error) => Err(Fault::Bad(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_whole() {
        assert_eq!(full_name("imu/data"), Ok("/imu/data".to_owned()));
        assert_eq!(full_name("/a_1"), Ok("/a_1".to_owned()));
        for bad in ["", "/", "//a", "/a/", "/a*", "/{a,b}", "ä", &"x".repeat(256)] {
            assert!(matches!(full_name(bad), Err(Fault::Bad(_))), "{bad}");
        }
        assert_eq!(long_type("std_srvs/Trigger", "srv"), Ok("std_srvs/srv/Trigger".to_owned()));
        assert_eq!(long_type("std_msgs/msg/String", "msg"), Ok("std_msgs/msg/String".to_owned()));
        assert!(long_type("std_msgs/msg/String", "srv").is_err() && long_type("String", "msg").is_err());
    }
}
