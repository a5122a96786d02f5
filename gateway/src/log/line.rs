//! One log line: an event of `tracing` as a JSON object or as text, with the request that it belongs to.

use std::fmt;
use std::sync::{Arc, OnceLock};

use roverline_protocol::Tier;
use roverline_protocol::printable::printable;
use roverline_protocol::trace::{TARGET, TraceContext};
use serde::Serialize;
use serde_json::{Map, Value};
use tracing::dispatcher::WeakDispatch;
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::LogFormat;
use crate::log::counts::LineCounts;
use crate::log::fields::{LOG_LINE_BYTES, LineFields};
use crate::log::repeats::Summary;
use crate::trace;

/// Digits of a trace id in text; `roverline traces` finds a trace by them.
const SHOWN_CHARS: usize = 8;
/// Fields that say what a line concerns, the finest first, and the kinds of those things. The event log has the same
/// names for its streams.
const AGGREGATES: [(&str, &str); 6] = [
    ("session", "session"),
    ("resource", "lock"),
    ("queue", "queue"),
    ("robot", "robot"),
    ("topic", "topic"),
    ("tier", "endpoint"),
];

/// The dispatcher of the subscriber in which the lines are written. Within an event, the current one may be none.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnDispatch(Arc<OnceLock<WeakDispatch>>);

impl<S: Subscriber> Layer<S> for OwnDispatch {
    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        let _ = self.0.set(dispatch.downgrade());
    }
}

/// The format of a process's log lines.
#[derive(Clone)]
pub(super) struct LineFormat {
    pub(super) format: LogFormat,
    /// What a line concerns that names nothing finer.
    pub(super) process: String,
    pub(super) dispatch: OwnDispatch,
    pub(super) counts: Arc<LineCounts>,
}

/// The start of a line as text; the rest is left out.
#[derive(Default)]
struct LineStart {
    text: String,
    is_cut: bool,
}

impl fmt::Write for LineStart {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = if self.is_cut { 0 } else { LOG_LINE_BYTES - self.text.len() };
        let end = text.floor_char_boundary(room);
        self.text.push_str(&text[..end]);
        self.is_cut |= end < text.len();
        Ok(())
    }
}

/// A line as JSON, in this order.
#[derive(Serialize)]
struct JsonLine<'a> {
    timestamp: String,
    level: &'a str,
    event_type: &'a str,
    aggregate_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<String>,
    message: &'a str,
    fields: &'a Map<String, Value>,
    target: &'a str,
}

/// The name of what concerns a whole process: `endpoint/primary`, `supervisor`.
pub(super) fn process_aggregate(process: &str) -> String {
    match process.parse::<Tier>() {
        Ok(tier) => format!("endpoint/{tier}"),
        Err(_) => process.to_owned(),
    }
}

/// The time by the wall clock, as RFC 3339 has it, in microseconds.
fn timestamp() -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

impl LineFormat {
    /// The span of a trace in which an event happens.
    fn trace_context<S, N>(&self, ctx: &FmtContext<'_, S, N>) -> Option<TraceContext>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
        N: for<'a> FormatFields<'a> + 'static,
    {
        let span = ctx.event_scope()?.find(|span| span.metadata().target() == TARGET)?;
        trace::context_of_id(&span.id(), &self.dispatch.0.get()?.upgrade()?)
    }

    fn json<S, N>(&self, ctx: &FmtContext<'_, S, N>, event: &Event<'_>) -> Result<String, fmt::Error>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
        N: for<'a> FormatFields<'a> + 'static,
    {
        let mut fields = LineFields::new();
        event.record(&mut fields);
        for span in ctx.event_scope().into_iter().flatten() {
            let known = span.extensions().get::<FormattedFields<N>>().map(|known| known.fields.clone());
            if let Some(Ok(of_span)) = known.map(|known| serde_json::from_str(&known)) {
                fields.add_span(of_span);
            }
        }
        if fields.is_cut {
            self.counts.add_truncated();
        }
        let context = self.trace_context(ctx);
        self.json_line(event.metadata(), fields, context)
    }

    fn json_line(
        &self,
        metadata: &Metadata<'_>,
        mut fields: LineFields,
        context: Option<TraceContext>,
    ) -> Result<String, fmt::Error> {
        let event_type = fields.take("event_type");
        let aggregate =
            || AGGREGATES.iter().find_map(|(name, kind)| Some(format!("{kind}/{}", fields.text(name)?)));
        let derived = aggregate();
        let aggregate = fields.take("aggregate_id").or(derived);
        let trace_id = context.as_ref().map(|context| context.trace_id.to_string());
        let session = fields.text("session").map(|session| format!("session/{session}"));
        let line = JsonLine {
            timestamp: timestamp(),
            level: metadata.level().as_str(),
            event_type: event_type.as_deref().unwrap_or(metadata.target()),
            aggregate_id: aggregate.as_deref().unwrap_or(&self.process),
            correlation_id: fields.take("correlation_id").or(trace_id.clone()).or(session),
            trace_id,
            span_id: context.map(|context| context.span_id.to_string()),
            message: fields.message.as_deref().unwrap_or_default(),
            fields: &fields.fields,
            target: metadata.target(),
        };
        serde_json::to_string(&line).map_err(|_| fmt::Error)
    }

    fn text<S, N>(&self, ctx: &FmtContext<'_, S, N>, event: &Event<'_>) -> Result<String, fmt::Error>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
        N: for<'a> FormatFields<'a> + 'static,
    {
        let mut written = LineStart::default();
        Format::default().format_event(ctx, Writer::new(&mut written), event)?;
        // A text from a client must not begin a line.
        let mut line = printable(written.text.trim_end_matches('\n'));
        if written.is_cut {
            line.push('…');
            self.counts.add_truncated();
        }
        if let Some(context) = self.trace_context(ctx) {
            let id = context.trace_id.to_string();
            line += &format!(" trace={}", id.get(..SHOWN_CHARS).unwrap_or(&id));
        }
        Ok(line)
    }

    /// The line about repeated lines that were left out.
    pub(super) fn summary(&self, summary: &Summary) -> String {
        let message = summary.message();
        self.counts.add_written(summary.level);
        let line = match self.format {
            LogFormat::Text => {
                let (time, level, target) = (timestamp(), summary.level, summary.target);
                let repeated = summary.repeated;
                printable(&format!("{time} {level:>5} {target}: {message} repeated={repeated}"))
            }
            LogFormat::Json => {
                let fields = Map::from_iter([("repeated".to_owned(), summary.repeated.into())]);
                let line = JsonLine {
                    timestamp: timestamp(),
                    level: summary.level.as_str(),
                    event_type: summary.event_type.as_deref().unwrap_or(summary.target),
                    aggregate_id: &self.process,
                    correlation_id: None,
                    trace_id: None,
                    span_id: None,
                    message: &message,
                    fields: &fields,
                    target: summary.target,
                };
                // Texts and numbers always serialize.
                serde_json::to_string(&line).unwrap_or_default()
            }
        };
        line + "\n"
    }
}

impl<S, N> FormatEvent<S, N> for LineFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let line = match self.format {
            LogFormat::Text => self.text(ctx, event),
            LogFormat::Json => self.json(ctx, event),
        }?;
        let level: Level = *event.metadata().level();
        self.counts.add_written(level);
        writeln!(to, "{line}")
    }
}
