//! Tests against three etcd nodes: the conformance suites, and node failures.

mod entrance;
mod faults;
mod figures;
mod partition;
mod rig;
mod suites;
