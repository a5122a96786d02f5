//! Traces of requests and of switches of endpoints: each gets a trace context, and when it is over the endpoint is sent
//! its spans.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use roverline_protocol::trace::{ReportedSpan, SpanId, TraceContext};
use tokio::time::Instant;

use crate::offset::ClockOffset;

/// A request under way.
#[derive(Clone, Debug)]
pub(crate) struct RequestSpan {
    context: TraceContext,
    parent: Option<SpanId>,
    name: String,
    started: Instant,
}

/// A random number: `RandomState` is seeded by the system, and each one differs from those before.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

impl RequestSpan {
    /// The root of a new trace. `name` has no query: it may contain what is nobody else's business.
    pub(crate) fn start(name: String) -> RequestSpan {
        RequestSpan::start_in(None, name)
    }

    /// A child of the span with this `traceparent`; the root of a new trace if there is none, or if it is malformed.
    pub(crate) fn start_in(traceparent: Option<&str>, name: String) -> RequestSpan {
        let caller = traceparent.and_then(|text| text.parse::<TraceContext>().ok());
        let root = || TraceContext::root([random(), random(), random()]);
        let context = caller.map_or_else(root, |caller| caller.child(random()));
        let parent = caller.map(|caller| caller.span_id);
        RequestSpan { context, parent, name, started: Instant::now() }
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
            parent_span_id: self.parent.map(|parent| parent.to_string()),
            name: self.name.clone(),
            start_ns: now_ns.saturating_add(offset_ns).saturating_sub_unsigned(duration),
            duration_ns: duration,
            clock_error_ns: clock.error_seconds().map(|error| (error * 1e9) as u64),
            failed,
        }
    }
}

/// A switch of endpoints: from the loss of the last one until the next one delivers. Times are those of the manager.
#[derive(Clone, Debug)]
pub(crate) struct SwitchTrace {
    whole: TraceContext,
    resume: TraceContext,
    began: Duration,
    chosen: Option<Duration>,
}

impl SwitchTrace {
    /// The root of a new trace; the last endpoint was lost at `began`.
    pub(crate) fn start(began: Duration) -> SwitchTrace {
        let whole = TraceContext::root([random(), random(), random()]);
        let resume = whole.child(random());
        SwitchTrace { whole, resume, began, chosen: None }
    }

    /// The next endpoint was chosen at `now`; a later choice replaces one that failed.
    pub(crate) fn chosen(&mut self, now: Duration) {
        self.chosen = Some(now);
    }

    /// The `traceparent` of what is asked of the next endpoint.
    pub(crate) fn traceparent(&self) -> String {
        self.resume.to_string()
    }

    /// The id of the trace.
    pub(crate) fn trace_id(&self) -> String {
        self.whole.trace_id.to_string()
    }

    /// The spans, when the next endpoint delivers at `now`, which is `now_ns` by our wall clock: of the whole switch,
    /// until the choice, and from there.
    pub(crate) fn spans(
        &self,
        cause: &str,
        now: Duration,
        now_ns: i64,
        clock: &ClockOffset,
    ) -> Vec<ReportedSpan> {
        let offset_ns = clock.seconds().map_or(0, |offset| (offset * 1e9) as i64);
        let ns = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let span = |context: &TraceContext, name: &str, from: Duration, to: Duration| ReportedSpan {
            context: context.to_string(),
            parent_span_id: (*context != self.whole).then(|| self.whole.span_id.to_string()),
            name: name.to_owned(),
            start_ns: now_ns.saturating_add(offset_ns).saturating_sub_unsigned(ns(now.saturating_sub(from))),
            duration_ns: ns(to.saturating_sub(from)),
            clock_error_ns: clock.error_seconds().map(|error| (error * 1e9) as u64),
            failed: false,
        };
        let chosen = self.chosen.unwrap_or(now);
        let mut spans = vec![span(&self.whole, &format!("failover ({cause})"), self.began, now)];
        if chosen > self.began {
            spans.push(span(&self.whole.child(random()), "choose an endpoint", self.began, chosen));
        }
        spans.push(span(&self.resume, "resume", chosen, now));
        spans
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_has_a_span_for_each_step() {
        let at = Duration::from_millis;
        let mut trace = SwitchTrace::start(at(1_000));
        trace.chosen(at(1_700));
        let spans = trace.spans("silent", at(1_710), 5_000_000_000, &ClockOffset::default());
        let names: Vec<_> = spans
            .iter()
            .map(|s| (s.name.as_str(), s.start_ns / 1_000_000, s.duration_ns / 1_000_000))
            .collect();
        assert_eq!(
            names,
            [("failover (silent)", 4_290, 710), ("choose an endpoint", 4_290, 700), ("resume", 4_990, 10)]
        );
        assert_eq!(spans[2].context, trace.traceparent());
        let root: TraceContext = spans[0].context.parse().unwrap();
        assert_eq!(spans[2].parent_span_id, Some(root.span_id.to_string()));
        assert!(spans[0].parent_span_id.is_none() && spans[1].parent_span_id == spans[2].parent_span_id);
    }

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
