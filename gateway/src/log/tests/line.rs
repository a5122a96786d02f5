//! Tests of the format of log lines.

use std::io::Write;
use std::sync::Arc;

use parking_lot::Mutex;
use roverline_protocol::trace::{TARGET, TraceContext};
use serde_json::Value;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry};

use crate::config::LogFormat;
use crate::log::fields::LOG_LINE_BYTES;
use crate::log::line::{LineFormat, OwnDispatch, process_aggregate};
use crate::log::{LineCounts, PrintableLines};
use crate::trace;
use crate::trace::ring::SpanRing;

/// What was written, as a writer.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The lines that `work` writes, as the file has them.
fn lines(format: LogFormat, work: impl FnOnce()) -> (Vec<String>, Arc<LineCounts>) {
    let (written, counts, dispatch) =
        (Written::default(), Arc::<LineCounts>::default(), OwnDispatch::default());
    let process = process_aggregate("primary");
    let line = LineFormat { format, process, dispatch: dispatch.clone(), counts: counts.clone() };
    let target = written.clone();
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(move || PrintableLines { target: target.clone(), format });
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => layer.event_format(line).boxed(),
        LogFormat::Json => layer.event_format(line).fmt_fields(JsonFields::new()).boxed(),
    };
    let traces = trace::layer(Arc::new(SpanRing::new("primary")));
    tracing::subscriber::with_default(
        tracing_subscriber::registry().with(layer).with(traces).with(dispatch),
        work,
    );
    let text = String::from_utf8(written.0.lock().clone()).unwrap();
    (text.lines().map(str::to_owned).collect(), counts)
}

fn json(work: impl FnOnce()) -> Value {
    let (lines, _) = lines(LogFormat::Json, work);
    assert_eq!(lines.len(), 1, "{lines:?}");
    serde_json::from_str(&lines[0]).unwrap_or_else(|error| panic!("{error}: {}", lines[0]))
}

fn in_request(work: impl FnOnce()) -> TraceContext {
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let span = tracing::error_span!(target: TARGET, parent: None, "request", http.route = "/locks", tier = "tertiary");
    trace::set_parent(&span, Some(parent), &Default::default());
    span.in_scope(work);
    trace::context_of(&span).unwrap()
}

#[test]
fn a_line_has_all_members() {
    let line = json(|| {
        let session = tracing::info_span!("session", session = 7, dialect = "native", peer = "outer");
        session.in_scope(|| {
            tracing::info!(
                event_type = "session.degraded",
                peer = "inner",
                ratio = 0.5,
                nan = f64::NAN,
                is_slow = true,
                missing = None::<u32>,
                "the link is slow"
            );
        });
    });
    let members: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
    let expected =
        ["aggregate_id", "correlation_id", "event_type", "fields", "level", "message", "target", "timestamp"];
    assert_eq!(members, expected, "no trace outside of a request: {line}");
    let time = line["timestamp"].as_str().unwrap();
    time::OffsetDateTime::parse(time, &time::format_description::well_known::Rfc3339).unwrap();
    assert!(time.ends_with('Z') && time.len() == "2026-11-30T15:58:28.000001Z".len(), "{time}");
    assert_eq!((&line["level"], &line["event_type"]), (&"INFO".into(), &"session.degraded".into()));
    assert_eq!((&line["aggregate_id"], &line["correlation_id"]), (&"session/7".into(), &"session/7".into()));
    assert_eq!(line["message"], "the link is slow");
    assert_eq!(line["target"], "roverline_gateway::log::tests::line");
    let fields = serde_json::json!({
        "session": 7, "dialect": "native", "peer": "inner", "ratio": 0.5, "nan": "NaN", "is_slow": true,
    });
    assert_eq!(line["fields"], fields);
}

