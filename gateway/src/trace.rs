//! Traces: what a request caused in this process, as spans. They are spans of `tracing` with the target
//! [`TARGET`]; OpenTelemetry's SDK gives them ids, and a ring keeps the newest.
//!
//! Names of attributes are those of OpenTelemetry's semantic conventions.

pub mod export_queue;
pub mod otlp;
mod recorded_span;
mod recorder;
pub mod ring;
mod sample_export;
pub mod sample_ring;
mod sample_spans;
pub mod sample_trace;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider,
};
use opentelemetry::{Context, InstrumentationScope};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanLimits};
use roverline_protocol::trace::{self, TARGET, TraceContext};
use tracing::span::Id;
use tracing::{Dispatch, Metadata, Span};
use tracing_opentelemetry::{OpenTelemetrySpanExt, get_otel_context};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use crate::trace::recorder::RingRecorder;
use crate::trace::ring::SpanRing;

/// The attribute of a span whose request a client of this role made.
pub const ROLE: &str = "roverline.role";

/// The instrumentation scope of the spans.
const SCOPE: &str = "roverline";

/// Attributes of a span; more are dropped.
const SPAN_ATTRIBUTES: u32 = 16;

/// The layer that records spans of traces into `ring`.
pub fn layer<S>(ring: Arc<SpanRing>) -> impl Layer<S> + Send + Sync
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    let limits = SpanLimits {
        max_events_per_span: 0,
        max_attributes_per_span: SPAN_ATTRIBUTES,
        max_links_per_span: 0,
        max_attributes_per_event: 0,
        max_attributes_per_link: 0,
    };
    let provider = SdkTracerProvider::builder()
        .with_span_processor(RingRecorder::new(ring))
        .with_span_limits(limits)
        // A caller that does not record its trace may still want to know what happened here.
        .with_sampler(Sampler::AlwaysOn)
        .build();
    let scope = InstrumentationScope::builder(SCOPE).with_version(env!("CARGO_PKG_VERSION")).build();
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer_with_scope(scope))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_error_events_to_status(false)
        .with_filter(filter_fn(is_traced))
}

/// Whether a span belongs to a trace; events never do.
pub fn is_traced(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target() == TARGET
}

/// Makes a span that has not been entered the child of the one that a client names. What is no `traceparent` is counted
/// in `invalid`, and the trace begins here.
pub fn set_parent(span: &Span, traceparent: Option<&str>, invalid: &AtomicU64) {
    match traceparent.map(str::parse) {
        Some(Ok(parent)) => set_remote_parent(span, parent),
        Some(Err(_)) => drop(invalid.fetch_add(1, Ordering::Relaxed)),
        None => {}
    }
}

fn set_remote_parent(span: &Span, parent: TraceContext) {
    let context = SpanContext::new(
        TraceId::from_bytes(parent.trace_id.to_bytes()),
        SpanId::from_bytes(parent.span_id.to_bytes()),
        TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    );
    // It fails if traces are off.
    let _ = span.set_parent(Context::new().with_remote_span_context(context));
}

/// What a request that a span causes elsewhere carries; `None` if traces are off.
pub fn context_of(span: &Span) -> Option<TraceContext> {
    trace_context(&span.context())
}

/// The context of a span of `dispatch`, as seen by a layer within an event. It must not hold the span's extensions.
pub fn context_of_id(span: &Id, dispatch: &Dispatch) -> Option<TraceContext> {
    trace_context(&get_otel_context(span, dispatch)?)
}

fn trace_context(context: &Context) -> Option<TraceContext> {
    let span = context.span();
    let context = span.span_context();
    Some(TraceContext {
        trace_id: trace::TraceId::new(u128::from_be_bytes(context.trace_id().to_bytes()))?,
        span_id: trace::SpanId::new(u64::from_be_bytes(context.span_id().to_bytes()))?,
        sampled: context.is_sampled(),
    })
}

/// The trace of the current span; `None` outside of traces.
pub fn current_id() -> Option<trace::TraceId> {
    context_of(&Span::current()).map(|context| context.trace_id)
}

#[cfg(test)]
mod tests {
    use roverline_protocol::api::traces::{SpanKind, SpanStatus};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn recorded(work: impl FnOnce()) -> Arc<SpanRing> {
        let ring = Arc::new(SpanRing::new("primary"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer(ring.clone())), work);
        ring
    }

    #[test]
    fn a_request_and_what_it_caused_are_one_trace() {
        let parent: TraceContext = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap();
        let ring = recorded(|| {
            let request =
                tracing::error_span!(target: TARGET, "request", otel.name = "GET /a", otel.kind = "server");
            set_remote_parent(&request, parent);
            request.in_scope(|| {
                let inner = tracing::error_span!(target: TARGET, "store", db.system.name = "sqlite");
                assert_eq!(context_of(&inner).unwrap().trace_id, parent.trace_id);
                inner.in_scope(|| tracing::error!("an event is no span"));
                inner.record("otel.status_code", "ERROR");
                tracing::error_span!("of another target").in_scope(|| {});
            });
        });
        let spans = ring.trace(parent.trace_id);
        let [request, inner] = &spans[..] else { panic!("{spans:?}") };
        assert_eq!((request.name.as_str(), request.kind), ("GET /a", SpanKind::Server));
        assert_eq!(request.parent_span_id.as_deref(), Some("b7ad6b7169203331"));
        assert_eq!(inner.parent_span_id.as_deref(), Some(request.span_id.as_str()));
        assert_eq!(inner.attributes["db.system.name"], "sqlite");
        assert!(request.duration_ns >= inner.duration_ns && inner.status == SpanStatus::Unset);
        assert_eq!(ring.list(&Default::default()).kept_spans, 2);
    }

    #[test]
    fn a_span_that_has_not_ended_is_shown() {
        let ring = Arc::new(SpanRing::new("primary"));
        let subscriber = tracing_subscriber::registry().with(layer(ring.clone()));
        tracing::subscriber::with_default(subscriber, || {
            let request =
                tracing::error_span!(target: TARGET, "request", otel.status_code = tracing::field::Empty);
            let context = context_of(&request).unwrap();
            assert_eq!(ring.trace(context.trace_id)[0].duration_ns, None);
            assert!(ring.list(&Default::default()).traces[0].unfinished);
            request.record("otel.status_code", "ERROR");
            drop(request);
            let spans = ring.trace(context.trace_id);
            assert!(spans[0].duration_ns.is_some() && spans[0].status == SpanStatus::Error, "{spans:?}");
        });
    }

    #[test]
    fn without_the_layer_nothing_is_made() {
        tracing::subscriber::with_default(tracing_subscriber::registry(), || {
            let span = tracing::error_span!(target: TARGET, "request");
            assert_eq!(context_of(&span), None);
        });
    }
}
