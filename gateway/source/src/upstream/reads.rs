//! Reads of the rover's HTTP API over the relay's link.

use std::collections::HashMap;

use roverline_client::Link;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::UpstreamRead;

/// Reads that wait for their responses; those whose reader has given up make room.
pub(super) const PENDING_READS: usize = 16;

/// Reads without a response, by the number of their request.
#[derive(Debug, Default)]
pub(super) struct PendingReads(HashMap<u64, oneshot::Sender<(u16, Value)>>);

impl PendingReads {
    /// Sends a read; drops it if too many wait.
    pub(super) fn begin(&mut self, link: &Link, read: UpstreamRead) {
        self.0.retain(|_, answer| !answer.is_closed());
        if self.0.len() < PENDING_READS {
            self.0.insert(link.request("GET", &read.path, None), read.answer);
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

    #[tokio::test]
    async fn reads_are_bounded_and_those_given_up_make_room() {
        let config = Config { endpoints: vec!["ws://127.0.0.1:1".to_owned()], ..Config::local() };
        let (link, _events) = Link::open(config);
        let mut reads = PendingReads::default();
        let mut waiting = Vec::new();
        for _ in 0..PENDING_READS + 5 {
            let (answer, receiver) = oneshot::channel();
            reads.begin(&link, UpstreamRead { path: "/api/v2/traces".to_owned(), answer });
            waiting.push(receiver);
        }
        assert_eq!(reads.0.len(), PENDING_READS);
        let id = *reads.0.keys().min().unwrap();
        reads.on_response(id, 200, Value::Null);
        assert_eq!(waiting[0].try_recv().unwrap().0, 200);
        reads.on_response(id, 200, Value::Null);
        drop(waiting);
        let (answer, _receiver) = oneshot::channel();
        reads.begin(&link, UpstreamRead { path: "/api/v2/traces".to_owned(), answer });
        assert_eq!(reads.0.len(), 1);
    }
}
