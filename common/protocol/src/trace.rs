//! W3C Trace Context: the identifiers of a trace and of a span, and the header field `traceparent` that passes them
//! on (<https://www.w3.org/TR/trace-context/>).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Guid, SampleId};

/// The target of `tracing` spans that belong to traces; others are context of log lines only.
pub const TARGET: &str = "roverline::trace";

/// Characters of a `traceparent` of version 00.
const V00_CHARS: usize = 55;
/// The flag that asks to record the trace.
const SAMPLED: u8 = 0x01;

/// The id of a trace: 16 bytes, written as 32 hexadecimal digits; not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(u128);

/// The id of a span: 8 bytes, written as 16 hexadecimal digits; not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(u64);

/// The text is no id or no `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceContextError {
    /// Not as many lower-case hexadecimal digits as the id has.
    #[error("a trace id has 32 lower-case hexadecimal digits, a span id 16")]
    Digits,
    /// All digits are zero.
    #[error("the id is zero")]
    Zero,
    /// The fields are not those of a `traceparent`.
    #[error("a traceparent looks like 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
    Fields,
}

impl TraceId {
    /// The id with this value; `None` for zero.
    pub fn new(value: u128) -> Option<TraceId> {
        (value != 0).then_some(TraceId(value))
    }

    /// The trace of a sample's way. Every process derives it alike, because all know the sample by the same identity.
    pub fn of_sample(sample: SampleId) -> TraceId {
        let source = u128::from_be_bytes(sample.source.0);
        let high = mixed((source >> 64) as u64 ^ mixed(sample.seq));
        let low = mixed(source as u64 ^ mixed(high));
        TraceId((u128::from(high) << 64 | u128::from(low)).max(1))
    }

    /// The id's bytes, the most significant first.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl SpanId {
    /// The id with this value; `None` for zero.
    pub fn new(value: u64) -> Option<SpanId> {
        (value != 0).then_some(SpanId(value))
    }

    /// The id of a part of a trace, for spans that several readers derive alike: `part` differs for each of them.
    pub fn of_part(trace: TraceId, part: u64) -> SpanId {
        let folded = (trace.0 >> 64) as u64 ^ (trace.0 as u64).rotate_left(32);
        SpanId(mixed(folded ^ mixed(part)).max(1))
    }

    /// The id's bytes, the most significant first.
    pub fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

/// A number whose bits all depend on all bits of `value` (the finalizer of SplitMix64, Steele et al. 2014).
fn mixed(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The digits as a number.
fn digits(text: &str, count: usize) -> Result<u128, TraceContextError> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != count || !text.bytes().all(is_digit) {
        return Err(TraceContextError::Digits);
    }
    u128::from_str_radix(text, 16).map_err(|_| TraceContextError::Digits)
}

impl FromStr for TraceId {
    type Err = TraceContextError;

    fn from_str(text: &str) -> Result<TraceId, TraceContextError> {
        TraceId::new(digits(text, 32)?).ok_or(TraceContextError::Zero)
    }
}

impl FromStr for SpanId {
    type Err = TraceContextError;

    fn from_str(text: &str) -> Result<SpanId, TraceContextError> {
        SpanId::new(digits(text, 16)? as u64).ok_or(TraceContextError::Zero)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What a request carries of its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The span that caused the request.
    pub span_id: SpanId,
    /// Whether the caller records the trace.
    pub sampled: bool,
}

impl FromStr for TraceContext {
    type Err = TraceContextError;

    /// Parses a `traceparent`. A later version may have more behind the flags, version 00 may not.
    fn from_str(text: &str) -> Result<TraceContext, TraceContextError> {
        let mut fields = text.splitn(4, '-');
        let mut next = || fields.next().ok_or(TraceContextError::Fields);
        let (version, trace_id, span_id, flags) = (next()?, next()?, next()?, next()?);
        let is_first = version == "00";
        if digits(version, 2)? == 0xff || (is_first && text.len() != V00_CHARS) {
            return Err(TraceContextError::Fields);
        }
        let flags = flags.split('-').next().unwrap_or_default();
        Ok(TraceContext {
            trace_id: trace_id.parse()?,
            span_id: span_id.parse()?,
            sampled: digits(flags, 2)? as u8 & SAMPLED != 0,
        })
    }
}

impl TraceContext {
    /// The root of a new trace, from random numbers.
    pub fn root(random: [u64; 3]) -> TraceContext {
        let [high, low, span] = random;
        TraceContext {
            trace_id: TraceId((u128::from(high) << 64 | u128::from(low)).max(1)),
            span_id: SpanId(span.max(1)),
            sampled: true,
        }
    }

