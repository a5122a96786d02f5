//! Goals through the client library, which has clients of whole actions: requests to an action's services become its
//! operations, and its feedback the messages of the feedback topic. The library chooses the id of a goal, so each goal
//! has two: ours, by which everybody else knows it, and the one that the server sees.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::LocalBoxStream;
use futures_util::{FutureExt, StreamExt};
use r2r::{ActionClientGoalUntyped, ActionClientUntyped, GoalStatus, Node};
use roverline_protocol::{Guid, SampleId};
use roverline_schema::Registry;
use roverline_schema::cdr::Writer;
use serde_json::{Value as Json, json};
use tokio::sync::{mpsc, oneshot};

use crate::clock::unix_ns;
use crate::r2r::calls::{Available, available, not_built};
use crate::r2r::json::{decoded, encoded};
use crate::{Call, CallError, RawSample, TopicListener, limits};

/// Actions that have been used; the library never closes a client.
const MAX_CLIENTS: usize = 64;
/// Goals that run or whose result is kept.
const MAX_GOALS: usize = 256;
/// How long a result is kept.
const RESULT_KEPT: Duration = Duration::from_secs(60);

const SEND_GOAL: &str = "/_action/send_goal";
const GET_RESULT: &str = "/_action/get_result";
const CANCEL_GOAL: &str = "/_action/cancel_goal";
const FEEDBACK: &str = "/_action/feedback";
/// The bytes of a CDR header, after which each of these requests has the goal's id.
const HEADER: usize = 4;

