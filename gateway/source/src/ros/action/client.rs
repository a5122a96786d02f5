//! The action client: sends goals and follows each in its own task until it ends or its `Goal` is
//! dropped.

use std::time::Duration;

use bytes::Bytes;
use roverline_schema::cdr::{Reader, Writer};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::limits;
use crate::ros::action::{Goal, GoalEvent, GoalId, GoalStatus, last_field};
use crate::ros::{Ros, RosError};
use crate::{Call, CallError, RawSample, TopicListener};

/// How often the result of a goal is requested again after the source has ended the call.
const MAX_LOST_RESULTS: u32 = 5;
/// The pause before that, milliseconds: another run of the source takes over.
const LOST_RESULT_PAUSE_MS: u64 = 1_000;
/// Events of one goal queued for its client; further feedback is dropped.
const GOAL_EVENTS: usize = 64;
/// First and longest interval for requesting a goal's result again: the request may have been lost.
const GOAL_RETRY_MS: (u64, u64) = (2_000, 600_000);

const CANCEL: &str = "action_msgs/srv/CancelGoal";

impl Ros {
    /// Sends a goal (JSON of the action's `_Goal`) to an action server. `type_name` may be empty if the
    /// graph knows it. Must be called within a Tokio runtime.
    pub fn send_goal(
        &self,
        action: &str,
        type_name: &str,
        goal: &Value,
        feedback: bool,
    ) -> Result<Goal, RosError> {
        let graph_type = self.action_type(action);
        let type_name = match (type_name, graph_type) {
            ("", None) => return Err(no_server(action)),
            ("", Some(graph_type)) => graph_type,
            (given, _) => given.to_owned(),
        };
        let id = GoalId::random();
        let request = json!({"goal_id": {"uuid": id.0.to_vec()}, "goal": goal});
        let request = self.encode(&format!("{type_name}_SendGoal_Request"), &request)?;
        let (events, followed) = mpsc::channel(GOAL_EVENTS);
        let task = GoalTask { ros: self.clone(), action: action.to_owned(), type_name, id };
        tokio::spawn(async move {
            tokio::select! {
                // The `Goal` was dropped, so its pending requests are dropped too.
                () = events.closed() => {}
                ended = task.run(request, feedback, &events) => {
                    let last = ended.unwrap_or_else(|error| GoalEvent::Failed(error.to_string()));
                    let _ = events.send(last).await;
                }
            }
        });
        Ok(Goal { id, events: followed })
    }

    /// Requests the cancellation of a goal; returns once the server has answered.
    pub async fn cancel_goal(&self, action: &str, id: GoalId) -> Result<(), RosError> {
        let mut request = Writer::new();
        request.raw(&id.0).i32(0).u32(0);
        let service = format!("{action}/_action/cancel_goal");
        let timeout = Duration::from_millis(limits::SERVICE_TIMEOUT_MS);
        let answer = self.call(&service, CANCEL, Bytes::from(request.finish()), timeout).await?;
        let code = Reader::new(&answer).and_then(|mut reader| reader.i8());
        let why = match code.map_err(|error| RosError::Message(error.to_string()))? {
            0 => return Ok(()),
            1 => "the server does not cancel it",
            2 => "the server does not know this goal",
            3 => "it has ended already",
            _ => "the server gives no reason",
        };
        Err(CallError::Failed(format!("{action}: {why}")).into())
    }

    /// Name and type of each served action, sorted by name.
    pub fn actions(&self) -> Vec<(String, String)> {
        let graph = self.graph();
        let actions = graph.services.iter().filter_map(|service| {
            let name = service.name.strip_suffix("/_action/send_goal")?;
            Some((name.to_owned(), service.type_name.strip_suffix("_SendGoal")?.to_owned()))
        });
        actions.collect()
    }

    fn action_type(&self, action: &str) -> Option<String> {
        let graph = self.graph.borrow();
        let service = graph.service(&format!("{action}/_action/send_goal"))?;
        service.type_name.strip_suffix("_SendGoal").map(str::to_owned)
    }
}

fn no_server(action: &str) -> RosError {
    RosError::Unknown(format!("no node serves the action {action}"))
}

/// A goal in progress.
struct GoalTask {
    ros: Ros,
    action: String,
    type_name: String,
    id: GoalId,
}

impl GoalTask {
    fn name(&self, part: &str) -> String {
        format!("{}/_action/{part}", self.action)
    }