#[test]
fn a_line_that_names_nothing_concerns_its_process() {
    let line = json(|| tracing::warn!(attempt = 3u64, "no disk"));
    assert_eq!(line["event_type"], "roverline_gateway::log::tests::line", "the module");
    assert_eq!(line["aggregate_id"], "endpoint/primary");
    assert_eq!(line.get("correlation_id"), None);
    assert_eq!(process_aggregate("supervisor"), "supervisor");
    let line =
        json(|| tracing::warn!(aggregate_id = "lock/arm", resource = "leg", correlation_id = "c", "taken"));
    assert_eq!((&line["aggregate_id"], &line["correlation_id"]), (&"lock/arm".into(), &"c".into()));
    assert_eq!(line["fields"], serde_json::json!({"resource": "leg"}));
    assert_eq!(json(|| tracing::warn!(resource = "arm", tier = "x", ""))["aggregate_id"], "lock/arm");
}

#[test]
fn a_line_within_a_request_has_its_trace() {
    let mut spans = Vec::new();
    let line = json(|| {
        spans.push(in_request(|| {
            // Not part of the trace.
            tracing::info_span!("inner").in_scope(|| tracing::info!("taken"));
        }));
    });
    assert_eq!(line["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(line["span_id"], spans[0].span_id.to_string(), "of the request, not of its client");
    assert_eq!(line["correlation_id"], line["trace_id"]);
    assert_eq!(line["aggregate_id"], "endpoint/tertiary", "from the span's fields");
    let (text, _) = lines(LogFormat::Text, || {
        in_request(|| tracing::info!(n = 1, "taken"));
    });
    assert!(text[0].ends_with(": taken n=1 trace=0af76519"), "{text:?}");
}

#[test]
fn names_of_clients_make_no_lines_and_steer_no_terminal() {
    let evil = "ann\n{\"level\":\"ERROR\"}\r\u{1b}[2J\u{202e}\u{9b}31m\u{7f}\"\\";
    let log = || tracing::info!(client = evil, debug = ?evil, "hello {evil}");
    let (json, _) = lines(LogFormat::Json, log);
    assert_eq!(json.len(), 1);
    assert!(!json[0].chars().any(roverline_protocol::printable::is_unprintable), "{json:?}");
    let line: Value = serde_json::from_str(&json[0]).unwrap();
    assert_eq!(
        (&line["fields"]["client"], &line["message"]),
        (&evil.into(), &format!("hello {evil}").into())
    );
    let (text, _) = lines(LogFormat::Text, log);
    assert_eq!(text.len(), 1);
    assert!(!text[0].chars().any(roverline_protocol::printable::is_unprintable), "{text:?}");
}

#[test]
fn a_line_is_bounded() {
    for text in ["x".repeat(1 << 20), "\u{1b}".repeat(1 << 20), "日\"".repeat(300_000)] {
        for format in [LogFormat::Text, LogFormat::Json] {
            let (lines, counts) = lines(format, || {
                tracing::info_span!("outer", span = text).in_scope(|| {
                    tracing::info!(a = text, b = %text, c = ?text, d = text, e = text, f = text, g = 1, "{text}");
                });
            });
            assert_eq!(lines.len(), 1);
            assert!(lines[0].len() <= LOG_LINE_BYTES + 64, "{} bytes", lines[0].len());
            assert!(lines[0].contains('…'));
            assert_eq!(counts.truncated(), 1);
            if format == LogFormat::Json {
                let line: Value = serde_json::from_str(&lines[0]).unwrap();
                assert!(line["message"].as_str().unwrap().ends_with('…') && line["aggregate_id"].is_string());
            }
        }
    }
}

#[test]
fn what_is_written_is_counted() {
    let (_, counts) = lines(LogFormat::Json, || {
        tracing::info!("one");
        tracing::info!("two");
        tracing::error!("three");
    });
    let counted: Vec<u64> = counts.written().map(|(_, count)| count).collect();
    assert_eq!(counted, [1, 0, 2, 0, 0]);
    assert_eq!(counts.truncated(), 0);
}
