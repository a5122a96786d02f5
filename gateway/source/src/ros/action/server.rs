//! The action server: three services and two topics per action, and a handler that executes the goals.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use roverline_schema::cdr::Writer;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::limits;
use crate::ros::action::{GoalId, GoalStatus, last_field};
use crate::ros::{Advertised, Ros, RosError, ServedService};
use crate::{Handler, Publication, Reply, clock};

/// How long the result of such a goal is kept after its end.
const GOAL_RESULT_KEEP_MS: u64 = 60_000;

/// Executes the goals of an action. It is called on the source's thread, so each method must return at
/// once. A closure that takes a [`ServedGoal`] is one that accepts every goal.
pub trait GoalHandler: Send + Sync {
    /// Whether a goal is accepted; `goal` is JSON text of the action's `_Goal`.
    fn accepts(&self, _goal: &[u8]) -> bool {
        true
    }

    /// Executes an accepted goal.
    fn execute(&self, goal: ServedGoal);

    /// Is told that a goal should be cancelled; [`ServedGoal::cancel`] says the same.
    fn cancel(&self, _id: GoalId) {}
}

impl<F: Fn(ServedGoal) + Send + Sync> GoalHandler for F {
    fn execute(&self, goal: ServedGoal) {
        self(goal);
    }
}

/// A served action; dropping it withdraws the action.
pub struct ServedAction(Vec<ServedService>);

impl ServedAction {
    /// The action's three services; dropping them withdraws the action.
    pub fn into_services(self) -> Vec<ServedService> {
        self.0
    }
}

/// An accepted goal for the handler to execute. Dropping it unfinished aborts it.
pub struct ServedGoal {
    /// The goal's id.
    pub id: GoalId,
    /// JSON text of the action's `_Goal`.
    pub goal: Vec<u8>,
    /// Becomes true when the goal should be cancelled.
    pub cancel: watch::Receiver<bool>,
    action: Arc<Action>,
    finished: bool,
}

impl Ros {
    /// Serves an action until the returned value is dropped; `handler` receives its goals.
    pub fn serve_action(
        &self,
        name: &str,
        type_name: &str,
        handler: Arc<dyn GoalHandler>,
    ) -> Result<ServedAction, RosError> {
        // Reject an unknown type at once, with its name in the error.
        self.encode(&format!("{type_name}_Goal"), &json!({}))?;
        // Clients take an action for ready when they see its topics as well.
        let feedback = (format!("{name}/_action/feedback"), format!("{type_name}_FeedbackMessage"));
        let topics = [
            self.advertise(&feedback.0, &feedback.1, false)?,
            self.advertise(&format!("{name}/_action/status"), "action_msgs/msg/GoalStatusArray", true)?,
        ];
        let action = Arc::new(Action {
            ros: self.clone(),
            _topics: topics,
            name: name.to_owned(),
            type_name: type_name.to_owned(),
            handler,
            goals: Mutex::default(),
        });
        let serve = |part: &str, type_name: &str, handler: Arc<Handler>| {
            self.serve(&format!("{name}/_action/{part}"), type_name, handler)
        };
        let send = handler_for(&action, |action, request, reply| action.on_send_goal(request, reply));
        let result = handler_for(&action, |action, request, reply| action.on_get_result(request, reply));
        let cancel = handler_for(&action, |action, request, reply| action.on_cancel_goal(request, reply));
        Ok(ServedAction(vec![
            serve("get_result", &format!("{type_name}_GetResult"), result)?,
            serve("cancel_goal", "action_msgs/srv/CancelGoal", cancel)?,
            // Last: a client that finds it also finds the others.
            serve("send_goal", &format!("{type_name}_SendGoal"), send)?,
        ]))
    }
}

/// Wraps a handler so that a request it cannot parse gets no response.
fn handler_for(
    action: &Arc<Action>,
    handle: impl Fn(&Arc<Action>, &[u8], Reply) -> Result<(), RosError> + Send + Sync + 'static,
) -> Arc<Handler> {
    let action = action.clone();
    Arc::new(move |request: Bytes, reply: Reply| {
        if let Err(error) = handle(&action, &request, reply) {
            tracing::debug!(action = action.name, "a request was not understood: {error}");
        }
    })
}

