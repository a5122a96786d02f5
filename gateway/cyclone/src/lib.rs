//! A small, safe binding of Eclipse CycloneDDS. It carries raw CDR under any topic and type name, and gives each
//! sample the identity that it has on the RTPS wire: its writer's GUID and its sequence number.
//!
//! CycloneDDS is compiled from the sources of the crate `cyclonedds-src`, with the edits in `build/edits.rs`.
//! The shim in `shim/` knows the library's internals; Rust knows the shim, through `ffi.rs`.
//!
//! Closures are called on threads of the library, which receive and hold locks: a closure should wake a thread and
//! return. It must not block, must not call this crate, and must not own what it is given to, which would then never
//! be dropped.

mod config;
mod discovery;
mod entity;
mod error;
mod ffi;
mod interfaces;
mod library;
mod log;
mod matches;
mod membership;
mod names;
mod participant;
mod peers;
#[doc(hidden)]
pub mod position;
mod reader;
mod sample;
pub mod submessage;
mod wake;
mod writer;

pub use config::Options;
pub use discovery::DiscoveredEndpoint;
pub use error::Error;
pub use library::set_log;
pub use log::LogLevel;
pub use participant::Participant;
pub use reader::{Reader, ReaderQos};
pub use sample::{Sample, SampleIdentity};
pub use writer::{Writer, WriterQos};
