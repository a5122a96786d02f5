//! ROS 2 messages without ROS: compiles message definitions into plans, which convert payloads to
//! values and JSON and back.
//!
//! ```
//! use roverline_schema::{Registry, cdr::Writer};
//!
//! let registry = Registry::bundled();
//! let plan = registry.plan("geometry_msgs/msg/Point")?;
//! let mut w = Writer::new();
//! w.f64(1.0).f64(-2.5).f64(f64::NAN);
//! let cdr = w.finish();
//!
//! let mut json = Vec::new();
//! plan.write_json(&cdr, &mut json)?;
//! assert_eq!(json, br#"{"x":1.0,"y":-2.5,"z":null}"#);
//! assert_eq!(plan.decode(&cdr)?.get("y").and_then(|v| v.as_f64()), Some(-2.5));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Definitions and payloads are treated as hostile: every length is checked before use, every bound
//! is in [`limits`], and nothing panics.

pub mod cdr;
mod error;
mod layout;
pub mod limits;
pub mod model;
mod name;
mod parse;
mod plan;
mod registry;
mod value;

pub use crate::error::{DecodeError, DecodeErrorKind, EncodeError, SchemaError};
pub use crate::name::{Kind, TypeName};
pub use crate::parse::{SyntaxError, parse_definition};
pub use crate::plan::Plan;
pub use crate::registry::Registry;
pub use crate::value::{Struct, Value};