struct Action {
    ros: Ros,
    _topics: [Advertised; 2],
    name: String,
    type_name: String,
    handler: Arc<dyn GoalHandler>,
    goals: Mutex<HashMap<GoalId, GoalState>>,
}

/// The server's state of a goal.
struct GoalState {
    status: GoalStatus,
    cancel: watch::Sender<bool>,
    since: Duration,
    /// When it was accepted, nanoseconds since the Unix epoch.
    accepted_ns: i64,
    /// Requests waiting for the result.
    waiting: Vec<Reply>,
    /// The result, and when the goal ended.
    result: Option<(Bytes, Duration)>,
}

impl Action {
    fn on_send_goal(self: &Arc<Self>, request: &[u8], reply: Reply) -> Result<(), RosError> {
        let id = goal_id(request)?;
        let json = self.ros.decode(&format!("{}_SendGoal_Request", self.type_name), request)?;
        let goal = last_field(&json, "goal")?;
        let accepted_ns = clock::unix_ns();
        let cancel = if self.handler.accepts(&goal) { self.add(id, accepted_ns) } else { None };
        let mut response = Writer::new();
        response.bool(cancel.is_some());
        write_time(&mut response, accepted_ns);
        reply.send(Bytes::from(response.finish()));
        if let Some(cancel) = cancel {
            self.publish_status();
            self.handler.execute(ServedGoal { id, goal, cancel, action: self.clone(), finished: false });
        }
        Ok(())
    }

    /// Adds a goal; `None` if its id is in use or too many are active.
    fn add(&self, id: GoalId, accepted_ns: i64) -> Option<watch::Receiver<bool>> {
        let now = clock::monotonic();
        let retention = Duration::from_millis(GOAL_RESULT_KEEP_MS);
        let mut goals = self.goals.lock();
        goals
            .retain(|_, goal| goal.result.as_ref().is_none_or(|(_, at)| now.saturating_sub(*at) < retention));
        let ended = goals.iter().filter_map(|(id, goal)| Some((goal.result.as_ref()?.1, *id)));
        let (ended_count, oldest) = (ended.clone().count(), ended.min_by_key(|(at, _)| *at));
        if goals.len() - ended_count >= limits::GOALS_PER_ACTION || goals.contains_key(&id) {
            return None;
        }
        // As many results are kept as goals may be active; the oldest goes first.
        if ended_count >= limits::GOALS_PER_ACTION
            && let Some((_, oldest)) = oldest
        {
            goals.remove(&oldest);
        }
        let (sender, cancel) = watch::channel(false);
        let (status, waiting) = (GoalStatus::Executing, Vec::new());
        goals
            .insert(id, GoalState { status, cancel: sender, since: now, accepted_ns, waiting, result: None });
        Some(cancel)
    }

    fn on_get_result(&self, request: &[u8], reply: Reply) -> Result<(), RosError> {
        let id = goal_id(request)?;
        let result = match self.goals.lock().get_mut(&id) {
            None => None,
            Some(GoalState { result: Some((result, _)), .. }) => Some(result.clone()),
            Some(goal) => {
                // A client that requests again has abandoned its earlier requests.
                if goal.waiting.len() == limits::REQUESTS_PER_GOAL {
                    goal.waiting.remove(0);
                }
                goal.waiting.push(reply);
                return Ok(());
            }
        };
        match result {
            Some(result) => reply.send(result),
            None => reply.send(self.encode_result(GoalStatus::Unknown, &json!({}))?),
        }
        Ok(())
    }

