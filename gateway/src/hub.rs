//! The hub: the latest and latched samples of every topic, and fan-out to the sessions that subscribe to
//! them.
//!
//! Sources fill the [`Ingress`] from their threads; one task on the endpoint's runtime drains it into
//! [`Hub::handle`]. A sample is encoded at most once per format, and the bytes are shared.

mod arrival_latency;
mod decoder;
mod delivery;
mod encoding;
mod fanout;
mod ingress;
mod latched;
mod offload;
mod patterns;
mod replay;
mod resume;
mod retained;
mod sample_tracing;
mod state;
mod subscribe_request;
mod subscriber;
mod subscription;
mod throttle;
mod topic;
pub(crate) mod writer_progress;

pub use crate::hub::arrival_latency::ArrivalLatency;
pub use crate::hub::decoder::{Decoder, NotDecoded};
pub use crate::hub::encoding::{FrameFormat, SampleEncoding, SampleToEncode};
pub use crate::hub::ingress::{Ingress, SourceEvent};
pub use crate::hub::latched::StampedSample;
pub use crate::hub::state::Hub;
pub use crate::hub::subscribe_request::{SubscribeError, SubscribeOptions, SubscribeOutcome};
pub use crate::hub::topic::{SubscriberId, Topic};