type GoalId = [u8; 16];
type Answer = oneshot::Sender<Result<Bytes, CallError>>;
type ResultFuture = LocalBoxFuture<'static, r2r::Result<(GoalStatus, r2r::Result<Json>)>>;
type Accepted = (ActionClientGoalUntyped, ResultFuture, LocalBoxStream<'static, r2r::Result<Json>>);

enum Progress {
    Waits(Available, Json),
    Sent(LocalBoxFuture<'static, r2r::Result<Accepted>>),
}

struct Start {
    action: String,
    id: GoalId,
    since: Instant,
    timeout: Duration,
    answer: Answer,
    progress: Progress,
}

struct Running {
    action: String,
    handle: ActionClientGoalUntyped,
    result: ResultFuture,
    feedback: LocalBoxStream<'static, r2r::Result<Json>>,
    /// The CDR of the result, and when it came.
    ended: Option<(Bytes, Instant)>,
    waiting: Vec<Answer>,
}

struct Client {
    type_name: String,
    client: ActionClientUntyped,
}

/// The clients by action, and their goals.
pub(super) struct Actions {
    registry: Registry,
    clients: HashMap<String, Client>,
    starting: Vec<Start>,
    running: HashMap<GoalId, Running>,
    cancelling: Vec<(LocalBoxFuture<'static, r2r::Result<()>>, Answer)>,
    listeners: Vec<(String, mpsc::Sender<RawSample>)>,
    feedback_number: u64,
}

impl Actions {
    pub(super) fn new(registry: Registry) -> Actions {
        Actions {
            registry,
            clients: HashMap::new(),
            starting: Vec::new(),
            running: HashMap::new(),
            cancelling: Vec::new(),
            listeners: Vec::new(),
            feedback_number: 0,
        }
    }

    /// Takes a call of one of an action's services; returns any other.
    pub(super) fn take(&mut self, node: &mut Node, call: Call, now: Instant) -> Option<Call> {
        let suffix = [SEND_GOAL, GET_RESULT, CANCEL_GOAL].into_iter().find(|end| call.service.ends_with(end));
        let Some(suffix) = suffix else { return Some(call) };
        let action = call.service.trim_end_matches(suffix).to_owned();
        let id = call.request.get(HEADER..HEADER + 16).and_then(|id| GoalId::try_from(id).ok());
        let Some(id) = id else {
            let _ = call.answer.send(Err(CallError::Failed("the request has no goal id".to_owned())));
            return None;
        };
        match suffix {
            SEND_GOAL => self.start(node, call, action, id, now),
            GET_RESULT => self.request_result(call, id),
            _ => self.cancel(call, id),
        }
        None
    }

    /// Takes a listener of a feedback topic; returns any other.
    pub(super) fn listen(&mut self, listener: TopicListener) -> Option<TopicListener> {
        match listener.topic.strip_suffix(FEEDBACK) {
            Some(action) if self.listeners.len() < limits::LISTENERS => {
                self.listeners.push((action.to_owned(), listener.samples));
                None
            }
            Some(action) => {
                tracing::warn!(
                    "feedback of {action} is not passed on: {} listeners are open",
                    limits::LISTENERS
                );
                None
            }
            None => Some(listener),
        }
    }

    fn start(&mut self, node: &mut Node, call: Call, action: String, id: GoalId, now: Instant) {
        let Call { type_name, request, timeout, answer, .. } = call;
        let request = decoded(&self.registry, &format!("{type_name}_Request"), &request);
        let type_name = type_name.trim_end_matches("_SendGoal");
        let started = request.and_then(|mut request| {
            let client = self.client(node, &action, type_name)?;
            Ok(Progress::Waits(available(Node::is_available(client)), request["goal"].take()))
        });
        match started {
            Ok(progress) => self.starting.push(Start { action, id, since: now, timeout, answer, progress }),
            Err(error) => drop(answer.send(Err(error))),
        }
    }

    fn client(
        &mut self,
        node: &mut Node,
        action: &str,
        type_name: &str,
    ) -> Result<&ActionClientUntyped, CallError> {
        if !self.clients.contains_key(action) {
            if self.clients.len() >= MAX_CLIENTS {
                return Err(CallError::Failed(format!("{MAX_CLIENTS} actions have been used already")));
            }
            let client = node
                .create_action_client_untyped(action, type_name)
                .map_err(|error| not_built(action, type_name, &error))?;
            self.clients.insert(action.to_owned(), Client { type_name: type_name.to_owned(), client });
        }
        if self.starting.len() + self.running.len() >= MAX_GOALS {
            return Err(CallError::Failed(format!("{MAX_GOALS} goals are running already")));
        }
        let client = self.clients.get(action).filter(|client| client.type_name == type_name);
        client.map(|known| &known.client).ok_or_else(|| CallError::NoServer(action.to_owned()))
    }

    fn request_result(&mut self, call: Call, id: GoalId) {
        let Some(goal) = self.running.get_mut(&id) else {
            let why = format!("{}: this endpoint did not send the goal", call.service);
            return drop(call.answer.send(Err(CallError::Failed(why))));
        };
        match &goal.ended {
            Some((result, _)) => drop(call.answer.send(Ok(result.clone()))),
            None => {
                goal.waiting.retain(|answer| !answer.is_closed());
                goal.waiting.push(call.answer);
            }
        }
    }

    fn cancel(&mut self, call: Call, id: GoalId) {
        let cancelled = self.running.get(&id).map(|goal| goal.handle.cancel());
        match cancelled {
            Some(Ok(future)) => self.cancelling.push((future.boxed_local(), call.answer)),
            Some(Err(error)) => drop(call.answer.send(Err(CallError::Failed(error.to_string())))),
            None => drop(call.answer.send(Ok(cancel_response(2)))),
        }
    }

    /// Sends goals whose server is there and passes on what servers have answered.
    pub(super) fn poll(&mut self, now: Instant) {
        for start in std::mem::take(&mut self.starting) {
            self.poll_start(start, now);
        }
        for (mut future, answer) in std::mem::take(&mut self.cancelling) {
            match (&mut future).now_or_never() {
                Some(done) => drop(answer.send(Ok(cancel_response(i8::from(done.is_err()))))),
                None if answer.is_closed() => {}
                None => self.cancelling.push((future, answer)),
            }
        }
        self.listeners.retain(|(_, samples)| !samples.is_closed());
        for (id, goal) in &mut self.running {
            let Some(client) = self.clients.get(&goal.action) else { continue };
            let listeners = self.listeners.iter().filter(|(action, _)| *action == goal.action);
            let listeners: Vec<_> = listeners.map(|(_, samples)| samples).collect();
            goal.pass_feedback(&self.registry, &client.type_name, id, &listeners, &mut self.feedback_number);
            goal.pass_result(&self.registry, &client.type_name, now);
        }
        let kept = |_: &GoalId, goal: &mut Running| {
            goal.ended.as_ref().is_none_or(|(_, at)| now.saturating_duration_since(*at) < RESULT_KEPT)
        };
        self.running.retain(kept);
    }

    fn poll_start(&mut self, mut start: Start, now: Instant) {
        let waited = now.saturating_duration_since(start.since);
        let grace = Duration::from_millis(limits::SERVICE_GRACE_MS);
        match &mut start.progress {
            Progress::Waits(available, goal) => {
                if available.now_or_never().is_some() {
                    let client = self.clients.get(&start.action).map(|known| known.client.clone());
                    let sent = client.map(|client| client.send_goal_request(goal.take()));
                    let Some(Ok(future)) = sent else {
                        let why = format!("{} did not take the goal", start.action);
                        return drop(start.answer.send(Err(CallError::Failed(why))));
                    };
                    let future = future.map(|accepted| {
                        accepted.map(|(handle, result, feedback)| {
                            (handle, result.boxed_local(), feedback.boxed_local())
                        })
                    });
                    start.progress = Progress::Sent(future.boxed_local());
                } else if waited >= grace {
                    return drop(start.answer.send(Err(CallError::NoServer(start.action))));
                }
            }
            Progress::Sent(future) => match future.now_or_never() {
                Some(Ok((handle, result, feedback))) => {
                    let action = start.action;
                    let goal = Running { action, handle, result, feedback, ended: None, waiting: Vec::new() };
                    self.running.insert(start.id, goal);
                    return drop(start.answer.send(Ok(goal_response(true))));
                }
                Some(Err(_)) => return drop(start.answer.send(Ok(goal_response(false)))),
                None if waited >= start.timeout => {
                    let (service, timeout) = (start.action, start.timeout);
                    return drop(start.answer.send(Err(CallError::Timeout { service, timeout })));
                }
                None => {}
            },
        }
        self.starting.push(start);
    }
}

impl Running {
    fn pass_feedback(
        &mut self,
        registry: &Registry,
        type_name: &str,
        id: &GoalId,
        listeners: &[&mpsc::Sender<RawSample>],
        number: &mut u64,
    ) {
        while let Some(Some(feedback)) = self.feedback.next().now_or_never() {
            let Ok(feedback) = feedback else { continue };
            let message = json!({"goal_id": {"uuid": id}, "feedback": feedback});
            let Ok(payload) = encoded(registry, &format!("{type_name}_FeedbackMessage"), &message) else {
                continue;
            };
            *number += 1;
            let now = unix_ns();
            let source = Guid::from_name(&format!("r2r\0{}{FEEDBACK}", self.action));
            for listener in listeners {
                let (source_time_ns, receive_time_ns, payload) = (now, now, payload.clone());
                let id = SampleId { source, seq: *number };
                // A full channel drops the sample.
                drop(listener.try_send(RawSample { id, source_time_ns, receive_time_ns, payload }));
            }
        }
    }

    fn pass_result(&mut self, registry: &Registry, type_name: &str, now: Instant) {
        if self.ended.is_some() {
            return;
        }
        let Some(done) = (&mut self.result).now_or_never() else { return };
        let result =
            done.map_err(|error| CallError::Failed(error.to_string())).and_then(|(status, result)| {
                let result = result.map_err(|error| CallError::Failed(error.to_string()))?;
                let response = json!({"status": status.to_rcl(), "result": result});
                encoded(registry, &format!("{type_name}_GetResult_Response"), &response)
            });
        for answer in self.waiting.drain(..) {
            let _ = answer.send(result.clone());
        }
        self.ended = Some((result.unwrap_or_default(), now));
    }
}

/// The CDR of a `SendGoal_Response`: whether the goal is accepted, and a time.
fn goal_response(accepted: bool) -> Bytes {
    let mut response = Writer::new();
    response.bool(accepted).i32(0).u32(0);
    Bytes::from(response.finish())
}

/// The CDR of a `CancelGoal_Response`: the code, and no list of goals.
fn cancel_response(code: i8) -> Bytes {
    let mut response = Writer::new();
    response.i8(code).u32(0);
    Bytes::from(response.finish())
}
