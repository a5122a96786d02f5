//! A message on its way to a writer.

use std::sync::Weak;

use bytes::Bytes;

use crate::dds::engine::cdr::{REQUIRED_ENCODING, is_plain_little_endian};
use crate::dds::names::{dds_topic, dds_type};
use crate::{PublishError, Qos};

/// A message to be published.
pub(super) struct Outgoing {
    pub(super) topic: String,
    pub(super) type_name: String,
    pub(super) qos: Qos,
    /// `None` only opens the writer, so that subscribers match it before the first message.
    pub(super) payload: Option<Bytes>,
    /// 0 means now.
    pub(super) source_time_ns: i64,
    /// The writer stays open as long as this lives.
    pub(super) keeper: Weak<()>,
}

impl Outgoing {
    /// Rejects a message that could not be published, with the reason.
    pub(super) fn check(&self) -> Result<(), PublishError> {
        let problem = if dds_topic(&self.topic).is_none() {
            format!("{:?} is not a ROS topic name", self.topic)
        } else if dds_type(&self.type_name).is_none() {
            format!("{:?} is not a ROS type: it reads package/msg/Name", self.type_name)
        } else if self.payload.as_ref().is_some_and(|payload| !is_plain_little_endian(payload)) {
            REQUIRED_ENCODING.to_owned()
        } else {
            return Ok(());
        };
        Err(PublishError::Failed(problem))
    }
}
