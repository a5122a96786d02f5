//! Metrics of what clients do in the ROS graph: publications and service calls, those of actions and parameters
//! included.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use roverline_source::{
    Advertisement, Call, EmergencyStopRequest, PlaybackControl, Publication, PublishError, Service,
    SourceControl, TopicListener, UpstreamRequest,
};

use crate::endpoint::metrics::exposition::Exposition;

/// Publications and calls of the clients of one endpoint.
#[derive(Debug, Default)]
pub struct CommandCounters {
    publications: Outcomes,
    calls: Outcomes,
    /// Messages that arrived after their time to live.
    pub expired: AtomicU64,
}

/// What became of one kind of request.
#[derive(Debug, Default)]
struct Outcomes {
    sent: AtomicU64,
    refused: AtomicU64,
}

impl Outcomes {
    fn count<T, E>(&self, result: Result<T, E>) -> Result<T, E> {
        let counter = if result.is_ok() { &self.sent } else { &self.refused };
        counter.fetch_add(1, Ordering::Relaxed);
        result
    }

    fn render(&self, page: &mut Exposition, name: &str, help: &str) {
        page.family("counter", name, help);
        for (result, counter) in [("sent", &self.sent), ("refused", &self.refused)] {
            page.sample(name, &[("result", result)], counter.load(Ordering::Relaxed) as f64);
        }
    }
}

impl CommandCounters {
    /// Adds the counters to the page.
    pub(super) fn render(&self, page: &mut Exposition) {
        let what = "Messages of clients for ROS topics: sent, or refused by the source.";
        self.publications.render(page, "roverline_publications_total", what);
        let what = "Service calls of clients: sent, or refused by the source.";
        self.calls.render(page, "roverline_calls_total", what);
        let what = "Messages of clients that arrived after their time to live, and were not published.";
        let expired = self.expired.load(Ordering::Relaxed) as f64;
        page.one("counter", "roverline_publications_expired_total", what, expired);
    }
}

/// A source's control that counts what goes through it.
pub(in crate::endpoint) struct CountedControl {
    pub(in crate::endpoint) control: Arc<dyn SourceControl>,
    pub(in crate::endpoint) counters: Arc<CommandCounters>,
}

impl SourceControl for CountedControl {
    fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        self.counters.publications.count(self.control.publish(publication))
    }

    fn call(&self, call: Call) -> Result<(), PublishError> {
        self.counters.calls.count(self.control.call(call))
    }

    fn advertise(&self, advertisement: Advertisement) -> Result<(), PublishError> {
        self.control.advertise(advertisement)
    }

    fn offer(&self, service: Service) -> Result<(), PublishError> {
        self.control.offer(service)
    }

    fn withdraw(&self, name: &str) {
        self.control.withdraw(name);
    }

    fn rejoin(&self) -> bool {
        self.control.rejoin()
    }

    fn listen(&self, listen: TopicListener) -> Result<(), PublishError> {
        self.control.listen(listen)
    }

    fn control_playback(&self, control: PlaybackControl) -> Result<(), PublishError> {
        self.control.control_playback(control)
    }

    fn forward_emergency_stop(&self, request: EmergencyStopRequest) -> Result<(), PublishError> {
        self.control.forward_emergency_stop(request)
    }

    fn request_upstream(&self, request: UpstreamRequest) -> bool {
        self.control.request_upstream(request)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    struct ReadOnly;

    impl SourceControl for ReadOnly {
        fn publish(&self, publication: Publication) -> Result<(), PublishError> {
            if publication.latched { Err(PublishError::ReadOnly("bag")) } else { Ok(()) }
        }
    }

    #[test]
    fn publications_and_calls_are_counted_by_their_result() {
        let counters: Arc<CommandCounters> = Arc::default();
        let counted = CountedControl { control: Arc::new(ReadOnly), counters: counters.clone() };
        for latched in [false, false, true] {
            let (topic, type_name) = ("/a".to_owned(), "std_msgs/msg/Empty".to_owned());
            let _ = counted.publish(Publication { topic, type_name, payload: Bytes::new(), latched });
        }
        let mut page = Exposition::default();
        counters.render(&mut page);
        let text = page.finish();
        for line in ["publications_total{result=\"sent\"} 2", "publications_total{result=\"refused\"} 1"] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(text.contains("calls_total{result=\"refused\"} 0"), "{text}");
    }
}
