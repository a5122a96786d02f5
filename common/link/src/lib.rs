//! One logical connection over several endpoints.
//!
//! [`Link::open`] keeps a session with each configured endpoint, uses the best one (scope coverage,
//! then link quality), keeps the others probed, and goes over to the next when the one in use
//! dies or falls silent. Subscriptions survive every switch; samples that two endpoints both
//! delivered arrive once.
//!
//! ```no_run
//! # async fn example() {
//! use roverline_link::{Config, Event, Link};
//! let (link, mut events) = Link::open(Config::local());
//! link.subscribe("/imu/data", None);
//! while let Some(event) = events.next().await {
//!     if let Event::Sample(sample) = event {
//!         println!("{}: {} bytes", sample.topic.name, sample.payload.len());
//!     }
//! }
//! # }
//! ```

mod config;
mod connection;
mod dial;
mod event;
mod frozen;
mod join;
mod link;
mod manager;
mod offset;
mod slot;
mod view;

pub use config::{Config, ConfigError, Timings};
pub use event::{Event, FailoverCause, FailoverView, LinkSample, RadioView};
pub use link::{Events, Link};
pub use view::{EndpointView, LinkState};
