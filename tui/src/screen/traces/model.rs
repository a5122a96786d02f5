//! State of the Traces screen.

use std::cmp::Reverse;

use roverline_protocol::api::traces::{TopicStages, TopicStagesList, TraceDocument, TraceList, TraceSummary};

use crate::model::api::Document;

/// What is listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listed {
    /// The newest traces first.
    #[default]
    Newest,
    /// The slowest of the newest ones first.
    Slowest,
    /// The ways of samples, by topic.
    Topics,
}

/// The state.
#[derive(Debug, Default)]
pub struct State {
    /// The newest traces.
    pub list: Document<TraceList>,
    /// The ways of samples.
    pub topics: Document<TopicStagesList>,
    /// What is listed.
    pub listed: Listed,
    /// Only traces with a failure.
    pub only_errors: bool,
    /// Index of the selected row.
    pub cursor: usize,
    /// Id of the trace that is shown in full.
    pub open: Option<String>,
    /// That trace.
    pub trace: Document<TraceDocument>,
    /// First line of it that is shown.
    pub scroll: usize,
    /// Watches that end when the screen is left.
    pub watches: Vec<u64>,
}

impl State {
    /// The traces as they are listed.
    pub fn traces(&self) -> Vec<&TraceSummary> {
        let all = self.list.value.iter().flat_map(|list| &list.traces);
        let mut traces: Vec<_> = all.filter(|trace| trace.error || !self.only_errors).collect();
        if self.listed == Listed::Slowest {
            traces.sort_by_key(|trace| Reverse(trace.duration_ns));
        }
        traces
    }

    /// The ways of samples, the slowest topic first.
    pub fn stages(&self) -> Vec<&TopicStages> {
        let mut stages: Vec<_> = self.topics.value.iter().flat_map(|list| &list.topics).collect();
        stages.sort_by_key(|topic| Reverse(topic.end_to_end.map_or(0, |times| times.p99_ns)));
        stages
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        match self.listed {
            Listed::Newest | Listed::Slowest => self.traces().len(),
            Listed::Topics => self.stages().len(),
        }
    }

    /// The trace of the selected row.
    pub fn selected_trace(&self) -> Option<String> {
        match self.listed {
            Listed::Newest | Listed::Slowest => {
                self.traces().get(self.cursor).map(|trace| trace.trace_id.clone())
            }
            Listed::Topics => self.stages().get(self.cursor).map(|topic| topic.slowest_trace_id.clone()),
        }
    }
}
