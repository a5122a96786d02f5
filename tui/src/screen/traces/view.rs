//! The list of traces, the ways of samples, or one trace as a tree with bars.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use roverline_protocol::api::traces::{SpanStatus, StageTimes, TopicStages, TraceDocument, TraceSummary};

use crate::format;
use crate::model::{Document, Model};
use crate::screen::traces::model::Listed;
use crate::theme::Theme;
use crate::waterfall::{self, Waterfall, duration};
use crate::widget::{Align, Cell, Column, below, heading, line, put, put_right, table, window};

/// From this width on, a trace has bars beside its tree.
const BARS: u16 = 56;
/// Lines of a topic's stages, below the list.
const STAGE_LINES: u16 = 13;

const fn left(title: &'static str, width: u16) -> Column {
    Column { title, width, align: Align::Left }
}

const fn right(title: &'static str, width: u16) -> Column {
    Column { title, width, align: Align::Right }
}

pub(super) fn draw(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let state = &model.screens.traces;
    if let Some(id) = &state.open {
        trace(model, id, theme, area, buf);
        return;
    }
    let title = match state.listed {
        Listed::Newest => format!("TRACES {}  newest first", state.traces().len()),
        Listed::Slowest => format!("TRACES {}  slowest of the newest first", state.traces().len()),
        Listed::Topics => format!("SAMPLES BY TOPIC {}  slowest first", state.stages().len()),
    };
    let only = if state.only_errors && state.listed != Listed::Topics { "  only failed" } else { "" };
    heading(buf, area, &format!("{title}{only}"), theme.strong, theme.faint);
    let (is_empty, doubt) = match state.listed {
        Listed::Topics => (state.stages().is_empty(), doubt(model, &state.topics)),
        _ => (state.traces().is_empty(), doubt(model, &state.list)),
    };
    if let Some(doubt) = doubt {
        put_right(buf, area.right(), area.y, area.width / 2, &format!(" {doubt}"), theme.caution);
    }
    let body = below(area, 1);
    if is_empty {
        put(buf, body.x, body.y, body.width, "none", theme.faint);
        return;
    }
    match state.listed {
        Listed::Topics => stages(model, theme, body, buf),
        _ => traces(model, theme, body, buf),
    }
}

fn doubt<T>(model: &Model, document: &Document<T>) -> Option<String> {
    match &document.fault {
        Some((since, why)) => Some(format!("▲ for {}: {why}", format::age(model.now.since(*since)))),
        None if document.value.is_none() => Some("not received yet".to_owned()),
        None => None,
    }
}

fn traces(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let state = &model.screens.traces;
    let traces = state.traces();
    let columns = match area.width {
        BARS.. => {
            vec![left("BEGAN", 8), right("TOOK", 9), right("SPANS", 5), left("BY", 10), left("NAME", 0)]
        }
        _ => vec![right("TOOK", 9), left("NAME", 0)],
    };
    let first = window(state.cursor, traces.len(), usize::from(area.height.saturating_sub(1)));
    let rows = traces.iter().enumerate().skip(first).map(|(index, trace)| {
        let whole = (index == state.cursor).then_some(theme.selected);
        (trace_cells(trace, theme, area.width, whole), whole)
    });
    table(buf, area, &columns, theme.dim, rows);
}

fn trace_cells(trace: &TraceSummary, theme: &Theme, width: u16, whole: Option<Style>) -> Vec<Cell> {
    let on = |style: Style| whole.unwrap_or(style);
    let mut name = format::printable(&trace.name);
    if trace.unfinished {
        name += "  (unfinished)";
    }
    let style = if trace.error { theme.alarm } else { theme.screen };
    let name = if trace.error { format!("✗ {name}") } else { name };
    let took = (duration(trace.duration_ns), on(theme.screen));
    if width < BARS {
        return vec![took, (name, on(style))];
    }
    vec![
        (format::clock(trace.start_ns), on(theme.dim)),
        took,
        (trace.spans.to_string(), on(theme.dim)),
        (format::printable(&trace.service), on(theme.dim)),
        (name, on(style)),
    ]
}