    /// A span in the same trace, from a random number.
    pub fn child(self, random: u64) -> TraceContext {
        TraceContext { span_id: SpanId(random.max(1)), ..self }
    }
}

/// The `traceparent`, version 00.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TraceContext { trace_id, span_id, sampled } = self;
        write!(f, "00-{trace_id}-{span_id}-{:02x}", u8::from(*sampled) * SAMPLED)
    }
}

/// A span that a client reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedSpan {
    /// Trace and span, as the `traceparent` of its request has them.
    pub context: String,
    /// The span that caused it, 16 hexadecimal digits; absent at the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_span_id: Option<String>,
    /// What was done, at most [`limits::REPORTED_SPAN_CHARS`](crate::limits::REPORTED_SPAN_CHARS).
    pub name: String,
    /// When it began, by the endpoint's clock, nanoseconds since the Unix epoch.
    pub start_ns: i64,
    /// How long it took, by a monotonic clock, nanoseconds.
    pub duration_ns: u64,
    /// How far `start_ns` may be off, nanoseconds: half the round trip from which the clocks' offset was estimated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_error_ns: Option<u64>,
    /// Whether it failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
}

/// When a traced sample arrived at a client, and how long the client took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleTimes {
    /// The sample's writer.
    pub source: Guid,
    /// Its sequence number.
    pub seq: u64,
    /// When it arrived, by the endpoint's clock, nanoseconds since the Unix epoch.
    pub received_ns: i64,
    /// How far `received_ns` may be off, nanoseconds: half the round trip from which the clocks' offset was estimated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_error_ns: Option<u64>,
    /// From its arrival until it was decoded, nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoded_ns: Option<u64>,
    /// From then until it was on the screen, nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drawn_ns: Option<u64>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn the_examples_of_the_recommendation_are_read() {
        let context: TraceContext = EXAMPLE.parse().unwrap();
        assert_eq!(context.trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(context.span_id.to_string(), "b7ad6b7169203331");
        assert!(context.sampled);
        assert_eq!(context.to_string(), EXAMPLE);
        let later = "cc-12345678901234567890123456789012-1234567890123456-00-what-the-future-brings";
        assert!(!later.parse::<TraceContext>().unwrap().sampled);
        // Unknown flags are left out.
        assert_eq!(
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff"
                .parse::<TraceContext>()
                .unwrap()
                .to_string(),
            EXAMPLE
        );
    }

    #[test]
    fn what_is_no_context_is_refused() {
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x",
        ] {
            assert!(bad.parse::<TraceContext>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_sample_has_one_trace_everywhere() {
        let sample = |source, seq| SampleId { source: Guid([source; 16]), seq };
        // Endpoints of different versions agree on it, so it never changes.
        assert_eq!(TraceId::of_sample(sample(1, 7)).to_string(), "a21723de86f3801b7942411278937ebe");
        let ids: std::collections::HashSet<_> =
            (0..100).flat_map(|seq| (0..10).map(move |s| TraceId::of_sample(sample(s, seq)))).collect();
        assert_eq!(ids.len(), 1_000);
        let trace = TraceId::of_sample(sample(0, 0));
        let parts: std::collections::HashSet<_> =
            (0..1_000).map(|part| SpanId::of_part(trace, part)).collect();
        assert_eq!(parts.len(), 1_000);
    }

    proptest! {
        #[test]
        fn a_context_survives_its_text(trace in 1u128.., span in 1u64.., sampled: bool) {
            let context = TraceContext {
                trace_id: TraceId::new(trace).unwrap(),
                span_id: SpanId::new(span).unwrap(),
                sampled,
            };
            prop_assert_eq!(context.to_string().parse::<TraceContext>().unwrap(), context);
            prop_assert_eq!(TraceId(u128::from_be_bytes(context.trace_id.to_bytes())), context.trace_id);
        }

        #[test]
        fn any_text_is_judged(text in "[0-9a-fA-F-]{0,70}|\\PC{0,60}") {
            if let Ok(context) = text.parse::<TraceContext>() {
                prop_assert_eq!(&text[3..35], context.trace_id.to_string());
            }
        }
    }
}
