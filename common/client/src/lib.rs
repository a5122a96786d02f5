//! One logical connection over several endpoints.
//!
//! [`Link::open`] keeps a session with each configured endpoint and uses the best one: the one that
//! covers most of what is wanted, then the one with the best link. The others stand by, muted; the
//! best of them delivers the emergency scope as well. Subscriptions hold across every switch.
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
//! `examples/tail.rs` is a whole program.
//!
//! # When it switches
//!
//! - A connection that closes is left at once.
//! - Any frame is a sign of life. After 350 ms of silence the best standby is subscribed as well,
//!   after 700 ms the silent one is given up ([`Timings`]).
//! - Where every link is silent it is the radio ([`Event::Radio`]): nothing rotates, and the links
//!   are kept for five seconds.
//! - An endpoint that covers more is returned to after it has been healthy for a second, or for
//!   longer the more often it failed; a cheaper one after it has been a fifth cheaper for five
//!   seconds. Until a planned switch is complete, the old endpoint delivers.
//! - An endpoint that drains is left for its successor at the same address; a full one is passed
//!   over; one that fails again and again is the last choice ([`Event::Breaker`]).
//! - A program that was stopped for a while reads nothing of what piled up meanwhile: it connects
//!   anew, and gets the last seconds replayed.
//!
//! # What is guaranteed, and what is not
//!
//! Samples of one writer come in order and once. Across a switch, a topic delivered in full (`every`,
//! and subscribed without a rate) loses nothing that both endpoints serve and that is not older than
//! what they keep, five seconds or 2 MiB per topic; what is lost beyond that is counted in
//! [`FailoverView::missing`] and [`EndpointView::missed`]. A `latest` topic has its newest value.
//! Replayed samples say so ([`LinkSample::replayed`]).
//!
//! Samples are dropped where the program does not read its [`Events`] fast enough; all other events
//! wait. Topics outside the scopes of the endpoint in use do not come. A command that is given while
//! no endpoint is connected is lost: wait for its [`Event::Command`].

mod activity;
mod config;
mod connection;
mod dial;
mod endpoint;
mod event;
mod link;
mod manager;
mod offset;
mod resubscribe;
mod suspend;
#[cfg(test)]
mod tests;
mod view;

pub use crate::config::{Config, ConfigError, Timings};
pub use crate::event::{Event, FailoverCause, FailoverView, LinkSample, REQUEST_LOST, RadioView};
pub use crate::link::{Events, Link};
pub use crate::view::{EndpointView, LinkState};
