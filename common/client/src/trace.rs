//! Traces of requests: each gets a trace context, and when it is answered the endpoint is sent its span.

use std::hash::{BuildHasher, RandomState};

use roverline_protocol::trace::{ReportedSpan, TraceContext};
use tokio::time::Instant;

use crate::offset::ClockOffset;

/// A request under way.
#[derive(Clone, Debug)]
pub(crate) struct RequestSpan {
    context: TraceContext,
    name: String,
    started: Instant,
}

/// A random number: `RandomState` is seeded by the system, and each one differs from those before.
fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

impl RequestSpan {
    /// The root of a new trace. `name` has no query: it may contain what is nobody else's business.
    pub(crate) fn start(name: String) -> RequestSpan {
        let context = TraceContext::root([random(), random(), random()]);
        RequestSpan { context, name, started: Instant::now() }
    }

    /// The `traceparent` of the request.
    pub(crate) fn traceparent(&self) -> String {
        self.context.to_string()
    }

    /// The span, when it has ended at `now_ns` by our wall clock; `clock` is the offset of the endpoint's.
    pub(crate) fn end(&self, now_ns: i64, clock: &ClockOffset, failed: bool) -> ReportedSpan {
        let duration = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let offset_ns = clock.seconds().map_or(0, |offset| (offset * 1e9) as i64);
        ReportedSpan {
            context: self.traceparent(),
            parent_span_id: None,
            name: self.name.clone(),
            start_ns: now_ns.saturating_add(offset_ns).saturating_sub_unsigned(duration),
            duration_ns: duration,
            clock_error_ns: clock.error_seconds().map(|error| (error * 1e9) as u64),
            failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_span_is_in_the_endpoints_time() {
        let mut clock = ClockOffset::default();
        // The endpoint is 3 s ahead; the round trip takes 20 ms.
        clock.record(0, 3_010_000_000, 3_010_000_000, Duration::from_millis(20));
        let span = RequestSpan::start("GET /api/v2/kv".to_owned());
        tokio::time::advance(Duration::from_millis(50)).await;
        let reported = span.end(1_000_000_000, &clock, true);
        assert_eq!((reported.start_ns, reported.duration_ns), (3_950_000_000, 50_000_000));
        assert_eq!(reported.clock_error_ns, Some(10_000_000));
        assert_eq!(reported.context, span.traceparent());
        assert!(reported.context.parse::<TraceContext>().is_ok() && reported.failed);
        let other = RequestSpan::start(String::new());
        assert_ne!(other.context.trace_id, span.context.trace_id);
    }
}
