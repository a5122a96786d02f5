//! Emergency stops on their way to the rover: said until it answers, or until their time is over.

use std::collections::HashMap;
use std::time::Duration;

use roverline_protocol::limits;
use tokio::sync::oneshot;

use crate::StopOrder;

const CONFIRM: Duration = Duration::from_millis(limits::STOP_CONFIRM_MS);
const REPEAT: Duration = Duration::from_millis(limits::STOP_REPEAT_MS);

/// Orders that the rover has not confirmed, by their id.
#[derive(Default)]
pub(super) struct Stops(HashMap<String, Waiting>);

struct Waiting {
    engage: bool,
    reason: String,
    until: Duration,
    said_at: Duration,
    refusal: Option<String>,
    answers: Vec<oneshot::Sender<Result<String, String>>>,
}

/// An emergency stop to be said to the rover now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Saying {
    pub(super) id: String,
    pub(super) engage: bool,
    pub(super) reason: String,
}

impl Stops {
    /// Takes an order at `now` (monotonic); what is to be said for it.
    pub(super) fn order(&mut self, order: StopOrder, now: Duration) -> Option<Saying> {
        let StopOrder { id, engage, reason, answer } = order;
        if let Some(waiting) = self.0.get_mut(&id).filter(|waiting| waiting.engage == engage) {
            if waiting.answers.len() < limits::STOPS_WAITING_ENTRIES {
                waiting.answers.push(answer);
            }
            return None;
        }
        if self.0.contains_key(&id) || self.0.len() >= limits::STOPS_WAITING_ENTRIES {
            // The client may have left meanwhile.
            let _ = answer.send(Err("too many emergency stops wait for the rover's answer".to_owned()));
            return None;
        }
        let saying = Saying { id: id.clone(), engage, reason: reason.clone() };
        let (until, answers) = (now + CONFIRM, vec![answer]);
        self.0.insert(id, Waiting { engage, reason, until, said_at: now, refusal: None, answers });
        Some(saying)
    }

    /// One of the rover's endpoints answered. An acceptance is final; another endpoint may yet
    /// accept what this one refused.
    pub(super) fn answered(&mut self, id: &str, accepted: bool, message: String) {
        if !accepted {
            if let Some(waiting) = self.0.get_mut(id) {
                waiting.refusal = Some(message);
            }
        } else if let Some(waiting) = self.0.remove(id) {
            waiting.finish(&Ok(message));
        }
    }

    /// Ends those whose time is over; returns those to be said once more.
    pub(super) fn tick(&mut self, now: Duration) -> Vec<Saying> {
        let over: Vec<String> =
            self.0.iter().filter(|(_, waiting)| waiting.until <= now).map(|(id, _)| id.clone()).collect();
        for waiting in over.iter().filter_map(|id| self.0.remove(id)).collect::<Vec<_>>() {
            let why = waiting.refusal.clone().unwrap_or_else(not_confirmed);
            waiting.finish(&Err(why));
        }
        let due = |waiting: &&mut Waiting| now.saturating_sub(waiting.said_at) >= REPEAT;
        let mut again = Vec::new();
        for (id, waiting) in &mut self.0 {
            if due(&waiting) {
                waiting.said_at = now;
                let (engage, reason) = (waiting.engage, waiting.reason.clone());
                again.push(Saying { id: id.clone(), engage, reason });
            }
        }
        again
    }
}

impl Waiting {
    fn finish(self, answer: &Result<String, String>) {
        for waiting in self.answers {
            // The client may have left meanwhile.
            let _ = waiting.send(answer.clone());
        }
    }
}

/// What is said when nobody answered in time.
pub fn not_confirmed() -> String {
    format!("not confirmed by the rover within {} s: it may still arrive", CONFIRM.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(id: &str) -> (StopOrder, oneshot::Receiver<Result<String, String>>) {
        let (answer, answered) = oneshot::channel();
        (StopOrder { id: id.to_owned(), engage: true, reason: "test".to_owned(), answer }, answered)
    }

    #[test]
    fn an_acceptance_ends_it_and_a_refusal_waits_for_a_better_answer() {
        let at = Duration::from_millis;
        let mut stops = Stops::default();
        let (first, mut told) = order("a");
        assert_eq!(stops.order(first, at(0)).unwrap().id, "a");
        let (same, mut told_too) = order("a");
        assert_eq!(stops.order(same, at(10)), None, "it is under way");
        stops.answered("a", false, "cannot write".to_owned());
        assert!(told.try_recv().is_err());
        assert_eq!(stops.tick(at(100)), []);
        assert_eq!(stops.tick(at(260)).len(), 1, "said once more");
        stops.answered("a", true, "engaged".to_owned());
        stops.answered("a", true, "already done".to_owned());
        assert_eq!(told.try_recv().unwrap(), Ok("engaged".to_owned()));
        assert_eq!(told_too.try_recv().unwrap(), Ok("engaged".to_owned()));
    }

    #[test]
    fn silence_and_refusal_are_told_in_time_and_waiting_is_bounded() {
        let at = Duration::from_millis;
        let mut stops = Stops::default();
        let (silent, mut told) = order("a");
        let (refused, mut told_too) = order("b");
        stops.order(silent, at(0));
        stops.order(refused, at(0));
        stops.answered("b", false, "cannot write".to_owned());
        stops.tick(at(1_999));
        assert!(told.try_recv().is_err());
        assert_eq!(stops.tick(at(2_000)), []);
        assert!(told.try_recv().unwrap().unwrap_err().contains("not confirmed by the rover within 2 s"));
        assert_eq!(told_too.try_recv().unwrap(), Err("cannot write".to_owned()));
        let mut kept = Vec::new();
        for n in 0..limits::STOPS_WAITING_ENTRIES {
            let (order, answered) = order(&n.to_string());
            kept.push(answered);
            assert!(stops.order(order, at(3_000)).is_some());
        }
        let (one_more, mut told) = order("more");
        assert_eq!(stops.order(one_more, at(3_000)), None);
        assert!(told.try_recv().unwrap().is_err());
    }
}
