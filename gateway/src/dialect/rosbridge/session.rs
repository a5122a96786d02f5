//! One rosbridge session: its state, and the dispatch of its messages.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use roverline_source::clock::monotonic;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tungstenite::protocol::Message;

use crate::connection::close_reason::CloseReason;
use crate::dialect::rosbridge::SampleFormat;
use crate::dialect::rosbridge::action_server::SessionGoals;
use crate::dialect::rosbridge::error::RequestError;
use crate::dialect::rosbridge::goals::{CancelOnDrop, Goals};
use crate::dialect::rosbridge::malformed::MalformedMessage;
use crate::dialect::rosbridge::operation::OpResult;
use crate::dialect::rosbridge::publications::Publications;
use crate::dialect::rosbridge::reassembly::{Reassembler, decode_png};
use crate::dialect::rosbridge::request::{Fragment, Id, Malformed, Request, key, parse};
use crate::dialect::rosbridge::service_server::ServiceServers;
use crate::dialect::rosbridge::status::{Level, status};
use crate::dialect::rosbridge::subscriptions::Subscriptions;
use crate::dialect::session::driver::{DialectSession, MessageError};
use crate::dialect::session::{ServiceReport, SessionContext};
use crate::limits;

/// The state of one session. Everything in it is bounded, and ends with it.
pub(super) struct Session<'a> {
    pub(super) context: &'a SessionContext,
    pub(super) subscriptions: Subscriptions,
    pub(super) publications: Publications,
    // Dropped before the services: their goals are answered first.
    pub(super) served_goals: SessionGoals,
    pub(super) servers: ServiceServers,
    pub(super) goals: Goals,
    _cancel: CancelOnDrop,
    /// Calls and goals that wait for their results.
    pub(super) calls: JoinSet<()>,
    /// Queries of all nodes run one at a time.
    pub(super) all_nodes: Arc<Semaphore>,
    level: Level,
    reassembler: Reassembler,
    drops_reported_at: Duration,
    topic_changes: watch::Receiver<u64>,
}

/// How often dropped messages are reported.
const REPORT_INTERVAL: Duration = Duration::from_millis(limits::SHED_REPORT_MS);
/// A fragmented message may contain an image; nothing nests further.
const MAX_NESTING: u32 = 2;

impl<'a> Session<'a> {
    /// Opens a session.
    pub(super) fn open(context: &'a SessionContext) -> Session<'a> {
        let (endpoint, format) = (&context.endpoint, SampleFormat::default().frame_format());
        endpoint.hub.attach(context.info.id, context.info.outbox().clone(), format);
        let goals = Goals::default();
        let cancel = CancelOnDrop { goals: goals.clone(), ros: endpoint.ros.clone() };
        Session {
            context,
            subscriptions: Subscriptions::default(),
            publications: Publications::default(),
            servers: ServiceServers::new(context),
            goals,
            _cancel: cancel,
            served_goals: SessionGoals::default(),
            calls: JoinSet::new(),
            all_nodes: Arc::new(Semaphore::new(1)),
            level: Level::default(),
            reassembler: Reassembler::default(),
            drops_reported_at: Duration::ZERO,
            topic_changes: endpoint.hub.topic_changes(),
        }
    }

    fn handle_text(&mut self, text: &str, nesting: u32) -> Result<(), Malformed> {
        let (id, request) = parse(text)?;
        let whole = match request {
            Request::Fragment(_) | Request::Png { .. } if nesting == 0 => {
                Err(MalformedMessage::Form("pieces of pieces are not put together"))
            }
            Request::Fragment(fragment) => {
                self.reassembler.add(fragment, monotonic()).map_err(MalformedMessage::from)
            }
            Request::Png { data, pieces } => self.unpack(data, pieces, &id),
            request => {
                return match self.dispatch(&id, request) {
                    Err(RequestError::Malformed(error)) => Err(Malformed { id, error }),
                    Err(error) => {
                        self.send_status(Level::Error, &id, error);
                        Ok(())
                    }
                    Ok(()) => Ok(()),
                };
            }
        };
        match whole {
            Ok(None) => Ok(()),
            Ok(Some(text)) => self.handle_text(&text, nesting - 1),
            Err(error) => Err(Malformed { id, error }),
        }
    }

    fn unpack(
        &mut self,
        data: String,
        pieces: Option<(usize, usize)>,
        id: &Id,
    ) -> Result<Option<String>, MalformedMessage> {
        let Some((num, total)) = pieces else { return Ok(Some(decode_png(&data)?)) };
        // Separate from the fragments, which may have the same id.
        let id = key(id).map(|id| format!("png {id}")).ok_or(MalformedMessage::Form("pieces have an id"))?;
        let whole = self.reassembler.add(Fragment { id, data, num, total }, monotonic())?;
        Ok(whole.map(|data| decode_png(&data)).transpose()?)
    }

    fn dispatch(&mut self, id: &Id, request: Request) -> OpResult {
        match request {
            Request::Subscribe(request) => self.subscribe(id, &request),
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
                None => Err(MalformedMessage::Form("a level is info, warning, error or none").into()),
            },
            Request::Auth { token } => self.authenticate(id, token),
            // Unpacked by the caller.
            Request::Fragment(_) | Request::Png { .. } => Ok(()),
        }
    }