    async fn run(
        &self,
        request: Bytes,
        feedback: bool,
        events: &mpsc::Sender<GoalEvent>,
    ) -> Result<GoalEvent, RosError> {
        self.wait_for_server().await?;
        let mut feedback_samples = match feedback {
            // Subscribe before the goal is sent, so that its first feedback is received.
            true => Some(self.listen()?),
            false => None,
        };
        let service = format!("{}_SendGoal", self.type_name);
        let timeout = Duration::from_millis(limits::SERVICE_TIMEOUT_MS);
        let answer = self.ros.call(&self.name("send_goal"), &service, request, timeout).await?;
        let accepted = Reader::new(&answer).and_then(|mut reader| reader.bool());
        if !accepted.map_err(|error| RosError::Message(error.to_string()))? {
            return Ok(GoalEvent::Failed(format!("{} rejected the goal", self.action)));
        }
        // The receiver may be gone; that ends this task.
        let _ = events.send(GoalEvent::Accepted).await;
        let (first, longest) = GOAL_RETRY_MS;
        let mut timeout_ms = first;
        let mut result = self.request_result(timeout_ms)?;
        let mut lost = 0;
        loop {
            tokio::select! {
                // Feedback first, if both are ready.
                biased;
                Some(sample) = next(&mut feedback_samples) => self.forward_feedback(&sample, events),
                answer = &mut result => match answer {
                    Ok(Ok(answer)) => return self.result(&answer),
                    Ok(Err(CallError::Timeout { .. })) => {
                        timeout_ms = (timeout_ms * 2).min(longest);
                        result = self.request_result(timeout_ms)?;
                    }
                    Ok(Err(error)) => return Err(error.into()),
                    // The source has ended this call, for example because it joins the graph anew.
                    Err(_) if lost < MAX_LOST_RESULTS => {
                        lost += 1;
                        tokio::time::sleep(Duration::from_millis(LOST_RESULT_PAUSE_MS)).await;
                        result = self.request_result(timeout_ms)?;
                        if feedback {
                            feedback_samples = Some(self.listen()?);
                        }
                    }
                    Err(_) => return Ok(GoalEvent::Failed(format!("{} gave no result", self.action))),
                }
            }
        }
    }

    /// Waits until the graph shows a server; nothing is opened for an action without one.
    async fn wait_for_server(&self) -> Result<(), RosError> {
        let name = self.name("send_goal");
        let mut graph = self.ros.graph.clone();
        let grace = Duration::from_millis(limits::SERVICE_GRACE_MS);
        let served = graph.wait_for(|graph| graph.service(&name).is_some());
        match tokio::time::timeout(grace, served).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(no_server(&self.action)),
        }
    }

    fn listen(&self) -> Result<mpsc::Receiver<RawSample>, RosError> {
        let (samples, feedback_samples) = mpsc::channel(GOAL_EVENTS);
        let (topic, type_name) = (self.name("feedback"), format!("{}_FeedbackMessage", self.type_name));
        self.ros.publisher.listen(TopicListener { topic, type_name, latched: false, samples })?;
        Ok(feedback_samples)
    }

    /// Requests the result. The server answers when the goal has ended, however long that takes;
    /// repeating the request is harmless.
    fn request_result(
        &self,
        timeout_ms: u64,
    ) -> Result<oneshot::Receiver<Result<Bytes, CallError>>, RosError> {
        let mut request = Writer::new();
        request.raw(&self.id.0);
        let (answer, answered) = oneshot::channel();
        let call = Call {
            service: self.name("get_result"),
            type_name: format!("{}_GetResult", self.type_name),
            request: Bytes::from(request.finish()),
            timeout: Duration::from_millis(timeout_ms),
            answer,
        };
        self.ros.publisher.call(call)?;
        Ok(answered)
    }

    /// Forwards a feedback message if it belongs to this goal: its first field is the goal id.
    fn forward_feedback(&self, sample: &RawSample, events: &mpsc::Sender<GoalEvent>) {
        if sample.payload.get(4..20) != Some(self.id.0.as_slice()) {
            return;
        }
        let json = self.ros.decode(&format!("{}_FeedbackMessage", self.type_name), &sample.payload);
        match json.and_then(|json| last_field(&json, "feedback")) {
            // A slow client misses some feedback.
            Ok(feedback) => drop(events.try_send(GoalEvent::Feedback(feedback))),
            Err(error) => tracing::debug!(action = self.action, "feedback could not be read: {error}"),
        }
    }

    fn result(&self, answer: &[u8]) -> Result<GoalEvent, RosError> {
        let status = Reader::new(answer).and_then(|mut reader| reader.i8());
        let status = GoalStatus::from_number(status.map_err(|error| RosError::Message(error.to_string()))?);
        if status == GoalStatus::Unknown {
            return Ok(GoalEvent::Failed(format!("{} knows the goal no longer", self.action)));
        }
        let json = self.ros.decode(&format!("{}_GetResult_Response", self.type_name), answer)?;
        Ok(GoalEvent::Result(status, last_field(&json, "result")?))
    }
}

/// The next sample; pending forever without a subscription or after its end.
async fn next(feedback_samples: &mut Option<mpsc::Receiver<RawSample>>) -> Option<RawSample> {
    if let Some(samples) = feedback_samples {
        if let Some(sample) = samples.recv().await {
            return Some(sample);
        }
        *feedback_samples = None;
    }
    std::future::pending().await
}