    /// Cancels the goal with the given id, or every goal if the id is zero (action_msgs/srv/CancelGoal).
    /// The stamp, which would cancel the goals accepted before it, is ignored.
    fn on_cancel_goal(&self, request: &[u8], reply: Reply) -> Result<(), RosError> {
        let requested = goal_id(request)?;
        let every = requested.0 == [0; 16];
        let mut code = if every { 0_i8 } else { 2 };
        let mut canceling = Vec::new();
        for (id, goal) in self.goals.lock().iter_mut().filter(|(id, _)| every || **id == requested) {
            match goal.result {
                Some(_) => code = if every { code } else { 3 },
                None => {
                    code = 0;
                    goal.status = GoalStatus::Canceling;
                    goal.cancel.send_replace(true);
                    canceling.push((*id, goal.accepted_ns));
                }
            }
        }
        let mut response = Writer::new();
        response.i8(code).len(canceling.len() as u32);
        for (id, accepted_ns) in &canceling {
            response.raw(&id.0);
            write_time(&mut response, *accepted_ns);
        }
        reply.send(Bytes::from(response.finish()));
        canceling.into_iter().for_each(|(id, _)| self.handler.cancel(id));
        self.publish_status();
        Ok(())
    }

    fn encode_result(&self, status: GoalStatus, result: &Value) -> Result<Bytes, RosError> {
        let response = json!({"status": status as i8, "result": result});
        self.ros.encode(&format!("{}_GetResult_Response", self.type_name), &response)
    }

    fn finish(&self, id: GoalId, status: GoalStatus, result: &Bytes) {
        let waiting = match self.goals.lock().get_mut(&id) {
            Some(goal) => {
                goal.status = status;
                goal.result = Some((result.clone(), clock::monotonic()));
                std::mem::take(&mut goal.waiting)
            }
            None => return,
        };
        waiting.into_iter().for_each(|reply| reply.send(result.clone()));
        self.publish_status();
    }

    /// Publishes the status of every goal (action_msgs/msg/GoalStatusArray).
    fn publish_status(&self) {
        let mut array = Writer::new();
        {
            let goals = self.goals.lock();
            let mut goals: Vec<(&GoalId, &GoalState)> = goals.iter().collect();
            goals.sort_by_key(|(_, goal)| goal.since);
            array.len(goals.len() as u32);
            for (id, goal) in goals {
                array.raw(&id.0);
                write_time(&mut array, goal.accepted_ns);
                array.i8(goal.status as i8);
            }
        }
        self.publish("status", "action_msgs/msg/GoalStatusArray", Bytes::from(array.finish()), true);
    }

    fn publish(&self, part: &str, type_name: &str, payload: Bytes, latched: bool) {
        let topic = format!("{}/_action/{part}", self.name);
        let publication = Publication { topic, type_name: type_name.to_owned(), payload, latched };
        if let Err(error) = self.ros.publish(publication) {
            tracing::debug!(action = self.name, "its {part} was not published: {error}");
        }
    }
}

impl ServedGoal {
    /// Publishes feedback: JSON of the action's `_Feedback`.
    pub fn feedback(&self, feedback: &Value) -> Result<(), RosError> {
        let message = json!({"goal_id": {"uuid": self.id.0.to_vec()}, "feedback": feedback});
        let type_name = format!("{}_FeedbackMessage", self.action.type_name);
        let payload = self.action.ros.encode(&type_name, &message)?;
        self.action.publish("feedback", &type_name, payload, false);
        Ok(())
    }

    /// Ends the goal with a result: JSON of the action's `_Result`. The goal goes on if that does not fit
    /// its type.
    pub fn finish(&mut self, status: GoalStatus, result: &Value) -> Result<(), RosError> {
        let result = self.action.encode_result(status, result)?;
        self.action.finish(self.id, status, &result);
        self.finished = true;
        Ok(())
    }
}

impl Drop for ServedGoal {
    fn drop(&mut self) {
        if !self.finished
            && let Ok(result) = self.action.encode_result(GoalStatus::Aborted, &json!({}))
        {
            self.action.finish(self.id, GoalStatus::Aborted, &result);
        }
    }
}

/// Writes builtin_interfaces/msg/Time.
fn write_time(writer: &mut Writer, unix_ns: i64) {
    writer.i32((unix_ns / 1_000_000_000) as i32).u32((unix_ns % 1_000_000_000) as u32);
}

/// The goal id, which is the first field of every request.
fn goal_id(request: &[u8]) -> Result<GoalId, RosError> {
    let id = request.get(4..).and_then(<[u8]>::first_chunk);
    id.map(|id| GoalId(*id)).ok_or_else(|| RosError::Message("the request is too short".to_owned()))
}
