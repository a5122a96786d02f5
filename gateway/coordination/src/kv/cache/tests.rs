//! Tests of the cache of shared values: a model of its states, and races between reads and changes.

mod model;
mod races;
