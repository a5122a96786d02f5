//! JSON documents of `/api/v2/traces`: requests and what they caused, as spans.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Tier;

/// The role of a span in its request; the words of OpenTelemetry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SpanKind {
    /// Work within a process.
    #[default]
    Internal,
    /// A request that is answered.
    Server,
    /// A request that is sent to another process.
    Client,
    /// A message that is sent and not answered.
    Producer,
    /// A message that is received and not answered.
    Consumer,
}

/// How a span ended; the words of OpenTelemetry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SpanStatus {
    /// Nothing is known of a failure.
    #[default]
    Unset,
    /// It succeeded.
    Ok,
    /// It failed.
    Error,
}

/// One step of a trace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SpanDocument {
    /// Trace it belongs to, 32 hexadecimal digits.
    pub trace_id: String,
    /// Its id, 16 hexadecimal digits.
    pub span_id: String,
    /// The span that caused it; null at the root.
    pub parent_span_id: Option<String>,
    /// What was done: `PUT /api/v2/kv/{key}`.
    pub name: String,
    /// Its role in the request.
    pub kind: SpanKind,
    /// The process that did it: the name of an endpoint's tier, `relay`, or `client`.
    pub service: String,
    /// Identity of the client that reports the span, which nobody verifies; null for what an endpoint did.
    pub reported_by: Option<String>,
    /// When it began, by that process's clock, nanoseconds since the Unix epoch.
    pub start_ns: i64,
    /// How long it took, by a monotonic clock, nanoseconds; null if it has not ended, or its process ended before it.
    pub duration_ns: Option<u64>,
    /// How it ended.
    pub status: SpanStatus,
    /// The failure, if there was one.
    pub message: Option<String>,
    /// Attributes, named by OpenTelemetry's semantic conventions.
    pub attributes: BTreeMap<String, String>,
}

/// A trace in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TraceSummary {
    /// Its id, 32 hexadecimal digits.
    pub trace_id: String,
    /// Name of its first span.
    pub name: String,
    /// The process of that span.
    pub service: String,
    /// When that span began, nanoseconds since the Unix epoch.
    pub start_ns: i64,
    /// From there to the last end of a span, nanoseconds.
    pub duration_ns: u64,
    /// Number of spans.
    pub spans: usize,
    /// Whether one of them failed.
    pub error: bool,
    /// Whether one of them has not ended.
    pub unfinished: bool,
    /// Whether observers alone caused or reported all of it. Such traces give way to others in a list.
    pub observers_only: bool,
}

/// The newest traces, the newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TraceList {
    /// The traces.
    pub traces: Vec<TraceSummary>,
    /// Number of traces that match, including those that do not fit; a trace of several endpoints may count more than
    /// once.
    pub total: usize,
    /// Ended spans that are kept.
    pub kept_spans: usize,
    /// Spans that gave way to newer ones.
    pub evicted_spans: u64,
    /// Endpoints that did not answer, so that traces of theirs are missing.
    pub unreachable: Vec<Tier>,
}

/// A trace, from all endpoints that could be reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TraceDocument {
    /// Its id, 32 hexadecimal digits.
    pub trace_id: String,
    /// Its spans, by start.
    pub spans: Vec<SpanDocument>,
    /// Endpoints that did not answer, so that spans of theirs are missing.
    pub unreachable: Vec<Tier>,
}

/// A stage on a sample's way from its publisher to a client's screen, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SampleStage {
    /// From the publisher's stamp until the source received it; by the publisher's clock.
    Publish,
    /// From there until it was queued for the endpoint's fan-out.
    Source,
    /// In that queue.
    Ingress,
    /// Stored and matched with subscriptions.
    Hub,
    /// Written in the dialect of a session.
    Encode,
    /// In the session's outbox.
    Outbox,
    /// Until the socket had taken it.
    Socket,
    /// From there until the client received it; by the session's estimate of the clocks' offset.
    Network,
    /// Until the client had decoded it.
    Decode,
    /// Until it was on the client's screen.
    Draw,
}

impl SampleStage {
    /// All stages, in order.
    pub const ALL: [SampleStage; 10] = [
        SampleStage::Publish,
        SampleStage::Source,
        SampleStage::Ingress,
        SampleStage::Hub,
        SampleStage::Encode,
        SampleStage::Outbox,
        SampleStage::Socket,
        SampleStage::Network,
        SampleStage::Decode,
        SampleStage::Draw,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            SampleStage::Publish => "publish",
            SampleStage::Source => "source",
            SampleStage::Ingress => "ingress",
            SampleStage::Hub => "hub",
            SampleStage::Encode => "encode",
            SampleStage::Outbox => "outbox",
            SampleStage::Socket => "socket",
            SampleStage::Network => "network",
            SampleStage::Decode => "decode",
            SampleStage::Draw => "draw",
        }
    }
}

/// Durations of some traced samples, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StageTimes {
    /// Number of durations.
    pub count: usize,
    /// Their median.
    pub median_ns: u64,
    /// Their 99th percentile.
    pub p99_ns: u64,
    /// The longest one.
    pub max_ns: u64,
}

/// A stage with its durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StageDocument {
    /// The stage.
    pub stage: SampleStage,
    /// Its durations.
    #[serde(flatten)]
    pub times: StageTimes,
}

/// Where the time of a topic's samples goes at one endpoint, of those that it traced and still keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TopicStages {
    /// The topic.
    pub topic: String,
    /// The process: the name of an endpoint's tier, or `relay`.
    pub service: String,
    /// Number of traced samples.
    pub samples: usize,
    /// The stages that have durations, in order. Those from `encode` on have one for each traced session.
    pub stages: Vec<StageDocument>,
    /// From the publisher's stamp (or, without one that can be used, from the source) until the last stage that is
    /// known; measured as a whole, once for each traced session.
    pub end_to_end: Option<StageTimes>,
    /// The largest error of the clocks' offsets in `network`, nanoseconds; null if no client has reported.
    pub clock_error_ns: Option<u64>,
    /// The trace of the newest sample.
    pub newest_trace_id: String,
    /// The trace of the slowest one.
    pub slowest_trace_id: String,
}

/// Where the time of samples goes, by topic and endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TopicStagesList {
    /// By topic.
    pub topics: Vec<TopicStages>,
    /// Traced samples that gave way to newer ones, at all endpoints.
    pub evicted_samples: u64,
    /// Endpoints that did not answer.
    pub unreachable: Vec<Tier>,
}
