//! A trace as text: its spans as a tree, each with a bar that shows when it ran.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

use roverline_protocol::api::traces::{SpanDocument, SpanStatus, TraceDocument};

use crate::format;

/// Widest tree, columns.
const TREE_COLUMNS: usize = 48;
/// Deepest indentation, levels; deeper spans are drawn at this one.
const LEVELS: usize = 12;

/// A duration in nanoseconds with three digits: `1.24 ms`.
pub fn duration(ns: u64) -> String {
    let us = ns as f64 / 1e3;
    let (value, unit) = match us {
        us if us < 1e3 => (us, "us"),
        us if us < 1e6 => (us / 1e3, "ms"),
        us => (us / 1e6, "s"),
    };
    let digits = match value {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

/// The spans of a trace in the order of its tree, and the time that they span.
#[derive(Debug)]
pub struct Waterfall<'a> {
    /// Each with its depth.
    pub spans: Vec<(usize, &'a SpanDocument)>,
    /// When the first one began, nanoseconds since the Unix epoch.
    pub start_ns: i64,
    /// From there to the last end, nanoseconds; at least 1.
    pub whole_ns: u64,
}

impl<'a> Waterfall<'a> {
    /// That of a trace.
    pub fn of(trace: &'a TraceDocument) -> Waterfall<'a> {
        let start_ns = trace.spans.iter().map(|span| span.start_ns).min().unwrap_or(0);
        let end = trace.spans.iter().map(end).max().unwrap_or(start_ns);
        Waterfall { spans: in_tree_order(&trace.spans), start_ns, whole_ns: end.abs_diff(start_ns).max(1) }
    }

    /// When a span ran, as a bar of this many columns; one that has not ended is open at the right.
    pub fn bar(&self, span: &SpanDocument, columns: usize, mark: char, open: char) -> String {
        let column = |at: i64| {
            let offset = u64::try_from(at.saturating_sub(self.start_ns)).unwrap_or(0).min(self.whole_ns);
            (u128::from(offset) * columns as u128 / u128::from(self.whole_ns)) as usize
        };
        let from = column(span.start_ns).min(columns.saturating_sub(1));
        let to = match span.duration_ns {
            Some(_) => column(end(span)).clamp(from + 1, columns.max(from + 1)),
            None => columns,
        };
        let mark = if span.duration_ns.is_some() { mark } else { open };
        let bar: String =
            std::iter::repeat_n(' ', from).chain(std::iter::repeat_n(mark, to - from)).collect();
        format::left(&bar, columns)
    }
}

/// The lines of a trace, with bars of this many columns.
pub fn waterfall(trace: &TraceDocument, columns: usize) -> String {
    let fall = Waterfall::of(trace);
    let (spans, start, whole) = (&fall.spans, fall.start_ns, fall.whole_ns);
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "trace {}  {} UTC  {}  {} spans",
        trace.trace_id,
        format::date(start),
        duration(whole),
        trace.spans.len()
    );
    let service = spans.iter().map(|(_, span)| span.service.chars().count()).max().unwrap_or(0).min(12);
    let tree: Vec<String> = spans.iter().map(|(level, span)| label(*level, span)).collect();
    let width = tree.iter().map(|text| text.chars().count()).max().unwrap_or(0).min(TREE_COLUMNS);
    for ((_, span), text) in spans.iter().zip(&tree) {
        let took = span.duration_ns.map_or("unfinished".to_owned(), duration);
        let _ = writeln!(
            out,
            "{}  {}  {}  |{}|{}",
            format::left(&format::printable(&span.service), service),
            format::left(text, width),
            format::right(&took, 10),
            fall.bar(span, columns, '#', '?'),
            failure(span),
        );
    }
    out
}

fn end(span: &SpanDocument) -> i64 {
    span.start_ns.saturating_add_unsigned(span.duration_ns.unwrap_or(0))
}

/// The name of a span, indented by its depth.
pub fn label(level: usize, span: &SpanDocument) -> String {
    format!("{}{}", "  ".repeat(level.min(LEVELS)), format::printable(&span.name))
}

/// That a span failed, and why.
pub fn failure(span: &SpanDocument) -> String {
    if span.status != SpanStatus::Error {
        return String::new();
    }
    let status = span.attributes.get("http.response.status_code");
    let why = span.message.as_ref().or(status).map(|why| format!(": {}", format::printable(why)));
    format!(" failed{}", why.unwrap_or_default())
}

/// The spans with their depth, each behind its parent, siblings by start. A span whose parent is not there begins a
/// tree of its own, and so does the first of a circle.
fn in_tree_order(spans: &[SpanDocument]) -> Vec<(usize, &SpanDocument)> {
    let known: HashMap<&str, &SpanDocument> =
        spans.iter().map(|span| (span.span_id.as_str(), span)).collect();
    let parent =
        |span: &SpanDocument| span.parent_span_id.clone().filter(|id| known.contains_key(id.as_str()));
    let mut children: HashMap<String, Vec<&SpanDocument>> = HashMap::new();
    let mut roots = Vec::new();
    for span in spans {
        match parent(span) {
            Some(parent) => children.entry(parent).or_default().push(span),
            None => roots.push(span),
        }
    }
    let (mut ordered, mut seen) = (Vec::with_capacity(spans.len()), BTreeSet::new());
    let all: Vec<&SpanDocument> = roots.into_iter().chain(spans).collect();
    for root in all {
        let mut stack = vec![(0, root)];
        while let Some((level, span)) = stack.pop() {
            if !seen.insert(span.span_id.as_str()) {
                continue;
            }
            ordered.push((level, span));
            let mut below = children.get(&span.span_id).cloned().unwrap_or_default();
            below.sort_by_key(|child| std::cmp::Reverse(child.start_ns));
            stack.extend(below.into_iter().map(|child| (level + 1, child)));
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use roverline_protocol::api::traces::SpanKind;

    use super::*;

    fn span(id: &str, parent: Option<&str>, name: &str, start_us: i64, took_us: Option<u64>) -> SpanDocument {
        SpanDocument {
            trace_id: "0af7651916cd43dd8448eb211c80319c".to_owned(),
            span_id: id.to_owned(),
            parent_span_id: parent.map(str::to_owned),
            name: name.to_owned(),
            kind: SpanKind::Server,
            service: "primary".to_owned(),
            reported_by: None,
            start_ns: 1_795_000_000_000_000_000 + start_us * 1_000,
            duration_ns: took_us.map(|us| us * 1_000),
            status: SpanStatus::Unset,
            message: None,
            attributes: Default::default(),
        }
    }

    fn trace(spans: Vec<SpanDocument>) -> TraceDocument {
        TraceDocument { trace_id: spans[0].trace_id.clone(), spans, unreachable: Vec::new() }
    }

    #[test]
    fn a_trace_is_a_tree_with_bars() {
        let mut failed = span("d", Some("c"), "call", 5_000, Some(1_000));
        failed.status = SpanStatus::Error;
        failed.message = Some("no node\u{1b} serves it".to_owned());
        let text = waterfall(
            &trace(vec![
                span("a", Some("elsewhere"), "PUT /api/v2/kv/{key}", 0, Some(10_000)),
                span("c", Some("a"), "later", 4_000, None),
                span("b", Some("a"), "sqlite txn", 1_000, Some(2_500)),
                failed,
            ]),
            20,
        );
        insta::assert_snapshot!(text);
    }

    #[test]
    fn durations_have_three_digits() {
        for (ns, text) in [
            (0, "0.00 us"),
            (999_600, "1000 us"),
            (1_236_000, "1.24 ms"),
            (9_996_000, "10.0 ms"),
            (123_456_789, "123 ms"),
            (61_000_000_000, "61.0 s"),
        ] {
            assert_eq!(duration(ns), text, "{ns}");
        }
    }

    proptest! {
        #[test]
        fn any_trace_is_drawn(
            spans in proptest::collection::vec((0u8..6, 0u8..8, any::<i64>(), any::<Option<u64>>(), "\\PC{0,8}"), 1..12),
            columns in 0usize..30,
        ) {
            let mut known = BTreeSet::new();
            let spans: Vec<_> = spans
                .into_iter()
                .filter(|(id, ..)| known.insert(*id))
                .map(|(id, parent, start_ns, duration_ns, name)| SpanDocument {
                    start_ns,
                    duration_ns,
                    ..span(&id.to_string(), Some(&parent.to_string()), &name, 0, None)
                })
                .collect();
            let lines = waterfall(&trace(spans.clone()), columns).lines().count();
            prop_assert_eq!(lines, spans.len() + 1);
        }
    }
}
