//! The filter that leaves repeated lines out, and writes how many they were.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use roverline_source::clock::monotonic;
use tracing::callsite::Identifier;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata};
use tracing_appender::non_blocking::NonBlocking;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Filter};

use crate::log::counts::LineCounts;
use crate::log::line::LineFormat;
use crate::log::repeats::{LineKind, Repeats, Summary};

/// Leaves repeated lines out.
pub(super) struct RepeatFilter {
    table: Mutex<Repeats<Identifier>>,
    format: LineFormat,
    lines: NonBlocking,
    counts: Arc<LineCounts>,
}

impl RepeatFilter {
    pub(super) fn new(format: LineFormat, lines: NonBlocking, counts: Arc<LineCounts>) -> RepeatFilter {
        RepeatFilter { table: Mutex::new(Repeats::new()), format, lines, counts }
    }

    /// Writes how many lines were left out in the periods that are over.
    pub(super) fn flush(&self, now: Duration) {
        let summaries = self.table.lock().flush(now);
        self.write(&summaries);
    }

    fn write(&self, summaries: &[Summary]) {
        for summary in summaries {
            let _ = self.lines.clone().write_all(self.format.summary(summary).as_bytes());
        }
    }
}

impl<S> Filter<S> for RepeatFilter {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn callsite_enabled(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::always()
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let mut kind = LineKind::default();
        event.record(&mut kind);
        let metadata = event.metadata();
        let line = (*metadata.level(), metadata.target());
        let (shown, summary) = self.table.lock().check(metadata.callsite(), line, kind, monotonic());
        self.write(summary.as_slice());
        if !shown {
            self.counts.add_suppressed();
        }
        shown
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }
}
