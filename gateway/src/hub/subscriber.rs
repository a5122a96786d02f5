//! A subscribed session as the hub sees it: its outbox, format and patterns.

use std::sync::Arc;

use crate::connection::outbox::Outbox;
use crate::hub::encoding::FrameFormat;
use crate::hub::patterns::Patterns;
use crate::hub::resume::ResumeState;

/// A session as seen by the hub.
pub(crate) struct Subscriber {
    pub(super) outbox: Arc<Outbox>,
    /// The session's default format.
    pub(super) format: FrameFormat,
    pub(super) resumed: Option<ResumeState>,
    pub(super) patterns: Patterns,
}
