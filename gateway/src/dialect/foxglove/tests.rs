//! Whole sessions through a socket, on an endpoint whose rover is the test.

mod graph;
mod harness;
mod topics;