fn stages(model: &Model, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let state = &model.screens.traces;
    let topics = state.stages();
    let detail = if area.height >= 2 * STAGE_LINES { STAGE_LINES } else { area.height / 2 };
    let list = Rect { height: area.height - detail, ..area };
    let columns = match area.width {
        BARS.. => vec![
            left("TOPIC", 0),
            left("AT", 10),
            right("SAMPLES", 7),
            right("MEDIAN", 9),
            right("P99", 9),
            right("LONGEST", 9),
        ],
        _ => vec![left("TOPIC", 0), right("P99", 9)],
    };
    let first = window(state.cursor, topics.len(), usize::from(list.height.saturating_sub(1)));
    let rows = topics.iter().enumerate().skip(first).map(|(index, topic)| {
        let whole = (index == state.cursor).then_some(theme.selected);
        let on = |style: Style| whole.unwrap_or(style);
        let time = |of: fn(&StageTimes) -> u64| {
            (
                topic.end_to_end.as_ref().map_or_else(|| "–".to_owned(), |times| duration(of(times))),
                on(theme.screen),
            )
        };
        let name = (format::printable(&topic.topic), on(theme.screen));
        let cells = match area.width {
            BARS.. => vec![
                name,
                (format::printable(&topic.service), on(theme.dim)),
                (topic.samples.to_string(), on(theme.dim)),
                time(|times| times.median_ns),
                time(|times| times.p99_ns),
                time(|times| times.max_ns),
            ],
            _ => vec![name, time(|times| times.p99_ns)],
        };
        (cells, whole)
    });
    table(buf, list, &columns, theme.dim, rows);
    if let Some(topic) = topics.get(state.cursor) {
        way(topic, theme, Rect { y: list.bottom(), height: detail, ..area }, buf);
    }
}

/// The stages of one topic, from its publisher to a screen.
fn way(topic: &TopicStages, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let title = format!(
        "WAY of {} at {}, median",
        format::printable(&topic.topic),
        format::printable(&topic.service)
    );
    heading(buf, area, &title, theme.strong, theme.faint);
    let longest = topic.stages.iter().map(|stage| stage.times.median_ns).max().unwrap_or(0).max(1);
    for (stage, y) in topic.stages.iter().zip(area.y + 1..area.bottom()) {
        let is_longest = stage.times.median_ns == longest;
        let style = if is_longest { theme.strong } else { theme.screen };
        put(buf, area.x, y, 8, stage.stage.name(), theme.dim);
        put_right(buf, area.x + 18, y, 9, &duration(stage.times.median_ns), style);
        put_right(buf, area.x + 32, y, 13, &format!("p99 {}", duration(stage.times.p99_ns)), theme.dim);
        let room = area.width.saturating_sub(35);
        let bar = (u128::from(stage.times.median_ns) * u128::from(room) / u128::from(longest)) as usize;
        put(
            buf,
            area.x + 34,
            y,
            room,
            &"█".repeat(bar.max(1)),
            if is_longest { theme.accent } else { theme.dim },
        );
    }
}

fn trace(model: &Model, id: &str, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let state = &model.screens.traces;
    let Some(trace) = &state.trace.value else {
        heading(buf, area, &format!("TRACE {}", format::printable(id)), theme.strong, theme.faint);
        let why = doubt(model, &state.trace).unwrap_or_default();
        put(buf, area.x, area.y + 1, area.width, &why, theme.dim);
        return;
    };
    let fall = Waterfall::of(trace);
    let title = format!(
        "TRACE {}  {} UTC  {}  {} spans",
        format::printable(trace.trace_id.get(..8).unwrap_or(&trace.trace_id)),
        format::clock(fall.start_ns),
        duration(fall.whole_ns),
        trace.spans.len()
    );
    heading(buf, area, &title, theme.strong, theme.faint);
    missing(trace, theme, area, buf);
    let body = below(area, 1);
    let columns = if area.width >= BARS {
        vec![left("", 9), left("", 0), right("", 10), left("", (area.width / 2).saturating_sub(8))]
    } else {
        vec![left("", 0), right("", 10)]
    };
    let bars = usize::from(columns.last().map_or(0, |column| column.width));
    let last = fall.spans.len().saturating_sub(usize::from(body.height));
    for ((level, span), y) in fall.spans.iter().skip(state.scroll.min(last)).zip(body.y..body.bottom()) {
        let failed = span.status == SpanStatus::Error;
        let style = if failed { theme.alarm } else { theme.screen };
        let name = format!("{}{}", waterfall::label(*level, span), waterfall::failure(span));
        let took = (span.duration_ns.map_or_else(|| "unfinished".to_owned(), duration), style);
        let bar = fall.bar(span, bars, '█', '?');
        let bar_style = if failed { theme.alarm } else { theme.accent };
        let cells = match columns.len() {
            4 => vec![(format::printable(&span.service), theme.dim), (name, style), took, (bar, bar_style)],
            _ => vec![(name, style), took],
        };
        line(buf, Rect { y, height: 1, ..body }, &columns, &cells);
    }
}

/// Endpoints that did not answer, so that spans are missing.
fn missing(trace: &TraceDocument, theme: &Theme, area: Rect, buf: &mut Buffer) {
    if !trace.unreachable.is_empty() {
        let names: Vec<&str> = trace.unreachable.iter().map(|tier| tier.name()).collect();
        let text = format!(" ▲ without {}", names.join(", "));
        put_right(buf, area.right(), area.y, area.width / 2, &text, theme.caution);
    }
}
