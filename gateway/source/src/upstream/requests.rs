//! Requests to the rover's HTTP API over the relay's link.

use std::collections::HashMap;

use roverline_client::Link;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::UpstreamRequest;

/// Requests that wait for their responses; those whose caller has given up make room.
pub(super) const PENDING_REQUESTS: usize = 64;

/// Requests without a response, by their number.
#[derive(Debug, Default)]
pub(super) struct PendingRequests(HashMap<u64, oneshot::Sender<(u16, Value)>>);

impl PendingRequests {
    /// Sends a request; drops it if too many wait.
    pub(super) fn begin(&mut self, link: &Link, request: UpstreamRequest) {
        self.0.retain(|_, answer| !answer.is_closed());
        // One whose caller has given up before it was sent is not sent any more.
        if self.0.len() < PENDING_REQUESTS && !request.answer.is_closed() {
            let UpstreamRequest { method, path, body, traceparent, answer } = request;
            self.0.insert(link.request_in(method, &path, body, traceparent.as_deref()), answer);
        }
    }

    /// Passes a response on; one that nobody waits for is ignored.
    pub(super) fn on_response(&mut self, id: u64, status: u16, body: Value) {
        if let Some(answer) = self.0.remove(&id) {
            let _ = answer.send((status, body));
        }
    }
}

#[cfg(test)]
mod tests {
    use roverline_client::Config;

    use super::*;

    fn request(answer: oneshot::Sender<(u16, Value)>) -> UpstreamRequest {
        let (body, traceparent) = (None, None);
        UpstreamRequest { method: "GET", path: "/api/v2/traces".to_owned(), body, traceparent, answer }
    }

    #[tokio::test]
    async fn requests_are_bounded_and_those_given_up_make_room() {
        let config = Config { endpoints: vec!["ws://127.0.0.1:1".to_owned()], ..Config::local() };
        let (link, _events) = Link::open(config);
        let mut requests = PendingRequests::default();
        let mut waiting = Vec::new();
        for _ in 0..PENDING_REQUESTS + 5 {
            let (answer, receiver) = oneshot::channel();
            requests.begin(&link, request(answer));
            waiting.push(receiver);
        }
        assert_eq!(requests.0.len(), PENDING_REQUESTS);
        let id = *requests.0.keys().min().unwrap();
        requests.on_response(id, 200, Value::Null);
        assert_eq!(waiting[0].try_recv().unwrap().0, 200);
        requests.on_response(id, 200, Value::Null);
        drop(waiting);
        let (answer, _receiver) = oneshot::channel();
        requests.begin(&link, request(answer));
        assert_eq!(requests.0.len(), 1);
    }
}
