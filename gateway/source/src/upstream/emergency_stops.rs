//! Emergency stops in transit to the rover: repeated until it responds or their deadline passes.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::limits;
use crate::{EmergencyStopRequest, PublishError};

/// Interval at which an unconfirmed emergency stop is repeated: the rover executes an id once.
const STOP_REPEAT_MS: u64 = 250;

/// How long the rover may take to confirm.
const CONFIRM: Duration = Duration::from_millis(limits::STOP_CONFIRM_MS);
/// The interval between two repetitions.
const REPEAT: Duration = Duration::from_millis(STOP_REPEAT_MS);

/// Requests that the rover has not confirmed, by id.
#[derive(Default)]
pub(super) struct PendingStops(HashMap<String, PendingStop>);

/// One request and everyone who awaits its result.
struct PendingStop {
    engage: bool,
    reason: String,
    traceparent: Option<String>,
    deadline: Duration,
    sent_at: Duration,
    refusal: Option<String>,
    answers: Vec<oneshot::Sender<Result<String, PublishError>>>,
}

/// An emergency stop to be sent to the rover now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StopMessage {
    pub(super) id: String,
    pub(super) engage: bool,
    pub(super) reason: String,
    pub(super) traceparent: Option<String>,
}

impl PendingStops {
    /// Accepts a request at `now` (monotonic); returns the message to send for it.
    pub(super) fn accept(&mut self, request: EmergencyStopRequest, now: Duration) -> Option<StopMessage> {
        let EmergencyStopRequest { id, engage, reason, traceparent, answer } = request;
        if let Some(pending) = self.0.get_mut(&id).filter(|pending| pending.engage == engage) {
            if pending.answers.len() < limits::STOPS_WAITING_ENTRIES {
                pending.answers.push(answer);
            }
            return None;
        }
        if self.0.contains_key(&id) || self.0.len() >= limits::STOPS_WAITING_ENTRIES {
            // The client may be gone.
            let _ = answer.send(Err(PublishError::Failed(
                "too many emergency stops wait for the rover's answer".to_owned(),
            )));
            return None;
        }
        let (deadline, answers) = (now + CONFIRM, vec![answer]);
        let pending =
            PendingStop { engage, reason, traceparent, deadline, sent_at: now, refusal: None, answers };
        let message = pending.message(&id);
        self.0.insert(id, pending);
        Some(message)
    }

    /// Records the response of one of the rover's endpoints. An acceptance is final; after a refusal
    /// another endpoint may still accept.
    pub(super) fn on_response(&mut self, id: &str, accepted: bool, message: String) {
        if !accepted {
            if let Some(pending) = self.0.get_mut(id) {
                pending.refusal = Some(message);
            }
        } else if let Some(pending) = self.0.remove(id) {
            pending.finish(&Ok(message));
        }
    }

    /// Fails the overdue requests; returns the messages to repeat.
    pub(super) fn tick(&mut self, now: Duration) -> Vec<StopMessage> {
        let over: Vec<String> =
            self.0.iter().filter(|(_, pending)| pending.deadline <= now).map(|(id, _)| id.clone()).collect();
        for pending in over.iter().filter_map(|id| self.0.remove(id)).collect::<Vec<_>>() {
            let why = pending.refusal.clone().map_or(PublishError::Unconfirmed, PublishError::Failed);
            pending.finish(&Err(why));
        }
        let due = |pending: &&mut PendingStop| now.saturating_sub(pending.sent_at) >= REPEAT;
        let mut repeats = Vec::new();
        for (id, pending) in &mut self.0 {
            if due(&pending) {
                pending.sent_at = now;
                repeats.push(pending.message(id));
            }
        }
        repeats
    }
}

impl PendingStop {
    fn message(&self, id: &str) -> StopMessage {
        StopMessage {
            id: id.to_owned(),
            engage: self.engage,
            reason: self.reason.clone(),
            traceparent: self.traceparent.clone(),
        }
    }

    fn finish(self, answer: &Result<String, PublishError>) {
        for pending in self.answers {
            // The client may be gone.
            let _ = pending.send(answer.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: &str) -> (EmergencyStopRequest, oneshot::Receiver<Result<String, PublishError>>) {
        let (answer, response) = oneshot::channel();
        let (id, reason) = (id.to_owned(), "test".to_owned());
        (EmergencyStopRequest { id, engage: true, reason, traceparent: None, answer }, response)
    }

    #[test]
    fn an_acceptance_is_final_and_a_refusal_is_not() {
        let at = Duration::from_millis;
        let mut stops = PendingStops::default();
        let (first, mut response) = request("a");
        assert_eq!(stops.accept(first, at(0)).unwrap().id, "a");
        let (same, mut second_response) = request("a");
        assert_eq!(stops.accept(same, at(10)), None, "it is under way");
        stops.on_response("a", false, "cannot write".to_owned());
        assert!(response.try_recv().is_err());
        assert_eq!(stops.tick(at(100)), []);
        assert_eq!(stops.tick(at(260)).len(), 1, "repeated");
        stops.on_response("a", true, "engaged".to_owned());
        stops.on_response("a", true, "already done".to_owned());
        assert_eq!(response.try_recv().unwrap(), Ok("engaged".to_owned()));
        assert_eq!(second_response.try_recv().unwrap(), Ok("engaged".to_owned()));
    }

    #[test]
    fn timeouts_and_refusals_are_reported_and_pending_stops_bounded() {
        let at = Duration::from_millis;
        let mut stops = PendingStops::default();
        let (silent, mut response) = request("a");
        let (refused, mut second_response) = request("b");
        stops.accept(silent, at(0));
        stops.accept(refused, at(0));
        stops.on_response("b", false, "cannot write".to_owned());
        stops.tick(at(1_999));
        assert!(response.try_recv().is_err());
        assert_eq!(stops.tick(at(2_000)), []);
        let unconfirmed = response.try_recv().unwrap().unwrap_err();
        assert_eq!(unconfirmed, PublishError::Unconfirmed);
        assert_eq!(unconfirmed.to_string(), "not confirmed by the rover within 2 s: it may still arrive");
        assert_eq!(second_response.try_recv().unwrap(), Err(PublishError::Failed("cannot write".to_owned())));
        let mut kept = Vec::new();
        for n in 0..limits::STOPS_WAITING_ENTRIES {
            let (next, response) = request(&n.to_string());
            kept.push(response);
            assert!(stops.accept(next, at(3_000)).is_some());
        }
        let (one_more, mut response) = request("more");
        assert_eq!(stops.accept(one_more, at(3_000)), None);
        assert!(response.try_recv().unwrap().is_err());
    }
}
