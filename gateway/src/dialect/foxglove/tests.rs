//! Tests of whole sessions through a socket, on an endpoint whose rover is simulated by the test.

mod graph;
pub(crate) mod harness;
mod topics;
