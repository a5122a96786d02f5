//! Requests to subscribe: options, outcome and errors.

use std::time::Duration;

use roverline_protocol::ScopeSet;
use roverline_protocol::native::Gap;
use roverline_protocol::topic_pattern::InvalidPattern;

use crate::hub::encoding::FrameFormat;
use crate::limits;

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
    /// Not a valid pattern.
    #[error("'{0}' is not a topic pattern: {1}")]
    Pattern(String, InvalidPattern),
    /// Empty, or too long.
    #[error("'{0}' is not a topic pattern: it must have 1 to {max} characters", max = limits::TOPIC_NAME_CHARS)]
    Length(String),
    /// Too many patterns.
    #[error("a session may have {} subscriptions", limits::PATTERNS_PER_SESSION)]
    TooMany,
    /// The patterns are too costly together.
    #[error(
        "the patterns cost {0} steps after their plain beginnings, and a session may have {max}: \
         name topics, or use fewer alternatives and `**`",
        max = limits::SESSION_PATTERN_STEPS
    )]
    TooCostly(usize),
    /// Not a valid rate.
    #[error("max_rate_hz must be greater than 0 and at most 10000")]
    Rate,
}

/// The interval between samples of this rate; `None` without a limit.
pub(super) fn interval(max_rate_hz: Option<f64>) -> Result<Option<Duration>, SubscribeError> {
    match max_rate_hz {
        None => Ok(None),
        Some(rate) if rate > 0.0 && rate <= 10_000.0 => {
            Ok(Some(Duration::from_secs_f64(1.0 / rate.max(1e-3))))
        }
        Some(_) => Err(SubscribeError::Rate),
    }
}
