//! Client library: one logical connection over several endpoints, with failover.
//!
//! [`Link::open`] keeps a session with each configured endpoint and uses the best one: the one that
//! covers most of the requested scopes, then the one with the best link. The others are muted
//! standbys; the best of them delivers the emergency scope as well. Subscriptions hold across every
//! switch.
//!
//! ```no_run
//! # async fn example() {
//! use roverline_client::{Config, Event, Link};
//! let (link, mut events) = Link::open(Config::local().named("map"));
//! link.subscribe("/imu/data", None);
//! while let Some(event) = events.next().await {
//!     match event {
//!         Event::Sample(sample) => {
//!             println!("{}: {} bytes", sample.topic.name, sample.payload.len());
//!         }
//!         Event::Failover(view) => println!("now at {:?}, {} missing", view.to, view.missing),
//!         _ => {}
//!     }
//! }
//! # }
//! ```
//!
//! `examples/` has complete programs.
//!
//! # When it switches
//!
//! - A connection that closes is left at once.
//! - Any frame is a sign of life. After 350 ms of silence the best standby is subscribed as well;
//!   after 700 ms the silent endpoint is abandoned ([`Timings`]).
//! - If every link is silent, the radio is the cause ([`Event::Radio`]): the link does not rotate
//!   through the endpoints and keeps its connections for five seconds.
//! - The link returns to an endpoint with better coverage after it has been healthy for a second,
//!   or longer if it failed often; to a cheaper one after it has been a fifth cheaper for five
//!   seconds. During a planned switch, the old endpoint delivers until the switch is complete.
//! - A draining endpoint is left for its successor at the same address; a full one is skipped; one
//!   that fails repeatedly is the last choice ([`Event::Breaker`]).
//! - A program that was suspended discards what piled up meanwhile: it reconnects, and the last
//!   seconds are replayed.
//!
//! # Guarantees and limits
//!
//! Samples of one writer arrive in order and once. Across a switch, a topic delivered in full
//! (`every`, subscribed without a rate) loses nothing that both endpoints serve and still retain
//! (five seconds or 2 MiB per topic); further losses are counted in [`FailoverView::missing`] and
//! [`EndpointView::missed`]. A `latest` topic has its newest value. Replayed samples are flagged
//! ([`LinkSample::replayed`]).
//!
//! If the program does not read its [`Events`] fast enough, samples are dropped; all other events
//! wait. Topics outside the scopes of the endpoint in use are not delivered. An emergency
//! stop is sent again until an endpoint has accepted it ([`Link::stops`]).

mod activity;
mod breaker;
mod config;
mod connection;
mod dial;
mod endpoint;
mod event;
mod limits;
mod link;
mod manager;
mod offset;
mod probes;
mod publications;
mod ranking;
mod repair;
mod request;
mod resubscribe;
mod sample_receipt;
mod stop;
mod subscriptions;
mod suspend;
#[cfg(test)]
mod tests;
mod tls;
mod trace;
mod view;

pub use crate::breaker::BreakerState;
pub use crate::config::{Config, ConfigError, Timings};
pub use crate::event::{Event, FailoverCause, FailoverView, LinkSample, REQUEST_LOST, RadioView};
pub use crate::link::{Events, Link};
pub use crate::sample_receipt::SampleReceipt;
pub use crate::stop::{StopState, StopView};
pub use crate::tls::{Fingerprint, TlsError, TlsOptions};
pub use crate::view::{EndpointView, LinkState};