    fn authenticate(&mut self, id: &Id, token: Option<String>) -> OpResult {
        let Some(token) = token else {
            return Err(RequestError::Incomplete(
                "the credentials of ROS 1 are not known here; send {\"op\":\"auth\",\"token\":\"…\"}",
            ));
        };
        match self.context.authenticate(&token) {
            Ok(role) => {
                // The client requested it, so it is sent at any level.
                self.send(status(Level::Info, id, &format!("you are {}", role.name())));
                Ok(())
            }
            // Guessing ends the session.
            Err(denied) => Err(MalformedMessage::Token(denied).into()),
        }
    }

    /// Sends a message.
    pub(super) fn send(&self, frame: Bytes) {
        self.context.info.outbox().control(frame);
    }

    /// Sends a status, if the client's level includes it.
    pub(super) fn send_status(&self, level: Level, id: &Id, msg: impl Display) {
        if level >= self.level && self.level != Level::None {
            self.send(status(level, id, &msg));
        }
    }

    fn report_drops(&self) {
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
        self.send_status(
            Level::Warning,
            &None,
            format!("not sent, the link is too slow: {}", list.join(", ")),
        );
    }
}

impl DialectSession for Session<'_> {
    type Malformed = Malformed;

    async fn on_message(&mut self, message: &Message) -> Result<(), MessageError<Malformed>> {
        let handled = match message {
            Message::Text(text) => self.handle_text(text.as_str(), MAX_NESTING),
            _ => Err(Malformed { id: None, error: MalformedMessage::Form("send JSON as text messages") }),
        };
        handled.map_err(MessageError::Malformed)
    }

    fn report_malformed(&mut self, Malformed { id, error }: Malformed) {
        self.send_status(Level::Error, &id, error);
    }

    fn report_service(&mut self, ServiceReport { level, reason, shed }: ServiceReport) {
        let level = level.word();
        let text = format!("service is {level}: {reason}; {shed} messages not sent");
        self.send_status(Level::Warning, &None, text);
    }

    fn on_tick(&mut self, now: Duration) {
        while self.calls.try_join_next().is_some() {}
        let lost = self.reassembler.expire(now);
        if lost > 0 {
            let text = format!("{lost} messages whose pieces did not all come are lost");
            self.send_status(Level::Error, &None, text);
        }
        self.servers.expire(now);
    }

    fn on_active_tick(&mut self, now: Duration) {
        if now.saturating_sub(self.drops_reported_at) >= REPORT_INTERVAL {
            self.drops_reported_at = now;
            self.report_drops();
        }
    }

    async fn next_change(&mut self) -> Result<(), CloseReason> {
        match self.topic_changes.changed().await {
            Ok(()) => self.topics_changed(),
            Err(_) => std::future::pending().await,
        }
        Ok(())
    }
}
