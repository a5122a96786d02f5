//! A subscribed session as the hub sees it: its patterns, their options, and the options that result for a topic.

use std::sync::Arc;
use std::time::Duration;

use globset::GlobMatcher;
use roverline_protocol::ScopeSet;
use roverline_protocol::native::{Gap, TopicInfo};
use roverline_protocol::routing::topic_glob;

use crate::connection::outbox::Outbox;
use crate::hub::encoding::FrameFormat;
use crate::hub::resume::ResumeState;
use crate::limits;

/// A session as seen by the hub.
pub(crate) struct Subscriber {
    pub(super) outbox: Arc<Outbox>,
    /// The session's default format.
    pub(super) format: FrameFormat,
    pub(super) resumed: Option<ResumeState>,
    pub(super) patterns: Vec<Pattern>,
}

/// A topic pattern of a session with its options.
pub(super) struct Pattern {
    pub(super) text: String,
    glob: GlobMatcher,
    interval: Option<Duration>,
    pub(super) scopes: Option<ScopeSet>,
    type_name: Option<String>,
    format: Option<FrameFormat>,
    queue_length: Option<u32>,
}

/// The effective options of a subscriber for one topic, merged from all matching patterns.
pub(super) struct EffectiveOptions {
    pub(super) interval: Option<Duration>,
    pub(super) format: FrameFormat,
    pub(super) queue_length: Option<u32>,
}

impl Pattern {
    /// Whether the pattern matches this topic.
    pub(super) fn matches(&self, info: &TopicInfo) -> bool {
        self.scopes.is_none_or(|scopes| scopes.intersects(info.scopes))
            && self.type_name.as_ref().is_none_or(|type_name| *type_name == info.type_name)
            && self.glob.is_match(&info.name)
    }
}

/// The options of a subscribe request.
#[derive(Clone, Debug, Default)]
pub struct SubscribeOptions {
    /// Topic globs.
    pub patterns: Vec<String>,
    /// Maximum samples per second and topic.
    pub max_rate_hz: Option<f64>,
    /// Restricts the match to topics with at least one of these scopes.
    pub scopes: Option<ScopeSet>,
    /// Restricts the match to topics of this type: the client may not understand another one.
    pub type_name: Option<String>,
    /// Overrides the session's default format.
    pub format: Option<FrameFormat>,
    /// Maximum queued messages per topic; with one, a newer message replaces an older one.
    pub queue_length: Option<u32>,
}

/// The outcome of a subscribe request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscribeOutcome {
    /// How many topics match now.
    pub matching: usize,
    /// For a resumed session: samples replayed, and the gaps that could not be filled.
    pub resumed: Option<(u64, Vec<Gap>)>,
}

/// Why a subscribe request was rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// Not a valid glob.
    #[error("'{0}' is not a topic pattern: {1}")]
    Pattern(String, String),
    /// Too many patterns.
    #[error("a session may have {} subscriptions", limits::PATTERNS_PER_SESSION)]
    TooMany,
    /// Not a valid rate.
    #[error("max_rate_hz must be greater than 0 and at most 10000")]
    Rate,
}

impl Subscriber {
    /// Merges the matching patterns: the shortest interval of all, the other options from the newest.
    /// `None` if no pattern matches.
    pub(super) fn effective_options(&self, topic: &TopicInfo) -> Option<EffectiveOptions> {
        let matching = || self.patterns.iter().filter(|pattern| pattern.matches(topic));
        let newest = matching().next_back()?;
        Some(EffectiveOptions {
            interval: matching().map(|pattern| pattern.interval).min().flatten(),
            format: newest.format.unwrap_or(self.format),
            queue_length: newest.queue_length,
        })
    }
}

/// Compiles a pattern.
pub(super) fn compile(
    text: &str,
    interval: Option<Duration>,
    options: &SubscribeOptions,
) -> Result<Pattern, SubscribeError> {
    let refuse = |why: String| SubscribeError::Pattern(text.chars().take(64).collect(), why);
    if text.is_empty() || text.len() > limits::TOPIC_NAME_CHARS {
        return Err(refuse(format!("it must have 1 to {} characters", limits::TOPIC_NAME_CHARS)));
    }
    Ok(Pattern {
        text: text.to_owned(),
        glob: topic_glob(text).map_err(|error| refuse(error.to_string()))?,
        interval,
        scopes: options.scopes,
        type_name: options.type_name.clone(),
        format: options.format,
        queue_length: options.queue_length,
    })
}
